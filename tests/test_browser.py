"""Sliders on slides and pages, in real browsers, without a network."""

import io
import json
import os
import re
import shutil
import subprocess

import engines
import numpy as np
import pytest
from conftest import ROOT
from moving import drag, live, live_slides, picture, settle
from PIL import Image
from windows import open_deck, shows, until

from tools import browser as browsers
from tools import slides

pytestmark = pytest.mark.browser
DECKS = slides.decks()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9][a-z]_*.ipynb"))
SMALLEST_TEXT = 24  # pixels of a full HD projector


by_explorer = pytest.mark.parametrize(
    "deck, number, name", live_slides(), ids=lambda v: v if isinstance(v, str) else ""
)
PLANE = next(slide for slide in live_slides() if slide[2] == "03_vae/plane")
SLIDERS = next(slide for slide in live_slides() if slide[2] == "03_vae/code")


def nudge(explorer):
    """Focus the first control and press an arrow key, away from the end of a slider."""
    control = explorer.locator(".pad, input[type=range]").first
    control.focus()
    at_end = control.evaluate("c => c.value !== undefined && c.value === c.max")
    for _ in range(8):
        explorer.page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    return control


# ------------------------------------------------------------------ sliders on slides


@by_explorer
def test_slider_moves_the_picture_and_keeps_the_keys(page, deck, number, name):
    open_deck(page, deck, number)
    explorer = live(page, name)
    before = picture(explorer)
    control = nudge(explorer)
    assert picture(explorer) != before, "the arrow keys have to move the slider"
    shows(page, number)
    control.hover()
    page.evaluate(
        """() => {
            window.wheeled = 0;
            window.addEventListener("wheel", () => { window.wheeled += 1; }, true);
        }"""
    )
    page.mouse.wheel(0, 400)
    until(page, "the wheel has turned", "() => window.wheeled")
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    shows(page, number)
    values = settle(explorer)
    page.keyboard.press("PageDown")
    shows(page, number + 1)  # a presenter's remote turns the slide
    assert settle(explorer) == values, "and no slider"
    page.keyboard.press("PageUp")
    shows(page, number)
    control.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    shows(page, number + 1)  # Escape gives the keys back
    assert page.errors == []


@by_explorer
def test_buttons(page, deck, number, name):
    open_deck(page, deck, number)
    explorer = live(page, name)
    start = picture(explorer)
    mover = explorer.get_by_role("button", name="random")
    if not mover.count():
        mover = explorer.get_by_role("button", name=re.compile("step")).first
    mover.click()
    settle(explorer)
    explorer.get_by_role("button", name="reset").click()
    assert picture(explorer) == start
    nudge(explorer)
    page.keyboard.press("Home")
    assert picture(explorer) == start, "Home does what reset does"
    shows(page, number)
    page.evaluate(
        """() => {  // a frame that began before the click, as on a busy machine
            const request = window.requestAnimationFrame.bind(window);
            window.requestAnimationFrame = draw => request(now => draw(now - 50));
        }"""
    )
    explorer.get_by_role("button", name="play").click()
    until(
        page,
        "playing moves a value",
        """name => { const { explorer } = document.querySelector(`latent-explorer[name='${name}']`);
            return explorer.values.some((v, i) => v !== explorer.start[i]); }""",
        name,
    )
    explorer.get_by_role("button", name="pause").click()
    assert page.errors == []


@by_explorer
def test_explorer_can_be_used_without_seeing_it(page, deck, number, name):
    open_deck(page, deck, number)
    explorer = live(page, name)
    unnamed = explorer.evaluate(
        """e => [...e.shadowRoot.querySelectorAll('canvas, input, button, [role=slider]')].filter(c =>
            !(c.getAttribute('aria-label') || c.textContent.trim() || c.closest('label')?.textContent.trim()))
            .length"""
    )
    assert unnamed == 0
    focus = explorer.locator("button").first
    focus.focus()
    page.keyboard.press("Tab")
    outline = explorer.evaluate("e => getComputedStyle(e.shadowRoot.activeElement).outlineStyle")
    assert outline != "none"


@pytest.fixture(scope="module")
def projector(chromium):
    """A full HD page that remembers how large each word on a canvas is."""
    context = chromium.new_context(viewport={"width": 1920, "height": 1080}, offline=True)
    page = context.new_page()
    page.add_init_script(
        """{
            const fillText = CanvasRenderingContext2D.prototype.fillText;
            CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
                const { a, b } = this.getTransform();
                const size = parseFloat(this.font.match(/([\\d.]+)px/)[1]) * Math.hypot(a, b);
                (this.canvas.sizes ??= new Map()).set(text, size / this.canvas.width);
                return fillText.call(this, text, ...place);
            };
        }"""
    )
    yield page
    context.close()


@by_explorer
def test_explorer_fills_its_slide_and_can_be_read(projector, deck, number, name):
    """Inside its place, as large as that allows, and no text below 24 px of a full HD projector."""
    open_deck(projector, deck, number)
    live(projector, name)
    told = projector.evaluate(
        """name => {
            const { explorer, shadowRoot } = document.querySelector(`latent-explorer[name='${name}']`);
            const slide = explorer.host.closest("section");
            const zoom = slide.getBoundingClientRect().width / slide.offsetWidth;
            const small = [];
            const walk = document.createTreeWalker(shadowRoot, NodeFilter.SHOW_TEXT);
            while (walk.nextNode()) {
                const place = walk.currentNode.parentElement;
                const size = zoom * parseFloat(getComputedStyle(place).fontSize);
                const text = walk.currentNode.textContent.trim();
                if (text && !place.closest("style, .status")) small.push([text, size]);
            }
            for (const canvas of explorer.canvases) {
                const { width } = canvas.getBoundingClientRect();
                for (const [text, size] of canvas.sizes ?? []) small.push([text, size * width]);
            }
            const place = explorer.host.getBoundingClientRect();
            const spills = [...shadowRoot.querySelectorAll(".frame, canvas, .pad, .controls > *, p")]
                .filter((part) => !part.matches(".status")).filter((part) => {
                    const box = part.getBoundingClientRect();
                    return box.right > place.right + 1 || box.bottom > place.bottom + 1;
                }).map((part) => part.className || part.tagName);
            const seen = [explorer.stage, shadowRoot.querySelector(".pad")].filter(Boolean);
            const area = seen.reduce((sum, part) => sum + part.offsetWidth * part.offsetHeight, 0);
            const { offsetWidth, offsetHeight } = explorer.host;
            return { small, spills, area: area / (offsetWidth * offsetHeight),
                     high: explorer.padBox ? 0 : explorer.stage.offsetHeight / offsetHeight };
        }""",
        name,
    )
    assert told["spills"] == []
    assert [(text, size) for text, size in told["small"] if size < SMALLEST_TEXT] == []
    assert told["area"] > 0.45 or told["high"] > 0.85, f"it takes {told['area']:.2f} of its place"


def test_pad_follows_the_mouse_and_a_finger(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, has_touch=True)
    page = context.new_page()
    deck, number, name = PLANE
    open_deck(page, deck, number)
    explorer = live(page, name)
    box = explorer.locator(".pad").bounding_box()
    drag(page, box, (0.5, 0.5), (0.9, 0.2))
    assert settle(explorer) == pytest.approx([2.4, 1.8], abs=0.03)
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.6 * box["height"])
    until(
        page,
        "the tap arrives",
        """name => { const { explorer } = document.querySelector(`latent-explorer[name='${name}']`);
            return explorer.values[0] < 0; }""",
        name,
    )
    assert settle(explorer) == pytest.approx([-1.5, -0.6], abs=0.03)
    shows(page, number)
    context.close()


def test_storm_leaves_no_backlog(page):
    """Fault 21: the last value wins; of those that came meanwhile at most one is still drawn."""
    deck, number, name = SLIDERS
    open_deck(page, deck, number)
    explorer = live(page, name)
    drawn, after, last = explorer.evaluate(
        """async e => {
            const range = e.shadowRoot.querySelector('input[type=range]');
            const drawn = [];
            e.addEventListener('explorer-drawn', event => drawn.push(event.detail[0]));
            const move = (value) => {
                range.value = value;
                range.dispatchEvent(new Event('input'));
            };
            for (let i = 0; i < 500; i++) {
                move(3 * Math.sin(i));
                if (i % 10 === 0) await new Promise(r => setTimeout(r, 1));
            }
            const before = drawn.length;
            move(1.5);
            await e.explorer.drawing;
            return [drawn.length, drawn.length - before, drawn.at(-1)];
        }"""
    )
    assert last == 1.5 and after <= 3
    assert drawn <= 110, "fifty pauses, at most two pictures in each"


def test_presenter_and_audience_see_the_same(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    deck, number, name = PLANE
    windows = [context.new_page(), context.new_page()]
    explorers = []
    for window in windows:
        open_deck(window, deck, number)
        explorers.append(live(window, name))
    explorers[0].locator(".pad").focus()
    windows[0].keyboard.press("Shift+ArrowRight")
    windows[0].keyboard.press("ArrowUp")
    values = settle(explorers[0])
    until(
        windows[1],
        "the other window follows",
        """([name, values]) => {
            const { explorer } = document.querySelector(`latent-explorer[name='${name}']`);
            return values.every((value, i) => value === explorer.values[i]); }""",
        [name, values],
    )
    assert picture(explorers[0]) == picture(explorers[1])
    context.close()


def test_game_is_played_by_buttons_and_by_drawing(page):
    deck, number, name = next(slide for slide in live_slides() if slide[2] == "04_gan/game")
    open_deck(page, deck, number)
    explorer = live(page, name)
    seen = [picture(explorer)]
    for label in ("step D", "step G"):
        explorer.get_by_role("button", name=label).click()
        seen.append(picture(explorer))
    drag(page, explorer.locator("canvas").first.bounding_box(), (0.25, 0.5), (0.4, 0.3))
    seen.append(picture(explorer))
    assert len(set(seen)) == 4, "each step and each line drawn is seen"
    shows(page, number)
    assert page.errors == []


def test_dark_room_repaints_and_shows_the_dots(page):
    """Dots of the pad's background stand out from the paper in the dark as they do in the light."""
    deck, number, name = PLANE
    open_deck(page, deck, number)
    explorer = live(page, name)
    contrasts, ink = [], []
    for _ in range(2):
        ink.append(explorer.evaluate("e => getComputedStyle(e).getPropertyValue('--ink')"))
        with Image.open(io.BytesIO(explorer.locator(".pad").screenshot())) as shot:
            pixels = np.asarray(shot.convert("RGB")).astype(float) / 255
        linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
        light = linear @ [0.2126, 0.7152, 0.0722] + 0.05
        ratio = np.maximum(light / np.median(light), np.median(light) / light)
        contrasts.append(np.sort(ratio[ratio > 1.15]))
        page.keyboard.press("d")
    assert ink[0] != ink[1]
    for contrast in contrasts:
        assert len(contrast) > 3000
        assert np.median(contrast) > 1.8
    light, dark = (np.quantile(contrast, [0.1, 0.25, 0.5]) for contrast in contrasts)
    assert (dark > 0.95 * light).all(), f"in the dark {dark}, in the light {light}"


# ------------------------------------------------------------------ where nothing can move


def test_without_webassembly_the_still_figure_stays(page):
    """Fault 17: a still picture stands where the model cannot run, and says so."""
    page.add_init_script("delete globalThis.WebAssembly")
    deck, number, name = PLANE
    open_deck(page, deck, number)
    explorer = page.locator(f'latent-explorer[name="{name}"]').first
    until(page, "it gives up", "() => document.querySelector('latent-explorer').dataset.state")
    assert explorer.get_attribute("data-state") == "still"
    assert explorer.locator(".still").bounding_box()["height"] > 200
    assert "did not start" in explorer.locator(".status").inner_text()


@pytest.mark.parametrize("broken", ["no script runs", "the script throws"])
@pytest.mark.parametrize("deck", DECKS, ids=lambda p: p.stem)
def test_still_figures_stand_where_no_script_runs(chromium, deck, broken):
    context = chromium.new_context(
        viewport={"width": 1280, "height": 720}, java_script_enabled=broken != "no script runs"
    )
    page = context.new_page()
    page.add_init_script("Element.prototype.attachShadow = () => { throw new Error('planned'); }")
    number, names = next((n, name) for d, n, name in live_slides() if d == deck), []
    page.goto((slides.BUILD / f"{deck.stem}.html").as_uri() + f"#{number[0]}")
    for element in page.locator("latent-explorer").all():
        names.append(element.get_attribute("name"))
        still = element.locator("img.still")
        assert len(still.get_attribute("alt").split()) >= 5
        assert still.bounding_box()["height"] > 150, names[-1]
    assert names
    context.close()


# ------------------------------------------------------------------ pages


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_page_is_alive_without_kernel_or_network(page, notebook):
    """Every explorer moves, and then all of them fit a phone."""
    page.goto((slides.BUILD / f"{notebook.stem}.html").as_uri())
    assert page.locator("mjx-container").count() > 3
    assert page.locator("[data-mjx-error]").count() == 0
    alts = page.evaluate("() => [...document.images].map(i => i.alt)")
    assert not [alt for alt in alts if alt.startswith("No description")]
    page.evaluate("() => document.querySelectorAll('details').forEach(part => (part.open = true))")
    for explorer in page.locator("latent-explorer").all():
        name = explorer.get_attribute("name")
        explorer.scroll_into_view_if_needed()
        live(page, name)
        before = picture(explorer)
        nudge(explorer)
        assert picture(explorer) != before, name
    page.set_viewport_size({"width": 320, "height": 640})
    until(page, "the window is narrow", "() => innerWidth === 320")
    wide = page.evaluate("""() => new Promise((done) => requestAnimationFrame(() =>
        requestAnimationFrame(() => done(document.documentElement.scrollWidth))))""")
    assert wide <= 320, f"on a telephone the page is {wide} pixels wide"
    assert page.outside == [] and page.errors == []


# ------------------------------------------------------------------ other engines

IN_CI = bool(os.environ.get("CI"))


@pytest.fixture(scope="module")
def firefox_saw():
    """What one Firefox saw of all decks and pages: {(from, name): states, moved, errors}."""
    try:
        firefox = browsers.find_firefox_or_install()
    except browsers.NoBrowser as error:
        if IN_CI:
            raise
        pytest.skip(f"not tested in Firefox: {error}")
    names = [f"{path.stem}.html" for path in [*DECKS, *NOTEBOOKS]]
    missing = [name for name in names if not (slides.BUILD / name).exists()]
    assert not missing, f"not rendered: {', '.join(missing)}. Render them: make test"
    command = [shutil.which("node"), "tests/firefox.mjs", firefox, str(slides.BUILD), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    return {(one["from"], one["name"]): one for one in told}


@pytest.mark.parametrize("path", [*DECKS, *NOTEBOOKS], ids=lambda p: p.stem)
@pytest.mark.parametrize("start", ["file", "http"])
def test_firefox_moves_every_explorer(firefox_saw, start, path):
    """From a file Firefox gives a page no origin; from a server it has one."""
    saw = firefox_saw[start, f"{path.stem}.html"]
    assert saw["errors"] == []
    assert set(saw["states"]) <= {"live"} and all(saw["moved"])
    if path in DECKS:
        assert len(saw["moved"]) == sum(deck == path for deck, _, _ in live_slides())


@pytest.fixture(scope="module")
def webkit():
    found = engines.find_webkit()
    if not found:
        pytest.skip("not tested in Safari's engine: apt-get install webkit2gtk-driver xvfb")
    running = engines.WebKit(*found)
    yield running
    running.close()


ALL_LIVE = """async () => {
    const elements = [...document.querySelectorAll("latent-explorer")];
    const ready = (e) => e.dataset.state || new Promise((done) => e.addEventListener("explorer-ready", done));
    await Promise.all(elements.map(ready));
    return elements.map((e) => e.dataset.state);
}"""


@pytest.mark.parametrize("deck", DECKS, ids=lambda p: p.stem)
def test_webkit_brings_every_explorer_to_life(webkit, deck):
    webkit.open((slides.BUILD / f"{deck.stem}.html").as_uri())
    states = webkit.run(ALL_LIVE)
    assert states == ["live"] * sum(d == deck for d, _, _ in live_slides())


def test_webkit_moves_a_pad(webkit):
    deck, number, name = PLANE
    webkit.open((slides.BUILD / f"{deck.stem}.html").as_uri() + f"#{number}")
    assert set(webkit.run(ALL_LIVE)) == {"live"}
    of_plane = f"const e = document.querySelector(\"[name='{name}']\");"
    left, top, width, height = webkit.run(
        f"""async () => {{ {of_plane}
            const {{ x, y, width, height }} = e.shadowRoot.querySelector(".pad").getBoundingClientRect();
            return [x, y, width, height]; }}"""
    )
    webkit.drag((left + width / 2, top + height / 2), (left + 0.8 * width, top + 0.3 * height))
    values = webkit.run(
        f"async () => {{ {of_plane} await e.explorer.update(); return e.explorer.values; }}"
    )
    assert values == pytest.approx([1.8, 1.2], abs=0.05)

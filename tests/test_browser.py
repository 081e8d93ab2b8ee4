"""Slides, pages and notebooks in a real browser, without a network."""

import base64
import io
import json
import re
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from tools import server, slides

pytestmark = pytest.mark.browser
DECKS = slides.decks()
by_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda p: p.stem)
EXPLORER = re.compile(r'<latent-explorer name="([\w/]+)">')


def open_deck(page, deck, number=1):
    page.goto((slides.BUILD / f"{deck.stem}.html").as_uri() + f"#{number}")
    page.wait_for_selector("section", state="attached")


def live_slides():
    """(deck, slide number, explorer name) of every live slide."""
    found = []
    for deck in DECKS:
        for number, slide in enumerate(deck.read_text(encoding="utf-8").split("\n---\n")[1:], 1):
            found += [(deck, number, name) for name in EXPLORER.findall(slide)]
    return found


by_explorer = pytest.mark.parametrize(
    "deck, number, name", live_slides(), ids=lambda v: v if isinstance(v, str) else ""
)
PLANE = next(slide for slide in live_slides() if slide[2] == "03_vae/plane")
SLIDERS = next(slide for slide in live_slides() if slide[2] == "03_vae/code")


def live(page, name):
    """The explorer once it shows its first computed picture."""
    explorer = page.locator(f'latent-explorer[name="{name}"]').first
    page.wait_for_function(
        "name => document.querySelector(`latent-explorer[name='${name}']`)?.dataset.state", arg=name
    )
    assert explorer.get_attribute("data-state") == "live"
    return explorer


def picture(explorer):
    return explorer.evaluate("e => e.shadowRoot.querySelector('canvas').toDataURL()")


def changes(explorer, before, seconds=10):
    """Wait until the picture is another than `before`; false if it stays."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if picture(explorer) != before:
            return True
        explorer.page.wait_for_timeout(50)
    return False


def nudge(explorer):
    """Focus the first control and press an arrow key, away from the end of a slider."""
    control = explorer.locator(".pad, input[type=range]").first
    control.focus()
    at_end = control.evaluate("c => c.value !== undefined && c.value === c.max")
    for _ in range(8):
        explorer.page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
    return control


def drag(page, box, start, end):
    """Drag the mouse between two points of a box, given as fractions of its width and height."""
    (x, y), (to_x, to_y) = [
        (box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in (start, end)
    ]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to_x, to_y, steps=8)
    page.mouse.up()
    assert page.evaluate("getSelection().type") != "Range", "dragging must not mark what it passes"


# ------------------------------------------------------------------ decks


@by_deck
def test_no_slide_overflows(page, deck):
    open_deck(page, deck)
    page.wait_for_timeout(300)
    spills = page.evaluate(
        """() => [...document.querySelectorAll('section[data-marpit-pagination], section')].flatMap(s => {
            const box = s.getBoundingClientRect();
            const scale = box.width / 1280 || 1;
            const foot = s.querySelector('footer')?.getBoundingClientRect().top ?? box.bottom;
            return [...s.querySelectorAll(':scope > :not(footer, header)')].flatMap(e => {
                const b = e.getBoundingClientRect();
                const out = b.right > box.right + 1 || b.bottom > Math.min(foot, box.bottom) + 1;
                return out && b.width ? [s.querySelector('h1')?.textContent + ': ' + e.tagName] : [];
            }).concat(s.scrollHeight > 721 || s.scrollWidth > 1281
                ? [s.querySelector('h1')?.textContent + ': scrolls'] : []);
        })"""
    )
    assert not spills


@by_deck
def test_every_picture_loads_and_has_words(page, deck):
    open_deck(page, deck)
    pictures = page.evaluate(
        "() => [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt])"
    )
    assert pictures
    assert all(loaded and len(alt.split()) >= 5 for loaded, alt in pictures)


@by_deck
def test_deck_asks_for_nothing_and_throws_nothing(page, deck):
    open_deck(page, deck)
    page.wait_for_timeout(1500)
    assert page.outside == [] and page.errors == []


@by_deck
def test_every_formula_is_drawn(page, deck):
    open_deck(page, deck)
    text = page.evaluate(
        "() => [...document.querySelectorAll('section')].map(s => s.innerText).join()"
    )
    assert "$" not in text and "{{" not in text
    assert page.locator("[data-mjx-error]").count() == 0


@by_deck
def test_dark_room(page, deck):
    open_deck(page, deck, 2)

    def paper():
        return page.evaluate(
            "() => getComputedStyle(document.querySelector('section')).backgroundColor"
        )

    bright = paper()
    page.keyboard.press("d")
    assert paper() != bright
    page.keyboard.press("d")
    assert paper() == bright


# ------------------------------------------------------------------ sliders on slides


@by_explorer
def test_slider_moves_the_picture_and_keeps_the_keys(page, deck, number, name):
    open_deck(page, deck, number)
    explorer = live(page, name)
    before = picture(explorer)
    control = nudge(explorer)
    assert changes(explorer, before), "the arrow keys have to move the slider"
    assert page.url.endswith(f"#{number}"), "and never the slide"
    control.hover()
    page.mouse.wheel(0, 400)
    page.wait_for_timeout(200)
    assert page.url.endswith(f"#{number}")
    page.keyboard.press("PageDown")
    page.wait_for_timeout(300)
    assert page.url.endswith(f"#{number + 1}"), "a presenter's remote has to turn the slide"
    page.keyboard.press("PageUp")
    page.wait_for_timeout(300)
    control.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(300)
    assert page.url.endswith(f"#{number + 1}"), "Escape has to give the keys back"
    assert page.errors == []


@by_explorer
def test_buttons(page, deck, number, name):
    open_deck(page, deck, number)
    explorer = live(page, name)
    start = picture(explorer)
    mover = explorer.get_by_role("button", name="random")
    if not mover.count():
        mover = explorer.get_by_role("button", name=re.compile("^step")).first
    mover.click()
    page.wait_for_timeout(500)
    explorer.get_by_role("button", name="reset").click()
    page.wait_for_timeout(500)
    assert picture(explorer) == start
    page.evaluate(
        """() => {  // a frame that began before the click, as on a busy machine
            const request = window.requestAnimationFrame.bind(window);
            window.requestAnimationFrame = draw => request(now => draw(now - 50));
        }"""
    )
    explorer.get_by_role("button", name="play").click()
    assert changes(explorer, start)
    explorer.get_by_role("button", name="pause").click()


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


def test_pad_follows_the_mouse_and_a_finger(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, has_touch=True)
    page = context.new_page()
    deck, number, name = PLANE
    open_deck(page, deck, number)
    explorer = live(page, name)
    pad = explorer.locator(".pad")
    box = pad.bounding_box()
    drag(page, box, (0.5, 0.5), (0.9, 0.2))
    assert "z₁ 2.4" in pad.get_attribute("aria-valuetext")
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_timeout(200)
    assert "z₁ −1.5" in pad.get_attribute("aria-valuetext")
    assert page.url.endswith(f"#{number}")
    context.close()


def test_storm_leaves_no_backlog(page):
    """Fault 21: the last value wins, and the picture is there at once."""
    deck, number, name = SLIDERS
    open_deck(page, deck, number)
    explorer = live(page, name)
    lag, runs, last = explorer.evaluate(
        """async e => {
            const range = e.shadowRoot.querySelector('input[type=range]');
            let runs = 0, values = null;
            e.addEventListener('explorer-drawn', event => { runs += 1; values = event.detail; });
            for (let i = 0; i < 500; i++) {
                range.value = 3 * Math.sin(i);
                range.dispatchEvent(new Event('input'));
                if (i % 10 === 0) await new Promise(r => setTimeout(r, 1));
            }
            range.value = 1.5;
            range.dispatchEvent(new Event('input'));
            const begun = performance.now();
            while (!values || values[0] !== 1.5) await new Promise(r => setTimeout(r, 0));
            return [performance.now() - begun, runs, values[0]];
        }"""
    )
    assert last == 1.5 and runs <= 501
    assert lag < 200


def test_presenter_and_audience_see_the_same(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    deck, number, name = PLANE
    windows = [context.new_page(), context.new_page()]
    explorers = []
    for window in windows:
        open_deck(window, deck, number)
        explorers.append(live(window, name))
    pads = [e.locator(".pad") for e in explorers]
    pads[0].focus()
    windows[0].keyboard.press("Shift+ArrowRight")
    windows[1].wait_for_timeout(300)
    assert pads[0].get_attribute("aria-valuetext") == pads[1].get_attribute("aria-valuetext")
    assert picture(explorers[0]) == picture(explorers[1])
    context.close()


def test_game_is_played_by_buttons_and_by_drawing(page):
    deck, number, name = next(slide for slide in live_slides() if slide[2] == "04_gan/game")
    open_deck(page, deck, number)
    explorer = live(page, name)
    start = picture(explorer)
    explorer.get_by_role("button", name="step D").click()
    assert changes(explorer, start), "the discriminator has to move"
    after_d = picture(explorer)
    explorer.get_by_role("button", name="step G").click()
    assert changes(explorer, after_d), "the generator has to move"
    after_g = picture(explorer)
    assert after_g != start, "two moves are not none"
    drag(page, explorer.locator("canvas").bounding_box(), (0.15, 0.7), (0.3, 0.3))
    assert changes(explorer, after_g), "the data follow the mouse"
    assert page.url.endswith(f"#{number}") and page.errors == []


def test_browser_computes_what_torch_computed(page):
    """The picture on the slide against the first one, which torch drew."""
    deck, number, name = PLANE
    open_deck(page, deck, number)
    explorer = live(page, name)
    spec = json.loads((ROOT / f"lecture/live/{name}.json").read_text(encoding="utf-8"))

    shown, first = (
        Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")
        for uri in (picture(explorer), spec["first"])
    )
    # the first one is enlarged, for where it stands alone
    first = first.resize(shown.size, Image.Resampling.NEAREST)
    difference = np.asarray(shown).astype(int) - np.asarray(first)
    assert np.abs(difference).max() <= 1


def test_without_webassembly_the_first_picture_stays(page):
    """Fault 17: a still picture stands where the model cannot run, and says so."""
    page.add_init_script("delete globalThis.WebAssembly")
    deck, number, name = PLANE
    open_deck(page, deck, number)
    explorer = page.locator(f'latent-explorer[name="{name}"]').first
    page.wait_for_function("() => document.querySelector('latent-explorer').dataset.state")
    assert explorer.get_attribute("data-state") == "poster"
    assert explorer.locator(".stage img").is_visible()
    assert "did not start" in explorer.locator(".status").inner_text()


# ------------------------------------------------------------------ pages


@pytest.mark.parametrize(
    "path", sorted(slides.BUILD.glob("[0-9][0-9][a-z]_*.html")), ids=lambda p: p.stem
)
def test_notebook_page_is_alive_without_kernel_or_network(page, path):
    page.goto(path.as_uri())
    assert page.locator("mjx-container").count() > 3
    assert page.locator("[data-mjx-error]").count() == 0
    alts = page.evaluate("() => [...document.images].map(i => i.alt)")
    assert not [alt for alt in alts if alt.startswith("No description")]
    for explorer in page.locator("latent-explorer").all():
        name = explorer.get_attribute("name")
        explorer.scroll_into_view_if_needed()
        live(page, name)
        before = picture(explorer)
        nudge(explorer)
        assert changes(explorer, before), name
    assert page.outside == [] and page.errors == []


# ------------------------------------------------------------------ print


@by_deck
def test_pdf_and_pptx_hold_every_slide(deck):
    from pypdf import PdfReader

    count = len(deck.read_text(encoding="utf-8").split("\n---\n")[1:])
    pdf = PdfReader(slides.BUILD / f"{deck.stem}.pdf")
    assert len(pdf.pages) == count
    assert (slides.BUILD / f"{deck.stem}.pptx").stat().st_size > 100_000
    text = "".join(p.extract_text() for p in pdf.pages)
    assert "{{" not in text


# ------------------------------------------------------------------ JupyterLab


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab as `make lecture` starts it; yields (address, token)."""
    port, token = server.free_port(9200), "test-token"
    command = server.command(
        port, [f"--IdentityProvider.token={token}", "--LabApp.open_browser=False"]
    )
    log = (tmp_path / "lab.log").open("w")
    environment = server.environment() | {"JUPYTERLAB_WORKSPACES_DIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=2)
                break
            except OSError:
                assert process.poll() is None, (tmp_path / "lab.log").read_text()
                time.sleep(0.5)
        yield address, token
    finally:
        process.terminate()
        process.wait(20)


def scratch_notebook(name, *sources):
    """A notebook in build/scratch that the lab can open."""
    import nbformat

    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    path = slides.BUILD / "scratch" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path.relative_to(ROOT).as_posix()


def run_cell(page, number):
    """Press Shift+Enter in a cell; again if the kernel, just started, let the first one pass."""
    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    for _ in range(10):
        cell.click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_timeout(2000)
        if cell.locator(".jp-InputPrompt").inner_text() != "[ ]:":
            return
    raise AssertionError(f"cell {number} was never run")


def test_start_page_and_widget_in_jupyterlab(chromium, lab):
    address, token = lab
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?token={token}")
    page.wait_for_selector(".jp-RenderedMarkdown h1", timeout=60_000)
    assert page.get_by_role("link", name="03a Build a variational autoencoder").is_visible()
    assert page.request.get(f"{address}/static/03_vae.html").ok

    where = scratch_notebook(
        "explorer",
        "from utils import explore\nshown = explore.Explorer('03_vae/plane')\nshown",
        "print('values', [round(v, 2) for v in shown.values])",
    )
    page.goto(f"{address}/lab/tree/{where}?token={token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_function(
        "() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'",
        timeout=60_000,
    )
    run_cell(page, 0)
    page.wait_for_selector("[data-state=live]", timeout=60_000)
    explorer = page.locator("[data-state=live]")
    before = picture(explorer)
    drag(page, explorer.locator(".pad").bounding_box(), (0.5, 0.5), (0.75, 0.5))
    assert changes(explorer, before)
    page.keyboard.press("ArrowUp")
    page.wait_for_timeout(600)
    run_cell(page, 1)
    page.wait_for_selector("text=values [1.5", timeout=30_000)
    context.close()


def test_lab_is_for_this_machine_only(lab):
    """Fault 16: 127.0.0.1, and nothing without the token."""
    address, _ = lab
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/api/contents", timeout=5)
    assert refused.value.code == 403
    assert "--ServerApp.ip=127.0.0.1" in server.command(9999)

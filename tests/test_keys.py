"""The keys of a talk: jumps, the short route, blank, pen and pointer, two windows."""

import itertools
import json
import re
import subprocess
from io import BytesIO

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from windows import open_deck, press, short, shows, slide_with, until

from tools import browser, slides

DECKS = slides.decks()
by_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda p: p.stem)
in_browser = pytest.mark.browser
VAE = next(deck for deck in DECKS if deck.stem.startswith("03"))
SLIDERS = slide_with(VAE, "03_vae/code")


@in_browser
def test_keys_are_told(page):
    open_deck(page, VAE, 2)
    press(page, "?")
    box = page.get_by_role("dialog", name="Keys")
    assert box.is_visible()
    told = box.inner_text()
    for key in ("Home", "End", "Enter", "o", "s", "f", "p", "d", "b", "l", "c", "x", "u", "Delete"):
        assert re.search(rf"(^|[\s,]){key}\b", told), key
    press(page, "ArrowRight")
    assert not box.is_visible()
    shows(page, 2)
    press(page, "?", "Escape")
    assert not box.is_visible()
    assert page.locator("iframe").count() == 0, "Escape closes the box and opens nothing"


@in_browser
def test_a_number_and_enter_jump(page):
    open_deck(page, VAE)
    press(page, "1", "2")
    assert "slide 12" in page.locator(".deck-number").inner_text()
    press(page, "Enter")
    shows(page, 12)
    assert page.url.endswith("#12")
    press(page, "9", "9", "Enter")
    assert (
        f"there are {len(slides.parts(VAE)) - 1} slides"
        in page.locator(".deck-number").inner_text()
    )
    shows(page, 12)
    press(page, "3", "ArrowRight")
    shows(page, 13)
    press(page, "Home")
    shows(page, 1)


@in_browser
def test_letters_belong_to_the_field_that_has_the_focus(page):
    open_deck(page, VAE, 2)
    page.evaluate("() => document.body.append(document.createElement('textarea'))")
    page.locator("textarea").focus()
    press(page, "b", "d", "s", "4")
    assert page.locator("textarea").input_value() == "bds4"
    assert page.evaluate("() => Object.keys(document.documentElement.dataset).length") == 0


def colours_seen(page):
    """How many colours the window shows."""
    picture = np.asarray(Image.open(BytesIO(page.screenshot())).convert("RGB"))
    return len(np.unique(picture.reshape(-1, 3), axis=0))


@in_browser
def test_blank(page):
    open_deck(page, VAE, 2)
    for there, back in (("b", "b"), ("b", "Escape"), (".", ".")):
        press(page, there)
        assert colours_seen(page) == 1
        press(page, back)
        assert colours_seen(page) > 10
        shows(page, 2)


@by_deck
def test_short_route_is_half_of_the_deck_and_covers_the_outline(deck):
    texts = slides.parts(deck)[1:]
    numbers = short(deck)
    assert numbers[0] == 1 and numbers[-1] == len(texts)
    assert 0.4 <= len(numbers) / len(texts) <= 0.6
    wanted = json.loads((ROOT / "tests/outline.json").read_text(encoding="utf-8"))[deck.stem]
    rows = ",".join(
        row for n in numbers for row in re.findall(r"_outline: ([\d., ]+)", texts[n - 1])
    )
    assert set(wanted) <= {row.strip() for row in rows.split(",")}


@in_browser
@by_deck
def test_short_route_is_walked(page, deck):
    open_deck(page, deck)
    press(page, "s")
    route = short(deck)
    for number in route[1:]:
        press(page, "PageDown")
        shows(page, number)
    for number in route[-2::-1]:
        press(page, "PageUp")
        shows(page, number)
    skipped = next(n for n in range(1, len(slides.parts(deck))) if n not in route)
    press(page, *str(skipped), "Enter")
    shows(page, skipped)
    content = page.evaluate(
        "() => getComputedStyle(document.querySelector('.bespoke-marp-active section'), '::after')"
        ".content"
    )
    assert "short route" in content
    press(page, "ArrowRight")
    shows(page, next(n for n in route if n > skipped))
    press(page, "s", *str(route[0]), "Enter", "ArrowRight")
    shows(page, 2)


@in_browser
def test_short_route_leaves_the_footer_readable(page):
    for deck in DECKS:
        open_deck(page, deck)
        press(page, "s")
        page.evaluate("() => document.fonts.ready")
        assert not page.evaluate(
            """() => [...document.querySelectorAll('section > footer')].filter(f => {
                const text = document.createRange();
                text.selectNodeContents(f);
                return text.getBoundingClientRect().height > 1.5 * parseFloat(getComputedStyle(f).lineHeight);
            }).map(f => f.textContent)"""
        ), deck.stem
        press(page, "s")


# ------------------------------------------------------------------ pen and pointer


def draw(page, *points):
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=4)
    page.mouse.up()


def strokes(page):
    """The colours of the strokes on the slide that is shown."""
    return page.evaluate(
        "() => [...document.querySelectorAll('.bespoke-marp-active .deck-ink path')]"
        ".map(p => p.getAttribute('stroke'))"
    )


@in_browser
def test_pen_draws_undoes_clears_and_keeps_each_slide(page):
    open_deck(page, VAE, 2)
    draw(page, (200, 200), (400, 300))
    assert strokes(page) == [], "no pen, no ink"
    press(page, "c")
    draw(page, (200, 200), (400, 300))
    press(page, "x")
    draw(page, (300, 200), (500, 250))
    assert strokes(page) == ["var(--model)", "var(--data)"]
    where = page.locator(".bespoke-marp-active .deck-ink path").first.get_attribute("d")
    assert where.startswith("M200 200"), "in the slide's own 1280 x 720"
    press(page, "ArrowRight")
    shows(page, 3)
    assert strokes(page) == []
    draw(page, (100, 600), (300, 600))
    press(page, "Delete")
    assert strokes(page) == []
    press(page, "ArrowLeft")
    shows(page, 2)
    assert len(strokes(page)) == 2
    press(page, "u")
    assert strokes(page) == ["var(--model)"]
    press(page, "Control+z")
    assert strokes(page) == []
    press(page, "Escape")
    assert not page.get_by_role("toolbar", name="Pen").is_visible()
    assert page.locator("iframe").count() == 0, "Escape puts the pen down and opens nothing"


@in_browser
def test_pen_has_buttons(page):
    open_deck(page, VAE, 2)
    page.mouse.move(600, 600)
    page.get_by_role("button", name="pen", exact=True).click()
    bar = page.get_by_role("toolbar", name="Pen")
    bar.get_by_role("button", name="colour: latent").click()
    draw(page, (200, 200), (400, 300))
    assert strokes(page) == ["var(--latent)"]
    bar.get_by_role("button", name="undo").click()
    assert strokes(page) == []
    bar.get_by_role("button", name="done").click()
    assert not bar.is_visible()
    shows(page, 2)


@in_browser
def test_pen_leaves_sliders_alone(page):
    open_deck(page, VAE, SLIDERS)
    name = "03_vae/code"
    until(
        page, "the explorer is live",
        "n => document.querySelector(`latent-explorer[name='${n}']`).dataset.state === 'live'", name,
    )  # fmt: skip
    explorer = page.locator(f'latent-explorer[name="{name}"]')
    slider = explorer.locator("input[type=range]").first
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2

    def moved_by_mouse(part):
        before = slider.input_value()
        draw(page, (box["x"] + box["width"] / 2, middle), (box["x"] + part * box["width"], middle))
        return slider.input_value() != before

    press(page, "c")
    assert moved_by_mouse(0.8) and strokes(page) == [], "on a slider the hand moves the slider"
    canvas = explorer.locator("canvas").first.bounding_box()
    before = slider.input_value()
    x, y = canvas["x"] + 20, canvas["y"] + 20
    draw(page, (x, y), (x + 100, y + 80))
    assert len(strokes(page)) == 1 and slider.input_value() == before
    across = box["x"] + box["width"] / 2
    draw(page, (across, box["y"] - 30), (across, middle + 30))
    assert len(strokes(page)) == 2
    press(page, "c")
    assert moved_by_mouse(0.3), "ink that lies over a slider does not hold it"
    slider.focus()
    before = slider.input_value()
    press(page, "ArrowRight")
    assert slider.input_value() != before
    shows(page, SLIDERS)


@in_browser
def test_a_finger_draws_and_does_not_turn_the_slide(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, has_touch=True)
    page = context.new_page()
    open_deck(page, VAE, 2)
    touch = context.new_cdp_session(page)

    def swipe():
        for kind, x in (("Start", 900), ("Move", 700), ("Move", 400), ("End", None)):
            points = [] if x is None else [{"x": x, "y": 300}]
            touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    press(page, "c")
    swipe()
    assert len(strokes(page)) == 1
    shows(page, 2)
    press(page, "c")
    swipe()
    shows(page, 3)
    context.close()


@in_browser
def test_pointer_follows_the_mouse(page):
    open_deck(page, VAE, 2)
    dot = page.locator(".deck-dot")
    assert not dot.is_visible()
    press(page, "l")
    page.mouse.move(320, 180)
    box = page.locator(".bespoke-marp-active .deck-dot").bounding_box()
    assert (
        abs(box["x"] + box["width"] / 2 - 320) < 2 and abs(box["y"] + box["height"] / 2 - 180) < 2
    )
    press(page, "l")
    assert not dot.is_visible()


@in_browser
def test_presenter_and_audience_share_ink_route_and_blank(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    audience = context.new_page()
    open_deck(audience, VAE, 2)
    press(audience, "c")
    draw(audience, (200, 200), (400, 300))
    press(audience, "c")
    with context.expect_page() as opened:
        press(audience, "p")
    presenter = opened.value
    until(
        presenter, "the new window has the ink",
        "() => document.querySelectorAll('.bespoke-marp-active .deck-ink path').length === 1",
    )  # fmt: skip
    press(presenter, "s")
    route = short(VAE)
    after = route[route.index(2) + 1 :]
    for number in after:
        press(presenter, "ArrowRight")
        shows(presenter, number)
        shows(audience, number)
    place = presenter.locator(".bespoke-marp-active").bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    press(presenter, "c")
    draw(presenter, (x, y), (x + 60, y + 40))
    until(
        audience, "the audience sees what the presenter draws",
        "() => document.querySelectorAll('.bespoke-marp-active .deck-ink path').length === 1",
    )  # fmt: skip
    press(presenter, "l")
    presenter.mouse.move(x, y)
    until(
        audience, "the dot is in the middle of the slide",
        "() => Math.abs(document.querySelector('.bespoke-marp-active .deck-dot')"
        "?.cx.baseVal.value - 640) < 2",
    )  # fmt: skip
    press(presenter, "l", "b")
    until(
        audience, "the screen is blank",
        "() => document.documentElement.hasAttribute('data-blank')",
    )  # fmt: skip
    assert presenter.locator(".bespoke-marp-active").is_visible()
    context.close()


@in_browser
def test_presenter_sees_the_next_slide_of_the_short_route(chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    route = short(VAE)
    last, after = next((a, b) for a, b in itertools.pairwise(route) if b > a + 1)
    page.goto((slides.BUILD / f"{VAE.stem}.html").as_uri() + f"?view=presenter#{last}")
    page.wait_for_selector("iframe")
    window = next(frame for frame in page.frames if frame != page.main_frame)
    until(window, "the next slide is there", "() => document.querySelector('.bespoke-marp-active')")
    shows(window, last + 1)
    press(page, "s")
    shows(window, after)
    press(page, "s")
    shows(window, last + 1)
    context.close()


@in_browser
def test_keys_work_in_firefox_from_a_file():
    try:
        firefox = browser.find_firefox()
    except browser.NoBrowser as error:
        pytest.skip(f"not tested: {error}")
    deck = slides.BUILD / f"{VAE.stem}.html"
    told = subprocess.run(
        ["node", "tests/firefox_keys.mjs", firefox, str(deck)],
        cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True,
    ).stdout  # fmt: skip
    wanted = {"help": True, "jump": 12, "route": short(VAE)[:7], "ink": 1, "errors": []}
    assert json.loads(told) == wanted

"""Slides as a lecturer needs them: whole, large enough, cut, printed, with links that arrive."""

import base64
import functools
import json
import operator
import re
import subprocess
from decimal import ROUND_HALF_UP, Decimal
from html import unescape
from urllib.parse import unquote

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from pypdf import PdfReader
from skimage.color import deltaE_ciede2000, xyz2lab
from windows import open_deck, press, slide_with, until

from tools import browser, pages, slides, table, tasks
from tools.notebooks import all_notebooks
from utils.results import recorded
from utils.style import PALETTE

DECKS = slides.decks()
NOTEBOOKS = all_notebooks()
by_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda p: p.stem)
by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
in_browser = pytest.mark.browser
VAE = next(deck for deck in DECKS if deck.stem.startswith("03"))
SLIDER = slide_with(VAE, "03_vae/code")
TITLE = re.compile(r"^# (.+)$", re.M)
FIGURE = re.compile(r"!\[[^\]]*\]\(\.\./figures/([^)\s]+)\)")
SIZES = """() => [...document.querySelectorAll('section')].map(section => {
    const scale = section.getBoundingClientRect().width / 1280;
    const images = [...section.querySelectorAll(':scope > * img:not(latent-explorer img)')];
    return images.map(i => {
        const box = i.getBoundingClientRect();
        return [i.src, box.width / scale, box.height / scale];
    });
})"""


# ------------------------------------------------------------------ decks


@in_browser
@by_deck
def test_no_slide_overflows(page, deck):
    open_deck(page, deck)
    page.evaluate("() => document.fonts.ready")
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


@in_browser
@by_deck
def test_no_words_run_into_the_picture_beside_them(page, deck):
    open_deck(page, deck)
    page.evaluate("() => document.fonts.ready")
    assert not page.evaluate(
        """() => [...document.querySelectorAll('section.split')].filter(section => {
            const picture = section.querySelector(':scope > p > img')?.getBoundingClientRect();
            const words = [...section.querySelectorAll(':scope > :is(p, ul, ol):not(:has(> img))')];
            return picture && words.some(part => {
                const range = document.createRange();
                range.selectNodeContents(part);
                return [...range.getClientRects()].some(box => box.right > picture.left);
            });
        }).map(section => section.querySelector('h1').textContent)"""
    )


@in_browser
@by_deck
def test_every_picture_loads_and_has_words(page, deck):
    open_deck(page, deck)
    pictures = page.evaluate(
        "() => [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt])"
    )
    assert pictures
    assert all(loaded and len(alt.split()) >= 5 for loaded, alt in pictures)


@in_browser
@by_deck
def test_each_slide_shows_the_figures_it_names(page, deck):
    open_deck(page, deck)
    for text, images in zip(slides.parts(deck)[1:], page.evaluate(SIZES), strict=True):
        named = [(ROOT / "figures" / name).read_bytes() for name in FIGURE.findall(text)]
        assert named == [base64.b64decode(source.split(",")[1]) for source, *_ in images]


@in_browser
@by_deck
def test_deck_asks_for_nothing_and_throws_nothing(page, deck):
    open_deck(page, deck)
    until(
        page, "every explorer is live",
        "() => [...document.querySelectorAll('latent-explorer')].every(e => e.dataset.state === 'live')",
    )  # fmt: skip
    assert page.outside == [] and page.errors == []


@in_browser
@by_deck
def test_every_formula_is_drawn(page, deck):
    open_deck(page, deck)
    text = page.evaluate(
        "() => [...document.querySelectorAll('section')].map(s => s.innerText).join()"
    )
    assert "$" not in text and "{{" not in text
    assert page.locator("[data-mjx-error]").count() == 0


PLACE = re.compile(r"\{\{\s*(\w+)\.(\w+)\s*:\s*(\d)( range)?\s*\}\}")


def expected(notebook, key, digits, spread):
    """The mean over the recorded seeds, or their extremes, as a slide has to say it."""
    values = [seed[key] for seed in recorded(notebook).values() if key in seed]
    mean = functools.reduce(operator.add, values) / len(values)
    step = Decimal(1).scaleb(-int(digits))
    shown = [
        f"{Decimal(v).quantize(step, ROUND_HALF_UP)}" for v in (mean, min(values), max(values))
    ]
    return shown[0] if not spread or shown[1] == shown[2] else f"{shown[1]} to {shown[2]}"


@by_deck
def test_numbers_on_slides_are_those_recorded(deck):
    """Every place that a deck fills, filled by its engine and computed here."""
    places = sorted({m[0] for m in PLACE.finditer(deck.read_text(encoding="utf-8"))})
    assert places
    code = 'import("./lecture/engine.mjs").then(({ fillResults }) => console.log(fillResults('
    filled = subprocess.run(
        ["node", "-e", code + json.dumps("\n".join(places)) + ")))"],
        cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True,
    ).stdout.splitlines()  # fmt: skip
    wanted = [expected(*PLACE.fullmatch(place).groups()) for place in places]
    assert dict(zip(places, filled, strict=True)) == dict(zip(places, wanted, strict=True))


@in_browser
@by_deck
def test_dark_room(page, deck):
    open_deck(page, deck, 2)

    def paper():
        return page.evaluate(
            "() => getComputedStyle(document.querySelector('section')).backgroundColor"
        )

    bright = paper()
    press(page, "d")
    assert paper() != bright
    press(page, "d")
    assert paper() == bright


# ------------------------------------------------------------------ cuts, notes, print


@in_browser
@by_deck
def test_pdf_and_pptx_hold_every_slide(deck):
    count = len(slides.parts(deck)) - 1
    pdf = PdfReader(slides.BUILD / f"{deck.stem}.pdf")
    assert len(pdf.pages) == count
    assert (slides.BUILD / f"{deck.stem}.pptx").stat().st_size > 100_000
    text = "".join(p.extract_text() for p in pdf.pages)
    assert "{{" not in text


@in_browser
@by_deck
def test_notes_hold_every_note_below_its_slide(deck):
    pdf = PdfReader(slides.BUILD / f"{deck.stem[:2]}-notes.pdf")
    text = "".join(page.extract_text() for page in pdf.pages)
    assert "{{" not in text
    packed, place = pack(text), 0
    for slide in slides.parts(deck)[1:]:
        said = [c for c in re.findall(r"<!--(.*?)-->", slide, re.S) if not re.match(r"\s*_\w+:", c)]
        for line in [TITLE.search(slide)[1], *said[0].strip().splitlines()]:
            begin = pack(re.split(r"\{\{|\$", line)[0])
            place = packed.find(begin, place)
            assert place >= 0, line


def pack(text):
    """Letters and digits only: a PDF tells neither spaces nor signs for sure."""
    return re.sub(r"\W", "", text)


@pytest.mark.parametrize(
    "word, complaint",
    [
        ("09", "no deck begins with 09. There are: 01_density"),
        ("03:0", "slides 1 to"),
        ("03:1000", "and no 1000"),
        ("03:6-8", "Say it like this"),
        ("03:", "Say it like this"),
        ("0:3", f"names {len(DECKS)} decks"),
    ],
)
def test_only_says_what_does_not_exist(word, complaint):
    with pytest.raises(slides.BuildError, match=complaint):
        slides.asked(["03:6", word])


def test_only_chooses():
    one, three = DECKS[0], VAE
    assert slides.asked(()) == (DECKS, {})
    assert slides.asked(["03", "01"]) == ([one, three], {})
    assert slides.asked(["03:6,11", "03:2"]) == ([], {three: [6, 11, 2]})
    assert slides.asked(["01", "03:6"]) == ([one], {three: [6]})


@in_browser
def test_cut_holds_the_slides_asked_for(page, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "BUILD", tmp_path)
    slides.cut(VAE, [10, SLIDER, 3])
    name = f"{VAE.stem}-10-{SLIDER}-3"
    titles = [TITLE.search(slides.parts(VAE)[n])[1] for n in (10, SLIDER, 3)]
    assert len(PdfReader(tmp_path / f"{name}.pdf").pages) == 3
    page.goto((tmp_path / f"{name}.html").as_uri())
    assert page.locator("section h1").all_text_contents() == titles
    text = page.evaluate("() => document.body.textContent")
    assert "{{" not in text
    assert page.locator(".long").count() == 0
    assert page.locator("section img, latent-explorer").count() >= 3
    hrefs = page.evaluate("() => [...document.links].map(a => a.getAttribute('href'))")
    there = {f"{path.stem}.html" for path in NOTEBOOKS}
    assert hrefs and {href.split("#")[0] for href in hrefs} <= there


# ------------------------------------------------------------------ links


@pytest.mark.parametrize("task, words", [("lecture", ()), ("slides", ()), ("slides", ("03:2",))])
def test_every_task_leaves_all_that_the_slides_link_to(task, words, tmp_path, monkeypatch):
    """From an empty build/: all decks and all pages are there. (That links arrive: below.)"""

    def written(source, target, *_, **__):
        target.write_text(source.name, encoding="utf-8")

    def pages_written(waiting):
        for path, target, _ in waiting:
            written(path, target)

    monkeypatch.setattr(slides, "BUILD", tmp_path)
    monkeypatch.setattr(slides, "build_explorer", lambda: None)
    monkeypatch.setattr(slides, "marp", written)
    monkeypatch.setattr(slides, "build_print", lambda names: None)
    monkeypatch.setattr(browser, "find", lambda: "none")
    monkeypatch.setattr(pages, "_write", pages_written)
    monkeypatch.setattr("tools.server.open_lab", lambda arguments: 0)
    assert not tasks.TASKS[task](*words)
    for source in [*DECKS, *NOTEBOOKS]:
        assert (tmp_path / f"{source.stem}.html").exists(), source.stem


@pytest.mark.parametrize("source", [*DECKS, *NOTEBOOKS], ids=lambda p: p.stem)
def test_links_arrive_wherever_build_is_copied(source):
    """Each link names a file beside it, and a part that is there."""
    text = (slides.BUILD / f"{source.stem}.html").read_text(encoding="utf-8")
    hrefs = set(re.findall(r'<a\b[^>]*?href="([^"]+)"', text))
    inside = [href for href in hrefs if not href.startswith(("http", "mailto"))]
    assert any(".html" in href for href in inside)
    for href in inside:
        name, _, part = href.partition("#")
        assert re.fullmatch(r"([\w-]+\.html)?", name), f"{href} leaves the folder"
        target = (slides.BUILD / name).read_text(encoding="utf-8") if name else text
        ids = {unescape(found) for found in re.findall(r'\bid="([^"]+)"', target)}
        assert not part or unquote(unescape(part)) in ids, href


# ------------------------------------------------------------------ colours

PROTAN = [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
]
DEUTAN = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.011820, 0.042940, 0.968881],
]
TO_XYZ = [
    [0.4124564, 0.3575761, 0.1804375],
    [0.2126729, 0.7151522, 0.0721750],
    [0.0193339, 0.1191920, 0.9503041],
]
HUE_ROTATE = [
    [-0.574, 1.430, 0.144],
    [0.426, 0.430, 0.144],
    [0.426, 1.430, -0.856],
]  # by 180 degrees


def srgb(colour):
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def linear(colours):
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def contrast(colours, paper):
    """WCAG's contrast of sRGB colours (N, 3) with a paper (3,)."""
    y, background = linear(colours) @ TO_XYZ[1], linear(paper) @ np.array(TO_XYZ[1])
    return (np.maximum(y, background) + 0.05) / (np.minimum(y, background) + 0.05)


def test_class_colours_can_be_seen_on_both_papers():
    """On dark paper figures pass `invert(1) hue-rotate(180deg)` and are blended by screen."""
    colours = np.array([srgb(c) for c in PALETTE["classes"]])
    assert contrast(colours, srgb(PALETTE["light"]["paper"])).min() >= 3
    dark = srgb(PALETTE["dark"]["paper"])
    turned = np.clip((1 - colours) @ np.array(HUE_ROTATE).T, 0, 1)
    assert contrast(1 - (1 - turned) * (1 - dark), dark).min() >= 3


@pytest.mark.parametrize(
    "eyes, least", [(np.eye(3), 20), (DEUTAN, 15), (PROTAN, 15)], ids=["all", "deutan", "protan"]
)
def test_class_colours_are_told_apart(eyes, least):
    """CIEDE2000 between any two, as seen by the colour-blind (Machado, Oliveira, Fernandes 2009)."""
    seen = np.clip(linear(np.array([srgb(c) for c in PALETTE["classes"]])) @ np.array(eyes).T, 0, 1)
    lab = xyz2lab(seen @ np.array(TO_XYZ).T)
    first, second = np.triu_indices(len(lab), 1)
    assert deltaE_ciede2000(lab[first], lab[second]).min() >= least


# ------------------------------------------------------------------ size of text


def smallest_text(page, deck):
    """{figure: pixels of its smallest text on a screen of 1920 x 1080}, for each SVG of a deck.

    Matplotlib draws letters as paths, each line of text scaled by its size in points over 100. The
    figure keeps its shape in its box. Pictures of pixels do not tell their text, and are left out.
    """
    open_deck(page, deck)
    page.add_style_tag(content="svg[data-marpit-svg] { content-visibility: visible !important; }")
    found = {}
    for text, images in zip(slides.parts(deck)[1:], page.evaluate(SIZES), strict=True):
        for name, (source, width, height) in zip(FIGURE.findall(text), images, strict=True):
            if not source.startswith("data:image/svg"):
                continue
            svg = base64.b64decode(source.split(",")[1]).decode("utf-8")
            across, down = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
            points = [100 * float(s) for s in re.findall(r"scale\(([\d.]+) -[\d.]+\)", svg)]
            if points:
                found[name] = 1920 / 1280 * min(width / across, height / down) * min(points)
    return found


@in_browser
@by_deck
def test_text_of_figures_is_large_enough(page, deck):
    """24 px at 1920 x 1080."""
    found = smallest_text(page, deck)
    assert found
    print(f"{deck.stem}: smallest text {min(found.values()):.1f} px")
    assert {name: round(size, 1) for name, size in found.items() if size < 24} == {}


# ------------------------------------------------------------------ nothing is named that is not there


NAMED = re.compile(r"(?<![\w.#])(0[1-9][a-z])(?:_\w+)?(?!\w)")
PUBLIC = [*DECKS, *NOTEBOOKS, table.README, ROOT / "NOTATION.md"]


def words_of(path):
    """The text of a deck, a page or all cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    return "\n".join(c.source for c in nbformat.read(path, as_version=4).cells)


@pytest.mark.parametrize("path", PUBLIC, ids=lambda p: p.stem)
def test_every_notebook_named_exists(path):
    there = {p.stem[:3] for p in NOTEBOOKS}
    assert set(NAMED.findall(words_of(path))) <= there


@by_name
def test_next_and_before_follow_the_map(path):
    """A notebook's "Next" is the one after it, its "Before" one that comes earlier."""
    order = [p.stem for p in NOTEBOOKS]
    opening = nbformat.read(path, as_version=4).cells[0].source
    for word, target in re.findall(r"(Next|Before): (?:\[[^\]]*\]\()?`?(\w+)", opening):
        assert target in order, f"{word}: {target} is not there"
        steps = order.index(target) - order.index(path.stem)
        assert steps == 1 if word == "Next" else steps < 0, f"{word}: {target}"


@by_deck
def test_a_slide_that_says_next_links_to_what_is_there(deck):
    for slide in slides.parts(deck)[1:]:
        if re.search(r"^(# |<!-- _footer: \")Next\b", slide, re.M):
            named = re.findall(r"\]\((?:\.\./notebooks/|\./)?(\w+)\.(?:ipynb|md)", slide)
            assert named and set(named) <= {p.stem for p in PUBLIC}, slide.strip()[:80]

"""build/site/: whole, one copy of everything, reachable for all, alive; its seconds: benchmarks/site.py."""

import gzip
import html
import lzma
import re
from urllib.parse import unquote

import pytest
import sites
from conftest import ROOT
from windows import until

from tools import site, slides
from tools.notebooks import all_notebooks
from tools.site.assets import SMALL

pytestmark = pytest.mark.browser
NAMES = ["index", "notation", *(p.stem for p in (*slides.decks(), *all_notebooks()))]
REFERENCE = re.compile(r'(?:\b(?:href|src|spec|model|data-engine|data-runtime)="|url\()([^")>]+)')
OUTSIDE = re.compile(
    r'(?:src|srcset|spec|data)="(?:https?:)?//|url\(["\']?(?:https?:)?//|<link[^>]+href="https?://'
)
AXE = ROOT / "tools/site/node_modules/axe-core/axe.min.js"
PICTURES = (".svg", ".png", ".webp")
every_page = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def host():
    with sites.hosted() as address_and_sent:
        yield address_and_sent


@pytest.fixture
def base(host):
    return host[0]


@pytest.fixture
def sent(host):
    """What the host has sent since the test began: [(file, bytes)]."""
    host[1].clear()
    return host[1]


@pytest.fixture
def tab(chromium):
    """A tab with nothing kept; `asked` has each address it asked for, `errors` what went wrong."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    fresh = context.new_page()
    fresh.asked, fresh.errors = [], []
    context.on("request", lambda request: fresh.asked.append(request.url))
    context.on("requestfailed", lambda request: fresh.errors.append(request.url))
    fresh.on("pageerror", lambda error: fresh.errors.append(str(error)))
    yield fresh
    context.close()


def text(name):
    return (site.SITE / f"{name}.html").read_text(encoding="utf-8")


def live(page, name):
    """Wait until the first explorer of a name draws."""
    page.evaluate(
        "name => document.querySelector(`latent-explorer[name='${name}']`).scrollIntoView()", name
    )
    until(page, f"{name} draws", """name => {
        const { explorer } = document.querySelector(`latent-explorer[name='${name}']`);
        return explorer && !explorer.frame.hidden;
    }""", name)  # fmt: skip


# ------------------------------------------------------------------ what is in it


def test_the_site_has_every_page_and_what_one_takes_along():
    for name in NAMES:
        assert (site.SITE / f"{name}.html").is_file(), name
    for path in all_notebooks():
        assert (site.SITE / "notebooks" / path.name).read_bytes() == path.read_bytes()
    for name in [*(deck.stem for deck in slides.decks()), "lecture"]:
        assert (site.SITE / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"


@every_page
def test_nothing_in_a_page_asks_for_anything_outside(name):
    found = OUTSIDE.search(text(name))
    assert not found, found[0]


@every_page
def test_every_link_leads_somewhere(name):
    page = re.sub(r"<script>.*?</script>", "", text(name), flags=re.S)
    for reference in sorted(map(html.unescape, set(REFERENCE.findall(page)))):
        if re.match(r"[a-z]+:", reference):
            continue
        path, _, part = reference.partition("#")
        target = site.SITE / path if path else site.SITE / f"{name}.html"
        assert target.is_file(), reference
        if part and not part.isdigit() and target.suffix == ".html":
            found = target.read_text(encoding="utf-8")
            assert f'id="{html.escape(unquote(part), quote=False)}"' in found, reference


@pytest.mark.parametrize("name", [path.stem for path in all_notebooks()])
def test_a_link_to_a_part_shows_that_part(tab, base, name):
    """Also where what lies before it is not laid out."""
    part = html.unescape(re.findall(r'<h2 id="([^"]+)"', text(name))[-2])
    tab.goto(f"{base}{name}.html#{part}")
    until(tab, f"{part} is in the window", """part => {
        const { top } = document.getElementById(part).getBoundingClientRect();
        return top > -5 && top < innerHeight - 40;
    }""", part)  # fmt: skip


def test_there_is_one_copy_of_everything():
    contents = [path.read_bytes() for path in (site.SITE / "assets").iterdir()]
    assert len(set(contents)) == len(contents)
    for name in NAMES:
        inside = re.findall(r"data:[\w/+-]+;base64,[A-Za-z0-9+/=]+", text(name))
        assert max(map(len, inside), default=0) < 1.4 * SMALL, name
        assert "data-explorer=" not in text(name)
    (runtime,) = (site.SITE / "assets").glob("runtime.*")
    assert lzma.decompress(runtime.read_bytes())[:4] == b"\0asm"
    used = " ".join(map(text, NAMES))
    for name, model in re.findall(r'<latent-explorer name="([^"]+)"[^>]* model="([^"]+)"', used):
        kept = (slides.DECKS / "live" / f"{name}.onnx").read_bytes()
        assert gzip.decompress((site.SITE / model).read_bytes()) == kept
    for path in (site.SITE / "assets").iterdir():
        assert path.name in used, f"nothing uses {path.name}"


def test_from_a_slide_to_its_part_and_back():
    """Each link of a slide to a part of a notebook is there the other way round."""
    links = 0
    for (notebook, part), places in site.slides_of_parts().items():
        page = text(notebook)
        after = page.partition(f'id="{html.escape(unquote(part), quote=False)}"')[2]
        listed = re.search(r'<p class="slides">(.*?)</p>', after)[1]
        for deck, number in places:
            assert f'href="{deck.stem}.html#{number}"' in listed, (notebook, part)
            links += 1
    assert links > 100


def test_neighbours_follow_the_course():
    paths = all_notebooks()
    for before, after in zip(paths, paths[1:]):
        assert f'rel="next" href="{after.stem}.html"' in text(before.stem)
        assert f'rel="prev" href="{before.stem}.html"' in text(after.stem)
    assert 'rel="prev"' not in text(paths[0].stem) and 'rel="next"' not in text(paths[-1].stem)


# ------------------------------------------------------------------ in a browser


UNFOLD = """code => {
    for (const part of document.querySelectorAll("details")) part.open = code || !part.matches(".code");
}"""


def lay_out_all(tab):
    """Also what is far from the window."""
    tab.add_style_tag(content="main > .cell { content-visibility: visible !important; }")


def violations(tab, what="document"):
    lay_out_all(tab)
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    found = tab.evaluate(f"async () => (await axe.run({what})).violations")
    return [(each["id"], each["nodes"][0]["html"][:200]) for each in found]


@every_page
def test_axe_finds_nothing(tab, base, name):
    """With what is folded open, but for code: it is everywhere the same (see below)."""
    tab.goto(f"{base}{name}.html")
    tab.evaluate(UNFOLD, False)
    assert not violations(tab, "{ exclude: [['.highlight']] }")
    assert not tab.errors and all(url.startswith((base, "data:", "blob:")) for url in tab.asked)


@pytest.mark.parametrize("name", ["index", "03a_vae", "03_vae"])
def test_axe_finds_nothing_in_the_dark_and_in_code(tab, base, name):
    tab.emulate_media(color_scheme="dark")
    tab.goto(f"{base}{name}.html")
    tab.evaluate(UNFOLD, True)
    assert not violations(tab)


def test_bytes_to_the_first_slider(tab, base, sent):
    """At most 400 kB before the figures, 4 MB to the first slider; the next page has it, and begins."""
    tab.goto(f"{base}03a_vae.html")
    tab.wait_for_load_state("networkidle")
    assert sum(size for name, size in sent if not name.endswith(PICTURES)) < 400_000
    assert not any("runtime" in name for name, _ in sent)
    live(tab, "03_vae/plane")
    assert any("runtime" in name for name, _ in sent)
    assert sum(size for _, size in sent) < 4_000_000
    sent.clear()
    tab.goto(f"{base}04a_gan.html")
    until(
        tab,
        "the first explorer is ready before the reader comes to it",
        "() => document.querySelector('latent-explorer').dataset.state === 'live'",
    )
    tab.evaluate(UNFOLD, False)
    live(tab, "04_gan/game")
    assert sent and not any(
        word in name for name, _ in sent for word in ("runtime", "engine", "woff2")
    )


def test_sliders_of_a_page_move(tab, base):
    tab.goto(f"{base}index.html")
    live(tab, site.HERO)
    state = "() => document.querySelector('latent-explorer').explorer.captionLine.textContent"
    said = set()
    for _ in range(6):
        tab.get_by_role("button", name="random").click()
        tab.wait_for_timeout(200)
        said.add(tab.evaluate(state))
    assert len(said) > 1 and all("the classifier reads" in each for each in said)


def test_sliders_of_a_slide_come_when_it_is_shown(tab, base, sent):
    deck = next(slides.DECKS.glob("04_*.md"))
    tab.goto(f"{base}{deck.stem}.html")
    tab.wait_for_load_state("networkidle")
    assert not any(name.endswith(".bin") for name, _ in sent)
    assert sum(name.endswith(PICTURES) for name, _ in sent) < 5
    number = next(
        n for n, part in enumerate(slides.parts(deck)[1:], 1) if "<latent-explorer" in part
    )
    tab.goto(f"{base}{deck.stem}.html#{number}")
    until(tab, "the explorer draws", """() => {
        const shown = document.querySelector('.bespoke-marp-active latent-explorer');
        return shown?.explorer && !shown.explorer.frame.hidden;
    }""")  # fmt: skip
    assert len([name for name, _ in sent if name.endswith(".bin")]) == 2  # the runtime, one model


@pytest.mark.parametrize(
    "lost, says",
    [
        ("*.json", "could not be loaded"),
        ("engine.*", "did not start"),
        ("runtime.*", "did not start"),
    ],
)
def test_an_explorer_that_cannot_come_says_so(tab, base, lost, says):
    tab.route(f"**/{lost}", lambda route: route.abort())
    tab.goto(f"{base}index.html")
    tab.get_by_text(says).wait_for()
    assert tab.locator("latent-explorer .still").is_visible()


def test_light_and_dark_follow_the_reader(tab, base):
    for name in ("index", "03a_vae", "03_vae"):
        for light, dark in (("light", False), ("dark", True)):
            tab.emulate_media(color_scheme=light)
            tab.goto(f"{base}{name}.html")
            assert tab.evaluate("() => document.documentElement.hasAttribute('data-dark')") is dark


@every_page
def test_page_fits_a_phone(tab, base, name):
    tab.set_viewport_size({"width": 360, "height": 740})
    tab.goto(f"{base}{name}.html")
    tab.evaluate(UNFOLD, True)
    lay_out_all(tab)
    assert tab.evaluate("() => document.documentElement.scrollWidth") <= 360


def test_search_finds_parts_of_notebooks_and_slides(tab, base):
    tab.goto(f"{base}01a_mixtures.html")
    assert not any("pagefind" in url for url in tab.asked)
    tab.keyboard.press("/")
    box = tab.locator("dialog.search input")
    box.wait_for()
    box.fill("reparameterised gradient")
    found = tab.locator("dialog.search .pagefind-ui__result-link")
    found.first.wait_for()
    links = found.evaluate_all("links => links.map(link => link.href)")
    assert any("03a_vae.html" in link for link in links)
    assert any(re.search(r"03_vae\.html#\d+$", link) for link in links)
    assert not violations(tab, "'dialog.search'")
    found.first.click()
    until(tab, "the result is shown", "() => location.pathname.includes('03')")


def test_paper_shows_what_is_folded_and_no_bars(tab, base):
    tab.goto(f"{base}03a_vae.html")
    tab.emulate_media(media="print", color_scheme="dark")
    tab.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert not tab.locator("header.site").is_visible()
    assert tab.evaluate("() => document.querySelectorAll('details.deeper:not([open])').length") == 0
    assert (
        tab.evaluate("() => getComputedStyle(document.body).backgroundColor")
        == "rgb(255, 255, 255)"
    )

"""build/site/: the course for any static host, each thing in it once.

The pages and decks that `make slides` and `make pages` made hold everything they need. Here their
figures, fonts, models and the browser's runtime become files with a digest in their names. A
reader's browser fetches them when they come into view, and keeps them for the next page.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess

import jinja2
from nbconvert.filters import markdown2html

from tools import browser, env, minutes, pages, routes, slides, table
from tools.notebooks import all_notebooks
from tools.site.assets import Assets, thumbnail
from utils import ROOT

HERE = pathlib.Path(__file__).parent
SITE = slides.BUILD / "site"
HEADING = re.compile(
    r'(<h([1-6]) id="([^"]+)">.*?)(<a class="anchor-link".*?</a>)(</h\2>)(</summary>)?', re.S
)
PART = re.compile(r"\(\.\./notebooks/(\w+)\.ipynb#([^)\s]+)\)")
SLIDE = re.compile(r"<section\b.*?</section>", re.S)
TAG = re.compile(
    r"<(?:style|script|mjx-container)\b.*?</(?:style|script|mjx-container)>|<[^>]+>", re.S
)
FONT = re.compile(r"url\((assets/[^)]+\.woff2)\)")  # the first is that of upright Latin letters
HEADER = re.compile(r"<th>(.*?)</th>", re.S)
HERO = "03_vae/plane"
THUMBNAILS = {  # a figure, and the part of it that is shown: left, top, right, bottom
    "01_density": ("steps.png", (0.5, 0.13, 1, 0.95)),
    "02_flows": ("ode_density.png", (0.5, 0.12, 1, 0.93)),
    "03_vae": ("plane.png", (0, 0.3, 1, 0.8)),
    "04_gan": ("class_grid.png", (0.03, 0.06, 0.68, 0.5)),
    "05_alignment": ("seasons.png", (0.145, 0.06, 0.475, 0.51)),
    "06_outlook": ("few_steps.png", (0.5, 0.13, 1, 1)),
}
ASKS = {
    "01_density": "How likely is what I see?",
    "02_flows": "Can a network bend a simple density into mine, and keep count?",
    "03_vae": "What are the few numbers behind a picture?",
    "04_gan": "Can a judge teach a painter?",
    "05_alignment": "How does one translate without a single pair?",
    "06_outlook": "What came since: diffusion, sound, films, and what is still open.",
}


class Builder:
    """Makes the pages of a site in the folder `out` from the files that stand alone."""

    def __init__(self, out):
        self.out = out
        self.assets = Assets(out / "assets")
        looks = {name: self.assets.add_file(HERE / name) for name in ("site.css", "site.js")}
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE), autoescape=True, trim_blocks=True,
            lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        )  # fmt: skip
        self.templates.globals |= {
            "css": looks["site.css"], "js": looks["site.js"], "title": table.title,
            "icon": self.assets.add_file(HERE / "icon.svg"),
            "theme": (HERE / "theme.js").read_text(encoding="utf-8"),
        }  # fmt: skip

    def fill(self, template, **values):
        return self.templates.get_template(f"{template}.html.j2").render(values)

    def write(self, name, page, about, *, bars=("", "")):
        """Write a page with the site's head, between two bars."""
        page = HEADER.sub(_header, self.assets.outside(page))
        head = self.fill("head", about=about, framed=any(bars), font=FONT.search(page)[1])
        page = page.replace("</head>", f"{head}</head>", 1)
        if any(bars):
            page = self.assets.early(page)
            # What is read is not moved by a font that comes late; the next page has it.
            page = page.replace("@font-face{", "@font-face{font-display:optional;")
            page = page.replace("<main>", f'{bars[0]}<main id="content" data-pagefind-body>', 1)
            page = page.replace("</main>", f"</main>{bars[1]}", 1)
        (self.out / name).write_text(page, encoding="utf-8", newline="\n")

    def deck(self, deck):
        """A deck that leads back to the course and follows the reader's light."""
        page = (slides.BUILD / f"{deck.stem}.html").read_text(encoding="utf-8")
        page = page.replace("<html", "<html data-site", 1)
        osc, shown = '<div class="bespoke-marp-osc">', '<div id=":$p">'
        page = page.replace(osc, osc + self.fill("home"), 1)
        page = page.replace(shown, '<div id=":$p" role="main">', 1)
        self.write(f"{deck.stem}.html", page, f"Slides on {table.title(deck).lower()}")

    def notebook(self, path, before, after, slides_of):
        """A notebook's page between its neighbours, its parts tied to the slides they stand on."""

        def with_slides(match):
            heading, _, part, anchor, end, summary = match.groups()
            links = self.fill("slides", places=slides_of.get((path.stem, part), ()))
            return heading + (end + summary if summary else anchor + end) + links

        page = (slides.BUILD / f"{path.stem}.html").read_text(encoding="utf-8")
        around = {"path": path, "before": before, "after": after, "deck": _deck_of(path)}
        bars = self.fill("top", **around), self.fill("foot", **around)
        about = f"{table.title(path)}: a notebook of the course, with its code, figures and sliders"
        self.write(f"{path.stem}.html", HEADING.sub(with_slides, page), about, bars=bars)
        shutil.copyfile(path, self.out / "notebooks" / path.name)

    def words(self, printed):
        """The page to begin on, and that of the symbols; `printed` names the PDFs there are."""
        sections = [
            {
                "number": int(number), "deck": deck, "asks": ASKS[deck.stem],
                "minutes": [minutes.rounded(m) for m in minutes.measure_deck(deck.read_text("utf-8"))],
                "picture": thumbnail(deck.stem, *THUMBNAILS[deck.stem]),
                "notebooks": [(path, minutes.rounded(routes.cost(path))) for path in notebooks],
            }
            for number, deck, notebooks, *_ in table.sections()
        ]  # fmt: skip
        start = self.fill(
            "start", hero=HERO, sections=sections, printed=printed,
            routes=markdown2html("\n".join(routes.lines(_link))),
        )  # fmt: skip
        symbols = (ROOT / "NOTATION.md").read_text(encoding="utf-8")
        bodies = {
            "index": ("Generative and density models", start),
            "notation": ("Notation", _linked(markdown2html(symbols))),
        }
        abouts = {
            "index": "A course on generative models one can run: every model from scratch, every "
            "claim checked, sliders that work here.",
            "notation": "Symbols, shapes, units and colours of the course",
        }
        orders = [
            {"title": title, "out": str(slides.BUILD / f"{name}.html"), "body": body}
            for name, (title, body) in bodies.items()
        ]
        for name, order, made in zip(bodies, orders, pages.draw(orders)):
            if made != order["out"]:
                raise slides.BuildError(f"the page {name} could not be made, see above")
            page = pathlib.Path(made).read_text(encoding="utf-8")
            page = page.replace(
                '><img class="still"', ' eager><img fetchpriority="high" class="still"'
            )
            self.write(
                f"{name}.html", page, abouts[name], bars=(self.fill("top"), self.fill("foot"))
            )


def build():
    """Write build/site/ anew. Without a browser it has no PDFs. Raises BuildError or SetupError."""
    env.add_node_modules("tools/site")
    slides.build_html()
    pages.build()
    try:
        slides.build_print()
        printed = [*(deck.stem for deck in slides.decks()), "lecture"]
    except browser.NoBrowser as error:
        printed = []
        print(f"The site has no PDFs: {error}", flush=True)
    draft = SITE.with_name("site-draft")
    shutil.rmtree(draft, ignore_errors=True)
    (draft / "notebooks").mkdir(parents=True)
    builder, paths = Builder(draft), all_notebooks()
    for name in printed:
        shutil.copyfile(slides.BUILD / f"{name}.pdf", draft / f"{name}.pdf")
    for deck in slides.decks():
        builder.deck(deck)
    slides_of = slides_of_parts()
    for before, path, after in zip([None, *paths], paths, [*paths[1:], None]):
        builder.notebook(path, before, after, slides_of)
    builder.words(printed)
    _index(draft)
    shutil.rmtree(SITE, ignore_errors=True)
    os.replace(draft, SITE)
    print(
        f"the site is in {os.path.relpath(SITE, ROOT)}/; look at it: python -m http.server -d build/site"
    )
    return 0


def _index(site):
    """The files of the search, by Pagefind."""
    records = []
    for deck in slides.decks():
        page = (slides.BUILD / f"{deck.stem}.html").read_text(encoding="utf-8")
        for number, slide in enumerate(SLIDE.findall(page), 1):
            heading = re.search(r"<h1\b[^>]*>(.*?)</h1>", slide, re.S)
            title = f"Slide {number}: {_plain(heading[1])}" if heading else f"Slide {number}"
            address = f"{deck.stem}.html#{number}"
            records.append({"url": address, "title": title, "content": _plain(slide)})
    subprocess.run(
        [slides._node(), str(HERE / "search.mjs"), str(site)], cwd=ROOT, check=True,
        input=json.dumps(records), encoding="utf-8", stdout=subprocess.DEVNULL,
    )  # fmt: skip


def _header(match):
    """A header cell; an empty one is none, and a formula alone has its letters as its name."""
    if not match[1].strip():
        return "<td></td>"
    letters = _plain(match[1].partition("<mjx-assistive-mml")[2].partition(">")[2])
    named = match[0].replace("<math ", f'<math aria-label="{letters}" ')
    return match[0] if _plain(match[1]) else named


def _plain(page):
    return " ".join(TAG.sub(" ", page).split())


def slides_of_parts():
    """The slides that lead to each part of a notebook: {(notebook, part): [(deck, number)]}."""
    found = {}
    for deck in slides.decks():
        for number, text in enumerate(slides.parts(deck)[1:], 1):
            for place in dict.fromkeys(PART.findall(text)):
                found.setdefault(place, []).append((deck, number))
    return found


def _deck_of(path):
    return next(slides.DECKS.glob(f"{path.stem[:2]}_*.md"))


def _link(path):
    """A link to a deck's or a notebook's page, in Markdown."""
    name = f"slides {path.stem[:2]}" if path.suffix == ".md" else path.stem[:3]
    return f"[{name}]({path.stem}.html)"


def _linked(page):
    return re.sub(r'href="(?:notebooks|lecture)/(\w+)\.(?:ipynb|md)', r'href="\1.html', page)

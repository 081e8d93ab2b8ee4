"""Ways through the course for those who have less time than it takes, with their minutes."""

import nbformat

from tools import minutes, notebooks
from utils import ROOT
from utils.store import atomic_write

PAGE = ROOT / "ROUTES.md"

# (name, for whom, [steps]); a step is a line of decks ("04", by the short route) and notebooks
# ("04a", the core path) that are done in one sitting.
EVERYTHING = [path.stem[:3] for path in notebooks.all_notebooks()]
ROUTES = [
    ("A week of evenings", "The main model of each section, and one table at the end.",
     ["01 01a", "02 02a", "03 03a", "04 04a", "04b", "05 05c", "06 06e"]),
    ("One lecture of 90 minutes", "Two families, with time for the sliders and for questions.",
     ["03 04"]),
    ("One afternoon of lectures", "All six sections by their short routes.",
     ["01 02 03", "04 05 06"]),
    ("Only alignment", "From mixtures to the CycleGAN and what it is worth.",
     ["01a 05", "04a", "04b", "05a", "05c", "05d", "05e", "05f"]),
    ("Only diffusion", "From one change of variables to diffusion.",
     ["02 02a", "02b", "02c", "02d", "06 06a"]),
    ("Only GANs", "The game, its failures, and the cures up to BigGAN.",
     ["04 04a", "04b", "04c", "04d", "04e", "04f"]),
    ("The whole course", "A notebook an evening; the deeper parts come on top.", EVERYTHING),
]  # fmt: skip


def files(step):
    """The decks and notebooks of a step."""
    folders = {2: ("lecture", "_*.md"), 3: ("notebooks", "_*.ipynb")}
    found = []
    for name in step.split():
        folder, ending = folders[len(name)]
        found.append(next((ROOT / folder).glob(name + ending)))
    return found


def cost(path):
    """Minutes of a deck's short route, or of a notebook's core path."""
    if path.suffix == ".md":
        return minutes.measure_deck(path.read_text(encoding="utf-8"))[1]
    return minutes.measure(nbformat.read(path, as_version=4))[0]


def lines(link):
    """The routes in Markdown; `link(path)` gives the link to a deck or a notebook."""
    found = ["| route | minutes | sittings |", "|---|---|---|"]
    for name, why, steps in ROUTES:
        spent = [sum(map(cost, files(step))) for step in steps]
        shown = [" + ".join(map(link, files(step))) for step in steps]
        sittings = "<br>".join(
            f"{number}. {what} ({minutes.rounded(each)})"
            for number, (what, each) in enumerate(zip(shown, spent), 1)
        )
        if steps == EVERYTHING:
            sittings = ", ".join(shown)
        found.append(f"| **{name}**<br>{why} | {minutes.rounded(sum(spent))} | {sittings} |")
    return found


def page():
    """The page of the routes, with links to the decks and notebooks of the repository."""

    def link(path):
        kind = "slides " if path.suffix == ".md" else ""
        name = path.stem[: 2 if kind else 3]
        return f"[{kind}{name}]({path.relative_to(ROOT).as_posix()})"

    return "\n".join(
        [
            "# Routes through the course",
            "",
            "Slides count by their short route (key s), notebooks by their core path, in minutes "
            "of a reader whose English is a second language. A notebook comes after those that it "
            "needs; where a route leaves one out, the opening of the next says what to know.",
            "",
            *lines(link),
            "",
        ]
    )


def write():
    atomic_write(PAGE, page())

"""The two generated parts of the README: the map of the sections, and the results."""

import json
import re
import statistics
import sys

import nbformat
from scipy import stats

from tools import minutes, routes
from utils import ROOT
from utils.results import recorded

README = ROOT / "README.md"


def title(path):
    """The first heading of a notebook or a deck."""
    if path.suffix == ".ipynb":
        text = "\n".join(
            c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown"
        )
    else:
        text = path.read_text(encoding="utf-8")
    return re.search(r"^# (.+)$", text, re.M).group(1)


def sections():
    """What there is, by section number: (number, deck, notebooks, figures, tests)."""
    found = []
    for deck in sorted((ROOT / "lecture").glob("[0-9][0-9]_*.md")):
        number = deck.name[:2]
        found.append(
            (
                number,
                deck,
                sorted((ROOT / "notebooks").glob(f"{number}[a-z]_*.ipynb")),
                sorted((ROOT / "figures").glob(f"{number}_*")),
                sorted((ROOT / "tests").glob(f"test_{number}*.py")),
            )
        )
    return found


def cost(path):
    """What a notebook takes: minutes of the core path and of the deeper parts, seconds, megabytes."""
    core, deeper = map(minutes.rounded, minutes.measure(nbformat.read(path, 4)))
    more = f" + {deeper}" if minutes.has_deeper(nbformat.read(path, 4)) else ""
    seeds = recorded(path.stem).values()
    memory = max(max(s.get("memory_mb", 0), s.get("memory_twice_mb", 0)) for s in seeds)
    return f"{core}{more} min, {minutes.seconds(path)} s, {memory / 1000:.1f} GB"


def _lecture(deck):
    everything, short = map(minutes.rounded, minutes.measure_deck(deck.read_text(encoding="utf-8")))
    return f"{everything} min, {short} short"


def section_map():
    """The map as a Markdown table."""

    def link(path, text):
        return f"[{text}]({path.relative_to(ROOT).as_posix()})"

    lines = ["| section | deck | notebooks | figures | tests |", "|---|---|---|---|---|"]
    for number, deck, notebooks, figures, tests in sections():
        cells = [
            f"{int(number)} {title(deck)}",
            f"{link(deck, deck.stem)} ({_lecture(deck)})",
            "<br>".join(link(n, f"{n.stem[:3]} {title(n)}") + f" ({cost(n)})" for n in notebooks),
            "<br>".join(link(f, f.name) for f in figures),
            "<br>".join(link(t, t.stem) for t in tests),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def results_table():
    """The headlines of results/headlines.json over all seeds recorded."""
    lines = ["| notebook | measured | seeds | mean ± 95 % | lowest to highest | beside |"]
    lines.append("|---|---|---|---|---|---|")
    headlines = json.loads((ROOT / "results/headlines.json").read_text(encoding="utf-8"))
    for notebook, what, key, digits, beside in headlines:
        if not (ROOT / "results" / f"{notebook}.json").exists():
            continue  # written, and not yet run
        values = _values(notebook, key)
        mean = f"**{statistics.fmean(values):.{digits}f}** ± {interval(values):.{digits}f}"
        span = f"{min(values):.{digits}f} to {max(values):.{digits}f}"
        beside = re.sub(r"\{(\w+)\.(\w+):(\d)\}", lambda m: _mean(m[1], m[2], int(m[3])), beside)
        cells = [notebook[:3], what, str(len(values)), mean, span, beside]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(values):
    """Half the width of the 95 % interval of the mean, by Student's t."""
    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def _values(notebook, key):
    return [seed[key] for seed in recorded(notebook).values() if key in seed]


def _mean(notebook, key, digits):
    return f"{statistics.fmean(_values(notebook, key)):.{digits}f}"


def filled():
    """The README with both parts up to date."""
    text = README.read_text(encoding="utf-8")
    for name, part in (("map", section_map()), ("results", results_table())):
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end {name} -->)"
        text, count = re.subn(pattern, lambda m, p=part: f"{m[1]}{p}\n{m[2]}", text, flags=re.S)
        if count != 1:
            sys.exit(f"README.md needs one part between <!-- {name} --> and <!-- end {name} -->")
    return text


def write():
    minutes.write()
    routes.write()
    README.write_text(filled(), encoding="utf-8", newline="\n")
    return 0

"""How long a notebook takes a reader and a deck a lecturer, and the lines that say so.

The pace is that of a student whose English is a second language, and was set so that whole
notebooks take as long as four of them did when they were read aloud and worked through (129 to 157
minutes). What is folded costs nothing; a part whose heading begins with "Deeper:" is not core.

A slide takes the time to read it, to say its notes and, where it has one, to move its slider.
"""

import re
import statistics
import sys

import nbformat

from utils import ROOT
from utils.results import recorded
from utils.store import atomic_write

WORDS_A_MINUTE = 95
MINUTES = {"line": 0.09, "formula": 0.5, "figure": 0.9, "prediction": 0.5}
EXERCISE = {"easy": 3, "medium": 5, "hard": 8}  # to build; unmarked ones count as medium
CORE_MINUTES = 60
SPOKEN_WORDS_A_MINUTE = 110
SLIDE = {"shown": 1.25, "slider": 1.5}
SHORT_MINUTES = 45  # of a section on its short route: six of them are an afternoon
LECTURE = re.compile(r"^About \d+ minutes, \d+ by the short route \(key s\)\.$", re.M)
WORD = re.compile(r"[A-Za-z][\w'-]*|\$[^$]+\$|\d[\d.]*")
TIME = re.compile(r"^- \*\*Time:\*\* .*(?:\n  .*)*$", re.M)


def parts(notebook):
    """[(is deeper, [cells])] of a notebook, in order."""
    found, level = [(False, [])], None  # the level of the deeper heading that we are under
    for cell in notebook.cells:
        heading = cell.cell_type == "markdown" and re.match(r"(#+) (.*)", cell.source)
        if heading:
            depth, title = len(heading[1]), heading[2]
            if title.startswith("Deeper:") and (level is None or depth <= level):
                found.append((True, []))
                level = depth
            elif level is not None and depth <= level:
                found.append((False, []))
                level = None
        found[-1][1].append(cell)
    return found


def measure(notebook):
    """(minutes of the core path, minutes of the deeper parts)."""
    spent = {False: 0.0, True: 0.0}
    for deeper, cells in parts(notebook):
        spent[deeper] += sum(map(_minutes, cells))
    return spent[False], spent[True]


def is_folded(cell):
    return bool(cell.metadata.get("jupyter", {}).get("source_hidden"))


def _minutes(cell):
    if cell.cell_type == "markdown":
        return _of_text(cell.source)
    lines = 0 if is_folded(cell) else sum(bool(line.strip()) for line in cell.source.splitlines())
    spent = MINUTES["line"] * lines
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data or "text/html" in data:
            spent += MINUTES["figure"]
        elif "text/markdown" in data:
            spent += _of_words(data["text/markdown"])
    return spent


def _of_text(text):
    text = re.sub(r"<details>.*?</details>", "", text, flags=re.S)
    spent = MINUTES["formula"] * len(re.findall(r"\$\$.+?\$\$", text, re.S))
    text = re.sub(r"\$\$.+?\$\$", "", text, flags=re.S)
    spent += MINUTES["prediction"] * text.count("**Predict")
    for title in re.findall(r"\*\*Exercise \d+[^*]*\*\*", text):
        level = next((level for level in EXERCISE if level in title), "medium")
        spent += EXERCISE[level]
    return spent + _of_words(text)


def _of_words(text):
    return len(WORD.findall(text)) / WORDS_A_MINUTE


def rounded(minutes):
    """To five minutes, never to none."""
    return max(5, 5 * round(minutes / 5))


def seconds(path):
    """The recorded training seconds, mean over seeds, rounded up to five; None if never run."""
    try:
        values = [seed["seconds"] for seed in recorded(path.stem).values()]
    except (FileNotFoundError, KeyError):
        return None
    return int(5 * -(-statistics.fmean(values) // 5))


def sentence(path, notebook):
    """The line of the opening that says how long the notebook takes."""
    core, deeper = map(rounded, measure(notebook))
    trained = seconds(path)
    training = f"; all training runs take about {trained} seconds" if trained else ""
    if has_deeper(notebook):
        told = f"about {core} minutes for the core path, {deeper} more for the deeper parts"
    else:
        told = f"about {core} minutes to read and to do"
    return f"- **Time:** {told}{training} on one core."


def measure_deck(text):
    """(minutes of all slides, minutes of the short route) of a deck's Markdown."""
    everything = short = 0.0
    for slide in re.split(r"^---$", text, flags=re.M)[2:]:
        notes = " ".join(re.findall(r"<!--\n(.*?)-->", slide, re.S))
        spent = SLIDE["shown"] + len(WORD.findall(notes)) / SPOKEN_WORDS_A_MINUTE
        spent += SLIDE["slider"] * ("<latent-explorer" in slide)
        everything += spent
        short += 0 if re.search(r"<!-- _class:[^>]*\blong\b", slide) else spent
    return everything, short


def lecture_line(text):
    """The line on a deck's first slide that says how long it takes."""
    everything, short = map(rounded, measure_deck(text))
    return f"About {everything} minutes, {short} by the short route (key s)."


def has_deeper(notebook):
    return any(deeper for deeper, _ in parts(notebook))


def write():
    """Bring the lines up to date in all notebooks and decks; a notebook's text asks for no run."""
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9][a-z]_*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        opening = notebook.cells[0]
        new, count = TIME.subn(sentence(path, notebook), opening.source)
        if count != 1:
            sys.exit(f"{path.name}: the opening needs one line that begins with - **Time:**")
        if new != opening.source:
            opening.source = new
            atomic_write(path, nbformat.writes(notebook) + "\n")
    for path in sorted((ROOT / "lecture").glob("[0-9][0-9]_*.md")):
        text = path.read_text(encoding="utf-8")
        new, count = LECTURE.subn(lecture_line(text), text)
        if count != 1:
            sys.exit(f"{path.name}: the first slide needs the line\n    {lecture_line(text)}")
        if new != text:
            atomic_write(path, new)


def table():
    """The minutes of all notebooks and decks, as a text."""
    lines = []
    for path in sorted((ROOT / "notebooks").glob("[0-9][0-9][a-z]_*.ipynb")):
        core, deeper = measure(nbformat.read(path, as_version=4))
        lines.append(f"{path.stem[:3]}  core {core:5.0f}  deeper {deeper:5.0f}")
    for path in sorted((ROOT / "lecture").glob("[0-9][0-9]_*.md")):
        everything, short = measure_deck(path.read_text(encoding="utf-8"))
        lines.append(f"{path.stem[:2]}   all  {everything:5.0f}  short  {short:5.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())

"""A learner's own copies of the notebooks: made once, never overwritten, outside what git tracks.

A copy shows the stored outputs, so that it can be read before it is run; its cells count as not yet
run. Where a notebook has changed since, the new version is put beside a copy that was worked in; a
copy that is still as it was made is renewed.
"""

import hashlib
import json

from tools.minutes import TIME
from tools.notebooks import all_notebooks
from utils import ROOT
from utils.store import atomic_write

MY = ROOT / "my"
RECORD = ".made.json"  # {file: the mark of the text that it was made from}


def make(folder):
    """Make the copies that are missing; return a sentence for each new version put beside one."""
    made = _load(folder / RECORD) or {}
    before, said = dict(made), []
    for path in all_notebooks():
        notebook = _load(path)
        mark = _mark(notebook)
        name = _place(folder, path, mark, made)
        if name:
            atomic_write(folder / name, _unrun(notebook))
            made[name] = mark
            if name != path.name:
                said.append(f"{path.name} has changed: the new version is my/{name}.")
    if made != before:
        atomic_write(folder / RECORD, json.dumps(made, indent=1, sort_keys=True) + "\n")
    return said


def versions(path, folder):
    """The learner's copies of a notebook that are there, the first one first."""
    return [folder / name for name in _names(path) if (folder / name).exists()]


def progress(copy):
    """(cells run, cells with code, whether one stopped with an error), as the copy was saved."""
    notebook = _load(copy) or {"cells": []}
    code = [c for c in notebook["cells"] if c["cell_type"] == "code" and "".join(c["source"])]
    stopped = any(out["output_type"] == "error" for c in code for out in c["outputs"])
    return sum(c["execution_count"] is not None for c in code), len(code), stopped


def _place(folder, path, mark, made):
    """The name under which a version goes into the folder, or None where it is there already."""
    there = versions(path, folder)
    if folder / path.name not in there:
        return path.name
    offered = [made[name] for name in _names(path) if name in made]
    if mark in [*offered, *(_mark(_load(copy)) for copy in there)]:
        return None
    last = there[-1]
    if _mark(_load(last)) == made.get(last.name) and progress(last)[0] == 0:
        return last.name  # nobody has worked in it
    return next(name for name in _names(path) if not (folder / name).exists())


def _names(path):
    """What the copies of a notebook are called, in order."""
    newer = ["new", *(f"new {number}" for number in range(2, 100))]
    return [path.name, *(f"{path.stem} ({word}).ipynb" for word in newer)]


def _load(path):
    """A JSON file's content; None where there is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _mark(notebook):
    """Changes with the text and the code of a notebook, not with outputs or its minutes."""
    cells = notebook["cells"] if notebook else []
    texts = [TIME.sub("", "".join(cell["source"])) for cell in cells]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _unrun(notebook):
    """The text of a notebook with none of its cells counted as run."""
    notebook["metadata"].pop("lecture", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            for part in (cell, *cell["outputs"]):
                if "execution_count" in part:
                    part["execution_count"] = None
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"

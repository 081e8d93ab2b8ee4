"""The committed explorers: what their files say, and the cells that show them."""

import json
import os
import re
import subprocess
import sys

import nbformat
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9][a-z]_*.ipynb"))

SPECS = {
    f"{path.parent.name}/{path.stem}": json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "lecture/live").glob("*/*.json"))
}


def test_two_lines_in_a_fresh_kernel_show_each_explorer(tmp_path):
    code = "from utils import explore\n" + "".join(
        f"print(set(explore.Explorer('{name}')._repr_mimebundle_()[0]))\n" for name in SPECS
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8",
        env=os.environ | {"LECTURE_OUT": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(SPECS)
    assert all("widget-view" in line and "image/png" in line for line in lines)


def test_the_cell_that_shows_an_explorer_is_two_lines():
    """So that a reader can move the model before anything is trained."""
    shown = set()
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, as_version=4).cells:
            for name in re.findall(r'explore\.Explorer\("([\w/]+)"\)', cell.source):
                if cell.cell_type != "code":
                    continue
                shown.add(name)
                lines = [line for line in cell.source.splitlines() if line]
                assert lines == ["from utils import explore", f'explore.Explorer("{name}")']
    assert shown == set(SPECS)


def test_explorers_say_what_to_try_and_what_is_what():
    """One line "Try: ...", a name for each of several pictures, a title for each of several panels."""
    silent = {
        name
        for name, spec in SPECS.items()
        if not spec.get("hint")
        or any(not panel["title"] for panel in (spec["panels"] or [{"title": "one"}]))
    }
    assert not silent

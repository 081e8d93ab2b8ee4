"""Every notebook as a static page: no kernel, no network, explorers alive."""

import json
import os
import pathlib
import re
import subprocess

import nbformat
from nbconvert import HTMLExporter

from tools import minutes, slides, table
from tools.notebooks import choose
from utils import ROOT


def build(names=()):
    """Write build/<notebook>.html where the notebook or what makes its page has changed.

    Raises BuildError naming the notebook whose page could not be made.
    """
    slides.build_explorer()
    waiting = []
    for path in choose(names):
        target = slides.BUILD / f"{path.stem}.html"
        is_fresh, remember = slides.fresh(target, _sources(path))
        if not is_fresh:
            waiting.append((path, target, remember))
    if waiting:
        _write(waiting)
    return 0


def _write(waiting):
    orders = (
        {"title": table.title(path), "out": str(target), "body": body(path)}
        for path, target, _ in waiting
    )
    for (path, target, remember), made in zip(waiting, draw(orders)):
        if made != str(target):
            raise slides.BuildError(f"{path.name}: its page could not be made, see above")
        remember()
        print(f"pages: {os.path.relpath(target, ROOT)}", flush=True)


def draw(orders):
    """Yield the file of each page once it stands, or "" where Node stopped and said why.

    An order has the page's title, its file `out`, and its body in HTML, where TeX stands for
    formulas. One process of Node makes all pages; it draws one while we prepare the next.
    """
    slides.BUILD.mkdir(parents=True, exist_ok=True)
    node = subprocess.Popen(
        [slides._node(), "lecture/page.mjs"], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    count = 0
    with node:
        try:
            for order in orders:
                count += 1
                node.stdin.write(json.dumps(order) + "\n")
            node.stdin.close()
        except OSError:  # a broken pipe, or what Windows calls it
            pass  # Node stopped, and says at which page
        for _ in range(count):
            yield node.stdout.readline().strip()


def _sources(path):
    """What the page of a notebook is made from."""
    look = [p for end in ("mjs", "css", "js", "j2") for p in slides.DECKS.glob(f"*.{end}")]
    section = f"{path.stem[:2]}_*/*"
    inside = [*(slides.DECKS / "live").glob(section), *(ROOT / "figures").glob(section)]
    tools = [pathlib.Path(__file__), ROOT / "tools/minutes.py"]
    return [path, *look, *inside, *tools, ROOT / "utils/palette.json", slides.ELEMENT]


def body(path):
    """The notebook's cells as HTML: explorers as elements, what is folded as closed details."""
    notebook = nbformat.read(path, as_version=4)
    for deeper, cells in minutes.parts(notebook):
        if deeper:
            heading, _, rest = cells[0].source.partition("\n")
            cells[0].source = rest
            cells[0].metadata["deeper_begins"] = heading
            cells[-1].metadata["deeper_ends"] = True
    for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
        explorer = re.match(r"Explorer\('([\w/]+)'\)", output.get("data", {}).get("text/plain", ""))
        if explorer:
            element = f'<latent-explorer name="{explorer[1]}"></latent-explorer>'
            output["data"] = nbformat.from_dict({"text/html": element})
    exporter = HTMLExporter(
        template_file="page.html.j2",
        extra_template_paths=[str(slides.DECKS)],
        template_name="basic",
    )
    return exporter.from_notebook_node(notebook)[0]

"""Every notebook as a static page: no kernel, no network, explorers alive."""

import pathlib
import re
import subprocess

import nbformat
from nbconvert import HTMLExporter

from tools import slides, table
from tools.notebooks import choose
from utils import ROOT


def build(names=()):
    """Write build/<notebook>.html where the notebook or what makes its page has changed."""
    slides.build_explorer()
    for path in choose(names):
        target = slides.BUILD / f"{path.stem}.html"
        is_fresh, remember = slides.fresh(target, _sources(path))
        if is_fresh:
            continue
        node = [slides._node(), "lecture/page.mjs", table.title(path), str(target)]
        subprocess.run(node, cwd=ROOT, input=body(path).encode("utf-8"), check=True)
        remember()
        print(f"pages: {target.relative_to(ROOT)}", flush=True)
    return 0


def _sources(path):
    """What the page of a notebook is made from."""
    look = [*slides.DECKS.glob("*.mjs"), *slides.DECKS.glob("*.css"), pathlib.Path(__file__)]
    live = [p for p in (slides.DECKS / "live").glob(f"{path.stem[:2]}_*/*") if p.is_file()]
    return [path, *look, *live, ROOT / "utils/palette.json", slides.BUILD / "explorer/element.js"]


def body(path):
    """The notebook's cells as HTML, explorers as elements."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            explorer = re.match(r"Explorer\('([\w/]+)'\)", data.get("text/plain", ""))
            if explorer:
                element = f'<latent-explorer name="{explorer[1]}"></latent-explorer>'
                output["data"] = nbformat.from_dict({"text/html": element})
    return HTMLExporter(template_name="basic").from_notebook_node(notebook)[0]

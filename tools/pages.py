"""Every notebook as a static page: no kernel, no network, explorers alive."""

import re
import subprocess

import nbformat
from nbconvert import HTMLExporter

from tools import slides, table
from tools.notebooks import choose
from utils import ROOT
from utils.show import described


def build(names=()):
    """Write build/<notebook>.html."""
    slides.build_explorer()
    for path in choose(names):
        target = slides.BUILD / f"{path.stem}.html"
        node = [slides._node(), "lecture/page.mjs", table.title(path), str(target)]
        subprocess.run(node, cwd=ROOT, input=body(path).encode("utf-8"), check=True)
        print(f"pages: {target.relative_to(ROOT)}", flush=True)
    return 0


def body(path):
    """The notebook's cells as HTML, explorers as elements, figures with their alt text."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        saved = re.search(r'save_figure\(\s*"([^"]+)"', cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            explorer = re.match(r"Explorer\('([\w/]+)'\)", data.get("text/plain", ""))
            if explorer:
                element = f'<latent-explorer name="{explorer[1]}"></latent-explorer>'
                output["data"] = nbformat.from_dict({"text/html": element})
            elif "image/png" in data and saved and "image/png" not in output.metadata:
                name = saved[1] if "." in saved[1] else saved[1] + ".svg"
                alt = described(ROOT / "figures" / name)[0]
                output["metadata"]["image/png"] = {"alt": alt}
    return HTMLExporter(template_name="basic").from_notebook_node(notebook)[0]

"""Take definitions from a notebook: the one place where a model lives."""

import json
import re
from types import SimpleNamespace

from utils import ROOT

NOTEBOOKS = ROOT / "notebooks"


def cells(name, *tags):
    """The cells of notebooks/<name>.ipynb that carry one of the tags; all cells without tags."""
    notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [
        cell
        for cell in notebook["cells"]
        if not tags or set(tags) & set(cell["metadata"].get("tags", []))
    ]


def source(cell):
    """A cell's text."""
    return "".join(cell["source"])


def definitions(name, *tags):
    """Run the cells tagged `model` (or `tags`) of a notebook; return what they define.

    The cells stand on their own: they import what they use and train nothing.
    """
    scope = {"__name__": name}
    for index, cell in enumerate(cells(name, *(tags or ("model",)))):
        code = compile(source(cell), f"<{name}, model cell {index}>", "exec")
        exec(code, scope)
    return SimpleNamespace(**scope)


def solutions(name):
    """The folded solutions in a notebook's text, {exercise number: code}."""
    found = {}
    for cell in cells(name):
        if cell["cell_type"] == "markdown":
            pattern = r"<summary>Solution (\d+)</summary>\s*```python\n(.*?)```"
            for number, code in re.findall(pattern, source(cell), re.S):
                found[int(number)] = code
    return found

"""Execute the notebooks in place, and keep of their outputs what a reader sees."""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import sys
import time

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from utils import ROOT
from utils.show import small_png
from utils.store import atomic_write

FOLDER = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 600


def all_notebooks():
    return sorted(FOLDER.glob("[0-9][0-9][a-z]_*.ipynb"))


def source_hash(notebook):
    """Twelve digits that change with any code cell."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256("\0".join(code).encode()).hexdigest()[:12]


def clean(notebook):
    """Drop what only the machine cares for: widget state, times, versions."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            "lecture": {"source": source_hash(notebook)},
        }
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell.metadata.pop("trusted", None)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            data.pop(WIDGET, None)
            data.pop("application/vnd.jupyter.widget-state+json", None)
            if "image/png" in data:
                png = small_png(base64.b64decode(data["image/png"]))
                data["image/png"] = base64.b64encode(png).decode()
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("data") != {} and not _bare_widget(o)]


def _bare_widget(output):
    data = output.get("data")
    return data is not None and set(data) == {"text/plain"} and "children=(" in data["text/plain"]


def execute(path):
    """Run one notebook top to bottom; keep what it made only if every cell passed.

    With a SEED other than 0 only its results are kept: pages and figures show seed 0.
    Raises CellExecutionError, CellTimeoutError or DeadKernelError.
    """
    notebook = nbformat.read(path, as_version=4)
    seed = os.environ.get("SEED", "0")
    out = ROOT / "build" / "notebooks" / f"{path.stem}-seed-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    environment = dict(os.environ, LECTURE_QUIET="1", LECTURE_OUT=str(out))
    environment["LECTURE_SOURCE"] = source_hash(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )  # fmt: skip
    begun = time.perf_counter()
    client.execute(env=environment)
    print(f"{path.name}, seed {seed}: {time.perf_counter() - begun:.0f} s", flush=True)
    _merge_results(path.stem, out)
    if seed == "0":
        for folder in ("figures", "lecture"):
            if (out / folder).exists():
                shutil.copytree(out / folder, ROOT / folder, dirs_exist_ok=True)
        clean(notebook)
        atomic_write(path, nbformat.writes(notebook) + "\n")


def _merge_results(name, out):
    file = pathlib.Path("results") / f"{name}.json"
    kept = json.loads((ROOT / file).read_text(encoding="utf-8")) if (ROOT / file).exists() else {}
    kept |= json.loads((out / file).read_text(encoding="utf-8"))
    atomic_write(ROOT / file, json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


def stale():
    """The notebooks whose stored outputs do not come from their present code."""
    found = []
    for path in all_notebooks():
        notebook = nbformat.read(path, as_version=4)
        if notebook.metadata.get("lecture", {}).get("source") != source_hash(notebook):
            found.append(path)
    return found


def choose(names):
    """The notebooks whose names begin with one of `names`; all of them for no names."""
    paths = all_notebooks()
    chosen = [p for p in paths if not names or any(p.name.startswith(n) for n in names)]
    if not chosen:
        listed = ", ".join(p.stem for p in paths)
        sys.exit(f"no notebook begins with {' or '.join(names)}. There are: {listed}")
    return chosen


def run(names=(), *, only_stale=False):
    """Execute notebooks one after the other; return 1 if one of them stopped."""
    failed = False
    paths = [p for p in choose(names) if not only_stale or p in stale()]
    for path in paths:
        try:
            execute(path)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed = True
            print(f"{path.name}: stopped; the stored notebook is unchanged.\n{error}", flush=True)
    if only_stale and not paths:
        print("every figure is drawn by the present code")
    return 1 if failed else 0

"""Execute the notebooks in place, and keep of their outputs what a reader sees."""

import base64
import json
import os
import pathlib
import re
import shutil
import sys
import time
from copy import deepcopy

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools import sources
from utils import ROOT
from utils.results import recorded
from utils.show import described, small_png
from utils.store import atomic_write

FOLDER = ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 600
NO_BROWSER_PART = "needs the browser part"  # what an explorer prints before make slides
LANGUAGE = {  # what Jupyter writes, without the version of one machine
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}
PEAK = """import sys
if sys.platform == "win32":
    import psutil
    print(psutil.Process().memory_info().peak_wset // 2**20)
else:
    import resource
    unit = 2**20 if sys.platform == "darwin" else 2**10
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit)"""
ELSEWHERE = "import os; os.environ['LECTURE_OUT'] += '-again'"


def all_notebooks():
    return sorted(FOLDER.glob("[0-9][0-9][a-z]_*.ipynb"))


def clean(notebook):
    """Drop what only the machine cares for: widget state, times, versions; name the pictures."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": LANGUAGE,
            "lecture": {"source": sources.mark(notebook)},
        }
    )
    for cell in notebook.cells:
        name_pictures(cell)
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
            cell.outputs = [o for o in cell.outputs if NO_BROWSER_PART not in o.get("text", "")]


def _bare_widget(output):
    data = output.get("data")
    return data is not None and set(data) == {"text/plain"} and "children=(" in data["text/plain"]


def name_pictures(cell):
    """Give the figures that a cell saves their alt text, where programs that read notebooks look."""
    saved = re.findall(r'save_figure\(\s*"([^"]+)"', cell.source)
    plain = [
        output for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {}) and not output.metadata.get("image/png")
    ]  # fmt: skip
    for name, output in zip(saved, plain):
        alt = described(ROOT / "figures" / (name if "." in name else name + ".svg"))[0]
        output.metadata["image/png"] = {"alt": alt}


def execute(path, seed="0"):
    """Run one notebook top to bottom; keep what it made only if every cell passed.

    With a seed other than 0 only its results are kept: pages and figures show seed 0. With seed 0
    all cells run once more in the same kernel, as a reader may, and that peak of memory is kept too.
    Raises CellExecutionError, CellTimeoutError or DeadKernelError.
    """
    notebook = nbformat.read(path, as_version=4)
    out = ROOT / "build" / "notebooks" / f"{path.stem}-seed-{seed}"
    shutil.rmtree(out, ignore_errors=True)
    environment = dict(os.environ, SEED=seed, LECTURE_QUIET="1", LECTURE_OUT=str(out))
    environment["LECTURE_SOURCE"] = sources.mark(notebook)
    environment["LECTURE_SAMPLES"] = sources.mark(notebook, samples=True)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", store_widget_state=False,
        resources={"metadata": {"path": str(FOLDER)}},
    )  # fmt: skip
    begun = time.perf_counter()
    with client.setup_kernel(env=environment):
        cells = _run(client, notebook.cells)
        seconds = time.perf_counter() - begun
        memory = {"memory_mb": _ask(client, PEAK)}
        if seed == "0":
            _ask(client, ELSEWHERE)
            _run(client, deepcopy(cells))
            memory["memory_twice_mb"] = _ask(client, PEAK)
        notebook.cells = cells
    told = ", ".join(f"{value} MB" for value in memory.values())
    print(f"{path.name}, seed {seed}: {seconds:.0f} s, peak {told}", flush=True)
    _merge_results(path.stem, out, seed, memory)
    if seed == "0":
        for folder in ("figures", "lecture", "results/samples"):
            if (out / folder).exists():
                shutil.copytree(out / folder, ROOT / folder, dirs_exist_ok=True)
        clean(notebook)
        atomic_write(path, nbformat.writes(notebook) + "\n")


def _run(client, cells):
    """Execute cells in the client's kernel; return them with their outputs."""
    client.nb.cells, client.code_cells_executed = cells, 0
    for index, cell in enumerate(cells):
        client.execute_cell(cell, index, execution_count=None)
    return client.nb.cells


def _ask(client, code):
    """What a line of code prints in the client's kernel, as a number if it is one."""
    cell = nbformat.v4.new_code_cell(code)
    client.nb.cells = [cell]
    client.execute_cell(cell, 0)
    text = "".join(output.get("text", "") for output in cell.outputs).strip()
    return int(text) if text.isdigit() else text


def _merge_results(name, out, seed, memory):
    file = pathlib.Path("results") / f"{name}.json"
    kept = json.loads((ROOT / file).read_text(encoding="utf-8")) if (ROOT / file).exists() else {}
    kept |= json.loads((out / file).read_text(encoding="utf-8"))
    kept[seed] |= memory
    atomic_write(ROOT / file, json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


def stale():
    """The notebooks whose stored outputs do not come from their present code."""
    found = []
    for path in all_notebooks():
        notebook = nbformat.read(path, as_version=4)
        if notebook.metadata.get("lecture", {}).get("source") != sources.mark(notebook):
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


def seeds_of(path):
    """The seeds asked for: SEEDS=all for all that were ever recorded, SEEDS="0 3", or SEED."""
    wanted = os.environ.get("SEEDS", os.environ.get("SEED", "0"))
    if wanted != "all":
        return wanted.replace(",", " ").split()
    try:
        return sorted({"0", "1", "2", *recorded(path.stem)})
    except FileNotFoundError:
        return ["0", "1", "2"]


def run(names=(), *, only_stale=False):
    """Execute notebooks one after the other; return 1 if one of them stopped."""
    failed = False
    chosen = [p for p in choose(names) if not only_stale or p in stale()]
    for path, seed in ((p, seed) for p in chosen for seed in seeds_of(p)):
        try:
            execute(path, seed)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failed = True
            print(
                f"{path.name}, seed {seed}: stopped; nothing stored changed.\n{error}", flush=True
            )
    if only_stale and not chosen:
        print("every figure is drawn by the present code")
    return 1 if failed else 0

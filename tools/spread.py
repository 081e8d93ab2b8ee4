"""How much room the assertions of a notebook have, over seeds.

    make spread ONLY=04b SEEDS=10

Runs the notebook under the seeds 0, 1, 2 ..., every other one with two threads. Each comparison in
an `assert`, and each check of utils.checks, then says by how much it holds; the notebook goes on
where one does not. The margin's mean over its standard deviation is the bound's distance: below
three, another processor may break it. results/spread.json keeps what was found, and beside it the
mean and standard deviation of every number that the notebook records: a later run whose numbers lie
far from them, above or below, has another meaning (`strange`).
"""

import ast
import json
import os
import re
import statistics
import sys

import nbformat
from nbclient import NotebookClient

from tools import notebooks, sources
from utils import ROOT
from utils.store import atomic_write

FILE = ROOT / "results" / "spread.json"
LEAST = 3.0  # standard deviations
SHOWN = 12  # of the tightest bounds of a notebook
FAR, SHARE = 8.0, 0.2  # a number is strange beyond so many sd, and so large a part of its mean
MACHINE = re.compile(r"seconds|_ms|ms_|memory|faster|difference|source")  # not of the model

WATCH = """
import sys as __sys, operator as __operator
import numpy as __np
import utils.checks as __checks

__margins, __plain, __cell = {}, {}, 0
__OPS = {"Lt": __operator.lt, "LtE": __operator.le, "Gt": __operator.gt, "GtE": __operator.ge,
         "Eq": __operator.eq, "NotEq": __operator.ne, "In": lambda a, b: a in b,
         "NotIn": lambda a, b: a not in b, "Is": __operator.is_, "IsNot": __operator.is_not}


def __keep(key, margin):
    __margins.setdefault(key, []).append(float(margin))


def __number(value):
    value = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    return __np.asarray(value, dtype=float)


def __seen(key, ops, *values):
    held = True
    for op, a, b in zip(ops, values, values[1:]):
        part = __OPS[op](a, b)
        held = part if held is True else held & part
        try:
            up, down = (b, a) if op in ("Lt", "LtE") else (a, b)
            margin = (__number(up) - __number(down)).min()
            if op not in ("Lt", "LtE", "Gt", "GtE") or margin != margin:
                raise TypeError
        except (TypeError, ValueError):
            margin = __np.inf if __np.all(__number(part) if hasattr(part, "shape") else part) else -__np.inf
        __keep(key, margin)
    return held


def __truth(key, value):
    value = __number(value) if hasattr(value, "detach") else value
    __keep(key, __np.inf if __np.all(value) else -__np.inf)


def __watched(check, margin):
    def watched(*args, **kwargs):
        frame, inside = __sys._getframe(1), False
        caller = frame
        while frame is not None:
            inside |= frame.f_code.co_name in ("exercise", "integral")
            frame = frame.f_back
        if inside or "__margins" not in caller.f_globals:
            return check(*args, **kwargs)
        key = f"{__cell}|{check.__name__}|{kwargs.get('what', 'line ' + str(caller.f_lineno))}"
        try:
            room = margin(*args, **kwargs)
            __keep(key, room if room == room else __np.inf)
            return check(*args, **kwargs)
        except AssertionError:
            __keep(key, -__np.inf)
    return watched


def __close(actual, expected, *, tolerance=1e-5, what=""):
    a, e = __number(actual), __number(expected)
    return (1 - __np.abs(a - e) / (tolerance * (1 + __np.abs(e)))).min()


def __monte_carlo(samples, expected, *, errors=4.0, what=""):
    mean, error = __checks.monte_carlo(samples)  # the bound is a number of errors already
    return __np.inf if abs(mean - float(expected)) <= errors * error else -__np.inf


def __integrates(log_prob, limits, tolerance=0.01, nodes=400, *, what="", **how):
    return 1 - abs(__checks.integral(log_prob, limits, nodes, **how) - 1) / tolerance


for __name, __margin in (("check_close", __close), ("check_monte_carlo", __monte_carlo),
                         ("check_integrates_to_one", __integrates)):
    __plain[__name] = getattr(__checks, __name)
    setattr(__checks, __name, __watched(getattr(__checks, __name), __margin))
"""
TELL = "import json as __json\nprint('MARGINS' + __json.dumps(__margins))"


class _Watch(ast.NodeTransformer):
    """Asserts become expressions whose comparisons tell their margins; none stops the notebook."""

    def __init__(self, cell):
        self.cell = cell

    def visit_Try(self, node):
        """What is caught there is meant to fail: checks stay as they are."""
        for part in ast.walk(node):
            if isinstance(part, ast.Name) and part.id.startswith("check_"):
                part.id = f"__plain.get({part.id!r}, {part.id})"
        return node

    def visit_Assert(self, node):
        return [ast.Expr(self.told(part)) for part in self.parts(node.test)]

    def parts(self, test):
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
            return [part for value in test.values for part in self.parts(value)]
        return [test]

    def told(self, test):
        """The test as an expression that tells the margins of the comparisons it stands on."""
        key = ast.Constant(f"{self.cell}|{ast.unparse(test)}")
        if isinstance(test, ast.Compare):
            return self.seen(key, test)
        if isinstance(test, ast.Call):
            function, arguments = test.func, test.args
            each = arguments and isinstance(arguments[0], ast.GeneratorExp)
            if getattr(function, "id", "") == "all" and each:
                if isinstance(arguments[0].elt, ast.Compare):
                    arguments[0].elt = self.seen(key, arguments[0].elt)
                    return test
            elif getattr(function, "attr", "") == "all" and isinstance(function.value, ast.Compare):
                return self.seen(key, function.value)
        return _call("__truth", key, test)

    def seen(self, key, compare):
        names = ast.List([ast.Constant(type(op).__name__) for op in compare.ops], ast.Load())
        return _call("__seen", key, names, compare.left, *compare.comparators)


def _call(name, *arguments):
    return ast.Call(ast.Name(name, ast.Load()), list(arguments), [])


def watched(notebook):
    """A copy of a notebook whose assertions tell their margins at its end."""
    new = nbformat.v4.new_code_cell
    copy = nbformat.v4.new_notebook(metadata={"kernelspec": notebook.metadata.kernelspec})
    copy.cells = [new(WATCH)]
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            tree = _Watch(number).visit(ast.parse(cell.source))
            text = ast.unparse(ast.fix_missing_locations(tree))
            copy.cells.append(new(f"__cell = {number}\n{text}"))
    copy.cells.append(new(TELL))
    return copy


def measure(path, seed):
    """Under one seed: {assertion: its margins in the order met}, {name: number recorded}."""
    copy = watched(nbformat.read(path, as_version=4))
    client = NotebookClient(
        copy, timeout=notebooks.CELL_SECONDS, kernel_name="python3", allow_errors=True,
        resources={"metadata": {"path": str(notebooks.FOLDER)}},
    )  # fmt: skip
    out = ROOT / "build" / "spread" / f"{path.stem}-{seed}"
    client.execute(
        env=os.environ
        | {"SEED": str(seed), "LECTURE_THREADS": str(1 + seed % 2)}
        | {"LECTURE_QUIET": "1", "LECTURE_OUT": str(out)}
    )
    for cell in copy.cells:
        for output in cell.outputs:
            if output.output_type == "error":
                print(f"{path.stem}, seed {seed}: {output.ename}: {output.evalue}", flush=True)
    told = "".join(o.get("text", "") for o in copy.cells[-1].outputs)
    return json.loads(told.partition("MARGINS")[2] or "{}"), numbers(out, path.stem, str(seed))


def numbers(folder, name, seed):
    """{name: number} that a run recorded in `folder`, lists entry by entry, without the machine's."""
    file = folder / "results" / f"{name}.json"
    if not file.exists():
        return {}
    found = {}
    for key, value in json.loads(file.read_text(encoding="utf-8"))[seed].items():
        if not MACHINE.search(key):
            parts = value if isinstance(value, list) else [value]
            found |= {
                f"{key}[{i}]" if value is parts else key: part for i, part in enumerate(parts)
            }
    return found


def strange(found, name):
    """What a run recorded far from the spread of its notebook, as sentences."""
    if not FILE.exists():
        return []
    spread = json.loads(FILE.read_text(encoding="utf-8")).get(name, {}).get("recorded", {})
    told = []
    for key, value in found.items():
        mean, sd = spread.get(key, (value, 0.0))
        if abs(value - mean) > max(FAR * sd, SHARE * abs(mean), 1e-6):
            told.append(f"{name}: {key} is {value:.4g}, in ten runs it was {mean:.4g} ± {sd:.2g}")
    return told


def distances(found):
    """[(distance, assertion, mean margin, its sd)], nearest first, from [margins of each seed]."""
    rows = []
    for key in {key for seed in found for key in seed}:
        lists = [seed.get(key, [float("-inf")]) for seed in found]
        if len({len(values) for values in lists}) > 1:
            lists = [[min(values)] for values in lists]
        for values in zip(*lists):
            rows.append((*_distance(values), key))
    nearest = {}
    for distance, mean, sd, key in sorted(rows, key=lambda row: row[0]):
        nearest.setdefault(key, (distance, key, mean, sd))
    return list(nearest.values())


def _distance(values):
    """(distance, mean, sd); a fact that always holds in full is infinitely far from failing."""
    if min(values) == float("-inf") or min(values) < 0:
        return float("-inf"), min(values), 0.0
    if max(values) == float("inf"):
        return float("inf"), float("inf"), 0.0
    mean, sd = statistics.fmean(values), statistics.stdev(values)
    return (mean / sd if sd > 1e-12 * abs(mean) else float("inf")), mean, sd


def run(names=()):
    """Measure the notebooks whose names begin so; return 1 where a bound is too near."""
    count = int(os.environ.get("SEEDS", "10"))
    tight = False
    for path in notebooks.choose(names):
        found, recorded = [], []
        for seed in range(count):
            told, values = measure(path, seed)
            found.append(told)
            recorded.append(values)
            print(f"{path.stem}, seed {seed}: {len(told)} assertions", flush=True)
        rows = distances(found)
        tight |= rows[0][0] < LEAST
        _keep(path, count, rows, recorded)
        for distance, key, mean, sd in rows[:SHOWN]:
            cell, _, text = key.partition("|")
            print(f"{distance:6.1f} sd  [{cell}] {text}   (margin {mean:.4g}, sd {sd:.2g})")
    return int(tight)


def _keep(path, count, rows, recorded):
    kept = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    mark = sources.mark(nbformat.read(path, as_version=4))
    nearest = [[_finite(d), key.partition("|")[2], _finite(m), _finite(s)] for d, key, m, s in rows]
    kept[path.stem] = {"source": mark, "seeds": count, "assertions": len(rows)}
    kept[path.stem]["nearest"] = nearest[:SHOWN]
    names = [name for name in recorded[0] if all(name in values for values in recorded)]
    columns = {name: [values[name] for values in recorded] for name in names}
    kept[path.stem]["recorded"] = {
        name: [_finite(statistics.fmean(column)), _finite(statistics.stdev(column))]
        for name, column in columns.items()
    }
    atomic_write(FILE, json.dumps(dict(sorted(kept.items())), indent=1) + "\n")


def _finite(value):
    """JSON knows no infinity."""
    return max(-1e9, min(1e9, float(f"{value:.3g}")))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

"""What a notebook depends on, as a mark of twelve digits that changes when a result might.

It covers the code of the notebook's cells, the model cells of each notebook whose `definitions` it
takes, and of `utils` those functions, classes and constants that are reached from what it imports.
Comments, docstrings, layout, text cells and the bounds of assertions ask for nothing: of an
assertion only the calls count, for they may draw random numbers. Nor do cells tagged `samples`,
which come last and change no result; what they keep has a mark that counts them. A notebook that
reads samples depends on the marks of those it names.
"""

import ast
import functools
import hashlib
import json
import re

import numpy as np

from utils import ROOT
from utils.notebooks import cells, source

UTILS = ROOT / "utils"
SAMPLES = ROOT / "results" / "samples"


def mark(notebook, samples=False):
    """The mark of a notebook, given as nbformat's object; of its samples, if asked for."""
    code = [
        cell.source for cell in notebook.cells
        if cell.cell_type == "code" and (samples or "samples" not in cell.metadata.get("tags", []))
    ]  # fmt: skip
    return hashlib.sha256("\n".join(_parts(code)).encode()).hexdigest()[:12]


def _parts(texts):
    """The code of the cells, then that of all they depend on, in a fixed order."""
    trees = [ast.parse(text) for text in texts]
    own = [canonical(tree) for tree in trees]
    models, names = set(), set()
    _follow(trees, models, names)
    found = [f"{name} {tags}\n{text}" for name, tags, text in sorted(models)]
    found += [f"{module}.{name}\n{_text(module, name)}" for module, name in sorted(names)]
    if ("utils.results", "recorded_samples") in names:
        found += _samples_named(trees)
    return own + found


def _samples_named(trees):
    """The marks of the samples whose notebooks are named in the trees, in a fixed order."""
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    named = sorted({node.value for node in nodes if isinstance(node.value, str)})
    files = {path.stem: path for path in SAMPLES.glob("*.npz")}
    found = []
    for name in filter(files.get, named):
        with np.load(files[name]) as kept:
            found.append(f"samples of {name} {kept['source']}")
    return found


def _follow(trees, models, names):
    """Add to `models` and `names` what the trees depend on, and what that depends on."""
    for name, tags in {call for tree in trees for call in _definitions_in(tree)}:
        text = [source(cell) for cell in cells(name, *(tags or ("model",)))]
        parsed = [ast.parse(part) for part in text]
        entry = (name, " ".join(tags), "\n".join(map(canonical, parsed)))
        if entry not in models:
            models.add(entry)
            _follow(parsed, models, names)
    imported = {}
    for tree in trees:
        imported |= _imports_of(tree)
    for reached in _reached(trees, imported):
        _follow_name(*reached, names)


def _follow_name(module, name, names):
    if (module, name) in names or not _file(module):
        return
    names.add((module, name))
    bound, always, imported = _module(module)
    if imported.get(name, (None, None))[1]:  # handed on
        _follow_name(*imported[name], names)
    statements = [*bound.get(name, ()), *always]
    for other in {n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name)}:
        if other in bound:
            _follow_name(module, other, names)
    for reached in _reached(statements, imported):
        _follow_name(*reached, names)


def _reached(trees, imported):
    """(module, name) of what the trees use of the names imported from utils."""
    found = set()
    for node in (n for tree in trees for n in ast.walk(tree)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module, name = imported.get(node.value.id, (None, None))
            if module and name is None:
                found.add((module, node.attr))
        elif isinstance(node, ast.Name) and imported.get(node.id, (None, None))[1]:
            found.add(imported[node.id])
    return found


def _imports_of(tree):
    """{name here: (module of utils, name there, or None for the module itself)}."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "utils":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                as_module = _file(whole) and not _defines(node.module, alias.name)
                target = (whole, None) if as_module else (node.module, alias.name)
                found[alias.asname or alias.name] = target
    return found


def _defines(module, name):
    bound, _, imported = _module(module)
    return name in bound or name in imported


def _definitions_in(tree):
    """(notebook, tags) of the calls of `definitions` with a name written out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "definitions":
            values = [a.value for a in node.args if isinstance(a, ast.Constant)]
            if values:
                yield values[0], tuple(values[1:])


def _file(module):
    path = ROOT.joinpath(*module.split("."))
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file
    return None


@functools.cache
def _module(module):
    """What binds each name at a module's top, what always runs, and what it imports from utils."""
    bound, always = {}, []
    tree = ast.parse(_file(module).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.setdefault(node.name, []).append(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}:
                bound.setdefault(name, []).append(node)
        elif not isinstance(node, (ast.Import, ast.ImportFrom)) and not _is_text(node):
            always.append(node)
    return bound, always, _imports_of(tree)


@functools.cache
def _text(module, name):
    """The canonical code that gives a module's name its value, and the data files it names."""
    bound, always, imported = _module(module)
    statements = [*bound.get(name, ()), *always]
    lines = [str(imported.get(name)), *map(canonical, statements)]
    for node in (n for s in statements for n in ast.walk(s)):
        if isinstance(node, ast.Constant) and str(node.value).endswith(".json"):
            file = UTILS / node.value
            if file.exists():
                lines.append(json.dumps(json.loads(file.read_text(encoding="utf-8"))))
    return "\n".join(lines)


def _is_text(node):
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def canonical(node):
    """A tree as text without places, comments and docstrings; alike under every Python."""
    if isinstance(node, list):
        kept = [part for part in node if not (isinstance(part, ast.AST) and _is_text(part))]
        return "[" + ",".join(map(canonical, kept)) + "]"
    if isinstance(node, ast.Assert):
        calls = [part for part in ast.walk(node.test) if isinstance(part, ast.Call)]
        return f"Assert({canonical(calls)})"
    if not isinstance(node, ast.AST):
        return re.sub(r" at 0x\w+", "", repr(node))
    fields = [(name, getattr(node, name, None)) for name in node._fields]
    shown = [
        f"{name}={canonical(value)}"
        for name, value in fields
        if value not in (None, []) and name not in ("ctx", "kind", "type_comment", "type_params")
    ]
    if isinstance(node, ast.Constant) and node.value is None:
        shown = ["value=None"]
    return f"{type(node).__name__}({','.join(shown)})"

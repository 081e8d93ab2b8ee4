"""True twins are for scoring: no cell of a notebook that trains touches one."""

import ast

import pytest
from conftest import ROOT

from utils.notebooks import cells, source

TWINS = {"twin_for_scoring", "page_twin_for_scoring", "render"}  # `render` could paint one by hand
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def names_in(tree):
    """Every name and attribute of a piece of code."""
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return found | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def called_in(tree):
    """The names of the functions and methods that a piece of code calls."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {getattr(call, "id", getattr(call, "attr", "")) for call in calls}


def learners(trees):
    """The functions that train: what calls `.backward`, `fit` or `teach` of 05c, or one of them."""
    functions = [n for tree in trees for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    found, size = {"backward", "fit", "teach"}, 0
    while size != (size := len(found)):
        found |= {function.name for function in functions if called_in(function) & found}
    return found


def bound_in(tree):
    """The names to which a cell gives a value of its own."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def assigned_from(tree, tainted):
    """Names that a cell gives to what it makes of tainted names; what is local stays local."""
    found, waiting = set(), list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found |= {node.name} if names_in(node) & (tainted | found) else set()
        elif isinstance(node, (ast.Assign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if names_in(node.value) & (tainted | found):
                found |= set().union(*map(names_in, targets))
        elif isinstance(node, (ast.For, ast.With)):
            if isinstance(node, ast.For) and names_in(node.iter) & (tainted | found):
                found |= names_in(node.target)
            waiting = node.body + waiting
    return found


def cells_that_train(texts, apart=()):
    """[(text, the twins it names, or names of what was made of one)] of the cells that train, in order."""
    trees = [ast.parse(text.rstrip().rstrip(";")) for text in texts]
    known = learners([*trees, *map(ast.parse, apart)])
    tainted, found = set(TWINS), []
    for text, tree in zip(texts, trees):
        made = assigned_from(tree, tainted)
        if called_in(tree) & known:
            found.append((text, (names_in(tree) & tainted) - (bound_in(tree) - made)))
        tainted |= made
    return found


def training_cells(name):
    """Those of a notebook, without its cells that stand alone: definitions."""
    apart = [source(cell) for cell in cells(name, "model")]
    texts = [source(cell) for cell in cells(name) if cell["cell_type"] == "code"]
    return cells_that_train([text for text in texts if text not in apart], apart)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_training_cell_touches_a_true_twin(path):
    assert not [text for text, twins in training_cells(path.stem) if twins]


def test_the_cells_that_train_are_found():
    assert len(training_cells("05c_cyclegan")) >= 5
    assert len(training_cells("05d_document_cyclegan")) >= 3
    assert len(training_cells("05e_training_with_alignment")) >= 5


@pytest.mark.parametrize(
    "text, caught",
    [
        ("run, means = fit(nets, critics, [drawer(domain) for domain in domains], 5)", True),
        ("run, means = fit(nets, critics, draws, 5)", False),
        ("loss = (nets[0](x) - winter).abs().mean()\nloss.backward()", True),
        ("(nets[0](x) - winter).abs().mean().backward()", True),
        ("goal, n = winter[:8], 8\nf(goal).backward()", True),
        ("def fit_again():\n    return fit(nets, critics, [drawer(winter)], 5)", True),
    ],
)
def test_training_on_twins_would_be_caught(text, caught):
    twins = "winter = data.twin_for_scoring(factors, 'winter')"
    (_, touched), *more = cells_that_train([twins, "domains[1] = winter", text])
    assert not more and bool(touched) == caught


def test_a_helper_that_hands_out_twins_would_be_caught():
    twins = "truth = data.page_twin_for_scoring(factors, 'clean')"
    helper = "def batch(i):\n    return truth[i]"
    trains = "def step(x):\n    f(x).backward()"
    found = cells_that_train([twins, helper, trains, "step(batch(1))"])
    assert [bool(touched) for _, touched in found] == [False, True]

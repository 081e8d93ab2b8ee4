"""Notebook 01b, with its own definitions: networks, d-separation, trees, and what goes wrong."""

import itertools
import math

import pytest
import torch
from conftest import exercise_works

from tools import minutes
from utils import data
from utils.checks import answered, check_close
from utils.notebooks import NOTEBOOKS, cells, definitions, solutions, source

nb = definitions("01b_bayesian_networks")
NAME = "01b_bayesian_networks"


def states(D, levels=2):
    return torch.cartesian_prod(*[torch.arange(levels)] * D).reshape(-1, D)


def random_network(D=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parents, tables = {}, {}
    for i in range(D):
        some = torch.rand(i, generator=generator) < 0.5
        parents[f"v{i}"] = tuple(f"v{j}" for j in range(i) if some[j])
        table = torch.rand((2,) * (len(parents[f"v{i}"]) + 1), generator=generator).double() + 0.05
        tables[f"v{i}"] = table / table.sum(-1, keepdim=True)
    return nb.Network(parents, tables)


def joint_by_hand(network):
    """All 2^D products, from `probability` alone."""
    every = states(len(network.names)).tolist()
    p = [nb.probability(network, dict(zip(network.names, one))) for one in every]
    return torch.tensor(p, dtype=torch.float64).reshape((2,) * len(network.names))


# ------------------------------------------------------------------ networks and questions


def test_the_product_by_hand():
    network = nb.morning()
    state = {"frost": 1, "ice": 1, "works": 0, "queue": 1, "overslept": 0, "late": 1}
    assert network.names == ["frost", "ice", "works", "queue", "overslept", "late"]
    check_close(nb.probability(network, state), 0.02835, tolerance=1e-12)
    check_close(joint_by_hand(network).sum(), 1.0, tolerance=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_elimination_is_enumeration(seed):
    network = random_network(seed=seed)
    joint = joint_by_hand(network)
    check_close(nb.joint_table(network), joint, tolerance=1e-12)
    for seen in itertools.product((None, 0, 1), repeat=5):
        given = {n: s for n, s in zip(network.names, seen) if s is not None}
        part = joint[tuple(slice(None) if s is None else slice(s, s + 1) for s in seen)]
        for i, query in enumerate(network.names):
            if query not in given:
                right = part.sum([k for k in range(5) if k != i])
                found, largest = nb.by_elimination(network, query, given)
                check_close(found, right / right.sum(), tolerance=1e-12, what=query)
                assert largest <= 2**5


def test_explaining_away_by_hand():
    network = nb.morning()
    late = nb.by_elimination(network, "overslept", {"late": 1})[0][1]
    both = nb.by_elimination(network, "overslept", {"late": 1, "queue": 1})[0][1]
    check_close(late, 0.07678 / 0.259075, tolerance=1e-12)
    check_close(both, 1 / 6, tolerance=1e-12)


def test_samples_have_the_joint_frequencies():
    network, N = random_network(4, seed=3), 200_000
    x = network.sample(N, torch.Generator().manual_seed(0))
    counted = torch.zeros((2,) * 4).double()
    counted.index_put_(tuple(x.T), torch.ones(N).double(), accumulate=True)
    joint = joint_by_hand(network)
    error = (joint * (1 - joint) / N).sqrt()
    assert ((counted / N - joint).abs() < 5 * error).all()


@pytest.mark.parametrize(
    "parents, tables, message",
    [
        ({"a": ("b",), "b": ("c",), "c": ("a",)}, {}, "a cycle: .*a.*->.*take one edge out"),
        ({"a": ("a",)}, {}, "cycle: a -> a"),
        ({"a": ("b",)}, {}, "b is a parent, but it has no entry"),
        ({"a": ()}, {"a": [0.5, 0.4]}, "table of a: each row .* sum 1"),
        ({"a": ()}, {"a": [1.5, -0.5]}, "positive"),
        ({"a": ()}, {"a": [float("nan"), 1.0]}, "sum 1"),
        ({"a": (), "b": ("a",)}, {"a": [0.5, 0.5], "b": [0.5, 0.5]}, "one axis of 2"),
        ({"a": ()}, {"a": [0.2, 0.3, 0.5]}, "one axis of 2"),
    ],
)
def test_bad_networks_are_named(parents, tables, message):
    with pytest.raises(ValueError, match=message):
        nb.Network(parents, tables)


def test_a_cycle_is_named_without_what_hangs_on_it():
    with pytest.raises(ValueError, match=r"a cycle: (b -> c -> b|c -> b -> c);"):
        nb.Network({"a": (), "b": ("a", "c"), "c": ("b",), "d": ("c",)}, {})


@pytest.mark.parametrize(
    "query, given, message",
    [
        ("snow", {}, "snow is no variable of this network: frost, ice"),
        ("late", {"snow": 1}, "snow is no variable"),
        ("late", {"late": 1}, "asked for, and it is in the evidence"),
        ("late", {"queue": 2}, "queue is 2; the states are 0, no, and 1, yes"),
        ("late", {"queue": "yes"}, "the states are 0"),
    ],
)
def test_bad_questions_are_named(query, given, message):
    with pytest.raises(ValueError, match=message):
        nb.by_elimination(nb.morning(), query, given)


def test_evidence_of_probability_zero_has_no_answer():
    network = nb.Network({"a": (), "b": ("a",)}, {"a": nb.yes(0.0), "b": nb.yes(0.0, 1.0)})
    with pytest.raises(ValueError, match="probability zero"):
        nb.by_elimination(network, "a", {"b": 1})


# ------------------------------------------------------------------ d-separation


def numbers_say(joint, a, b, given):
    def over(kept):
        out = [1 + i for i in range(joint.ndim - 1) if i not in kept]
        return joint.sum(out, keepdim=True) if out else joint

    s = over(given)
    gap = over(a | b | given) * s - over(a | given) * over(b | given)
    return gap.abs().flatten(1).amax(1) / s.flatten(1).amin(1) ** 2


def test_d_separation_is_independence_in_all_543_graphs():
    four = nb.all_graphs(4)
    assert len(four) == 543
    generator = torch.Generator().manual_seed(5)
    joints = [nb.random_joints(four, generator) for _ in range(3)]
    for mask, table in zip(four[::50].tolist(), joints[0][::50]):  # they have this factorisation
        for i in range(4):
            above = {j for j in range(4) if mask[i] >> j & 1}
            rest = set(range(i)) | set(range(i + 1, 4))
            others = {j for j in rest - above if i not in ancestors(mask, j)}
            if others:
                assert numbers_say(table[None], {i}, others, above) < 1e-12
    graphs = [
        {i: [j for j in range(4) if mask >> j & 1] for i, mask in enumerate(row)}
        for row in four.tolist()
    ]
    asked = 0
    for where in itertools.product(range(4), repeat=4):
        a, b, s = ({i for i in range(4) if where[i] == kind} for kind in (1, 2, 3))
        if a and b and min(a) < min(b):
            asked += 1
            told = torch.tensor([nb.separated(graph, a, b, s) for graph in graphs])
            gaps = torch.stack([numbers_say(joint, a, b, s) for joint in joints]).amax(0)
            assert torch.equal(told, gaps < 1e-10), (a, b, s)
    assert asked == 55


def ancestors(mask, node):
    found, todo = set(), [node]
    while todo:
        above = mask[todo.pop()]
        new = {j for j in range(len(mask)) if above >> j & 1} - found
        found |= new
        todo += new
    return found


def test_collider_and_common_cause_at_once():
    graph = nb.morning().parents
    assert not nb.separated(graph, ["ice"], ["works"])
    assert nb.separated(graph, ["ice"], ["works"], ["frost"])
    for opened in ("queue", "late"):
        assert not nb.separated(graph, ["ice"], ["works"], ["frost", opened])
    assert nb.separated(graph, ["overslept"], ["queue", "frost"])


@pytest.mark.parametrize("sets", [(["snow"], ["ice"]), (["ice"], ["ice"]),
                                  (["ice"], ["late"], ["late"])])  # fmt: skip
def test_sets_that_overlap_or_are_unknown(sets):
    with pytest.raises(ValueError, match="without a common one"):
        nb.separated(nb.morning().parents, *sets)


# ------------------------------------------------------------------ learning


def test_tables_are_counts_plus_one():
    x = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1]])
    counted = nb.count_tables(x, {"a": (), "b": ("a",)})
    check_close(counted.tables["a"], [2 / 6, 4 / 6])
    check_close(counted.tables["b"], [[2 / 3, 1 / 3], [2 / 5, 3 / 5]])


@pytest.mark.parametrize("bad", [2.0, -1.0, 0.5, float("nan")])
def test_states_outside_the_alphabet_are_named(bad):
    x = torch.zeros(3, 2)
    x[1, 1] = bad
    with pytest.raises(ValueError, match=r"row 1, variable 1 .* whole numbers from 0 to 1"):
        nb.count_tables(x, {"a": (), "b": ()})
    with pytest.raises(ValueError, match="row 1, variable 1"):
        nb.fit_trees(x, torch.ones(3, 1), levels=2, cuts=(0, 1))


def test_rows_of_another_length_are_named():
    trees = nb.fit_trees(states(3).float(), torch.ones(8, 1), levels=2, cuts=(0, 1))
    with pytest.raises(ValueError, match="rows of 4 numbers, a model of 3 variables"):
        trees.log_prob(torch.zeros(2, 4))


def test_mutual_information_by_hand():
    joint = torch.tensor([[0.4, 0.1], [0.2, 0.3]]).double()
    a, b = joint.sum(1), joint.sum(0)
    right = sum(joint[i, j] * math.log(joint[i, j] / (a[i] * b[j])) for i in (0, 1) for j in (0, 1))
    check_close(nb.mutual_information(joint[None, None])[0, 0], right, tolerance=1e-12)


def test_the_tree_is_the_best_of_all():
    """Every spanning tree of 6 nodes, from all sets of 5 edges."""
    generator = torch.Generator().manual_seed(1)
    pairs = list(itertools.combinations(range(6), 2))
    for _ in range(5):
        score = torch.rand(6, 6, generator=generator)
        score = score + score.T
        best = 0.0
        for edges in itertools.combinations(pairs, 5):
            group = list(range(6))
            for i, j in edges:
                group = [group[i] if one == group[j] else one for one in group]
            if len(set(group)) == 1:
                best = max(best, sum(score[i, j].item() for i, j in edges))
        parents, order = nb.best_tree(score)
        found = sum(score[i, parents[i]].item() for i in range(6) if i != 0)
        check_close(found, best)
        place = {v: k for k, v in enumerate(order.tolist())}
        assert sorted(place) == list(range(6)) and parents[0] == 0
        assert all(place[parents[i].item()] < place[i] for i in range(1, 6))


def small_trees(width=1.5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(6, (60, 3), generator=generator)
    for i, above in ((2, 0), (1, 2)):  # so that a parent may stand behind its child
        x[:, i] = (x[:, above] + torch.randint(2, (60,), generator=generator)).clamp(max=5)
    r = torch.rand(60, 2, generator=generator).softmax(1)
    return nb.fit_trees(x, r, levels=6, cuts=(0, 1, 3, 5), width=width)


@pytest.mark.parametrize("width", [0.0, 1.5])
def test_trees_are_a_density_and_sample_it(width):
    trees = small_trees(width)
    assert trees.order.tolist() == [[0, 2, 1]] * 2 and trees.parents[0, 1] == 2
    every = states(3, 6)
    p = trees.log_prob(every).exp()
    check_close(p.sum(), 1.0, tolerance=1e-12)
    check_close(trees.log_joint(every).exp().sum(0), trees.weights, tolerance=1e-12)
    x, which = trees.sample(100_000, torch.Generator().manual_seed(0))
    code = (x.long() * torch.tensor([36, 6, 1])).sum(1)
    share = torch.bincount(code, minlength=216) / 100_000
    assert ((share - p).abs() < 5 * (p * (1 - p) / 100_000).sqrt() + 1e-5).all()
    assert abs(which.double().mean() - trees.weights[1]) < 0.01


def test_a_tree_without_priors_has_the_frequencies():
    x = torch.tensor([[0, 0], [0, 1], [1, 1], [1, 1], [1, 0], [1, 1]])
    trees = nb.fit_trees(x, torch.ones(6, 1), levels=2, cuts=(0, 1), own=1e-9)
    check_close(trees.tables[0, 1, 0], [0.5, 0.5], tolerance=1e-6)
    check_close(trees.tables[0, 1, 1], [0.25, 0.75], tolerance=1e-6)
    check_close(trees.tables[0, 0, 1], [2 / 6, 4 / 6], tolerance=1e-6)


def test_neighbours_keep_the_counts_and_the_ends():
    near = nb.neighbours(17, 1.5)
    check_close(near.sum(1), torch.ones(17))
    assert near[0, 0] == near[16, 16] == 1 and near[:, 0].sum() == near[:, 16].sum() == 1
    check_close(near[8, 7], near[8, 9])
    assert near[8, 8] > near[8, 9] > near[8, 10] > 0
    assert torch.equal(nb.neighbours(5, 0.0), torch.eye(5).double())


def test_class_trees_on_digits():
    digits = data.digits()
    trees = nb.fit_class_trees(digits.train.x, digits.train.y)
    count = torch.bincount(digits.train.y, minlength=10)
    check_close(trees.weights, (count.double() + 1) / 1010, tolerance=1e-12)
    assert 89.8 < -trees.log_prob(digits.valid.x).mean() < 90.7
    x, y = trees.sample(500, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32 and x.min() >= 0 and x.max() <= 16
    assert (trees.log_joint(x).argmax(1) == y).double().mean() > 0.8
    with pytest.raises(ValueError, match="whole numbers from 0 to 16"):
        trees.log_prob(digits.valid.x / 16)


def test_a_mixture_of_tables_by_hand_and_em_rises():
    x = states(3).float()
    mixture = nb.Bernoullis(
        torch.tensor([0.3, 0.7], dtype=torch.float64),
        torch.tensor([[0.2, 0.5, 0.9], [0.6, 0.1, 0.4]], dtype=torch.float64),
    )
    right = [
        sum(
            w * math.prod(p if one else 1 - p for p, one in zip(row, image))
            for w, row in zip([0.3, 0.7], [[0.2, 0.5, 0.9], [0.6, 0.1, 0.4]])
        )
        for image in x.tolist()
    ]
    check_close(mixture.log_prob(x).exp(), right, tolerance=1e-12)
    drawn = mixture.sample(2000, torch.Generator().manual_seed(0))[0]
    start = torch.rand(2000, 2, generator=torch.Generator().manual_seed(1)).softmax(1)
    model, history = nb.em(drawn, start, lambda x, r: nb.fit_bernoullis(x, r, 1e-9), 30)
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(history))
    assert model.log_prob(drawn).mean() > mixture.log_prob(drawn).mean() - 0.01


# ------------------------------------------------------------------ the graph


def test_bic_is_likelihood_minus_half_log_n():
    """Two variables, counted by hand; and equivalent graphs have one score."""
    x = torch.tensor([[0, 0]] * 6 + [[0, 1]] * 2 + [[1, 0]] * 3 + [[1, 1]] * 5)
    terms = nb.bic_terms(x)
    alone = 8 * math.log(0.5) * 2
    given = 6 * math.log(6 / 8) + 2 * math.log(2 / 8) + 3 * math.log(3 / 8) + 5 * math.log(5 / 8)
    price = 0.5 * math.log(16)
    check_close(terms[0, 0], alone - price, tolerance=1e-12)
    check_close(terms[1, 1], given - 2 * price, tolerance=1e-12)
    masks = torch.tensor([[0, 1], [2, 0], [0, 0]])
    forward, back, none = nb.bic(terms, masks)
    check_close(forward, back, tolerance=1e-12)
    assert forward > none - 1


def test_number_of_graphs():
    """Robinson's numbers, and no graph with a cycle."""
    for D, count in ((1, 1), (2, 3), (3, 25), (4, 543), (5, 29_281)):
        masks = nb.all_graphs(D)
        assert len(masks) == count == len(masks.unique(dim=0))
    for row in nb.all_graphs(4).tolist():
        nb.in_order({i: tuple(j for j in range(4) if row[i] >> j & 1) for i in range(4)})


# ------------------------------------------------------------------ exercises


def names():
    network = nb.morning()
    four = nb.all_graphs(4)
    graphs = [
        {i: [j for j in range(4) if mask >> j & 1] for i, mask in enumerate(row)}
        for row in four.tolist()
    ]
    parts = [
        [{i for i in range(4) if where[i] == kind} for kind in (1, 2, 3)]
        for where in itertools.product(range(4), repeat=4)
    ]
    questions = [(a, b, s) for a, b, s in parts if a and b and min(a) < min(b)]
    apart = torch.tensor([[nb.separated(g, *sets) for sets in questions] for g in graphs])
    digits = data.digits()
    black = {name: (split.x >= 8).float() for name, split in zip(digits._fields, digits)}
    one_hot = torch.nn.functional.one_hot(digits.train.y, 10).double()
    models = {
        "independent": nb.fit_bernoullis(black["train"], torch.ones(1000, 1)),
        "class_trees": nb.fit_trees(black["train"], one_hot, levels=2, cuts=(0, 1)),
    }
    return vars(nb) | {
        "network": network, "joint": joint_by_hand(network), "graphs": graphs, "black": black,
        "answers": apart.unique(dim=0, return_inverse=True)[1], "models": models,
        "answered": answered, "check_close": check_close, "itertools": itertools,
    }  # fmt: skip


WRONG = {
    2: (
        "def my_explanation(network, given):\n"
        "    return {n: given.get(n) if n in given else int(by_elimination(network, n, given)[0][1]"
        " > 0.5) for n in network.names}",
        "your state has the probability",
    ),
    4: (
        "def my_blanket(parents, name):\n"
        "    return set(parents[name]) | {c for c in parents if name in parents[c]}",
        "still depends on",
    ),
    5: (
        "def my_lost_pixel(model, x, pixel):\n"
        "    filled = x.clone()\n    filled[:, pixel] = 1\n"
        "    return (model.log_prob(filled) - model.log_prob(x)).sigmoid()",
        "the probability",
    ),
    6: (
        "def my_equivalent(one, other):\n"
        "    skeleton = lambda g: {frozenset((i, j)) for j in g for i in g[j]}\n"
        "    return skeleton(one) == skeleton(other)",
        "a collider and a chain do not",
    ),
}


def test_exercises_can_be_solved_and_wrong_answers_are_told():
    assert set(solutions(NAME)) == set(WRONG)
    known = names()
    for number, (wrong, where) in WRONG.items():
        exercise_works(NAME, number, known, wrong, where)


def test_the_core_path_fits_and_no_number_is_timed():
    import nbformat

    notebook = nbformat.read(NOTEBOOKS / f"{NAME}.ipynb", 4)
    assert minutes.measure(notebook)[0] <= minutes.CORE_MINUTES
    for cell in cells(NAME):
        for line in source(cell).splitlines():
            assert not (line.startswith("assert") and "spent" in line), line

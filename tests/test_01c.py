"""Notebook 01c, with its own definitions: seeing, doing, imagining, against independent truths."""

import itertools
import math

import pytest
import torch
from conftest import exercise_works

from utils.checks import answered, check_close, check_monte_carlo
from utils.notebooks import definitions

causal = definitions("01c_causal_models")
SCM, ask, by_table, yes = causal.SCM, causal.ask, causal.by_table, causal.yes


def garden():
    return SCM({
        "cloudy": by_table((), yes(0.5)),
        "sprinkler": by_table(("cloudy",), yes([0.5, 0.1])),
        "rain": by_table(("cloudy",), yes([0.2, 0.8])),
        "wet": by_table(("sprinkler", "rain"), yes([[0.0, 0.9], [0.9, 0.99]])),
    })  # fmt: skip


def town(mechanism=by_table):
    return SCM({
        "frost": by_table((), yes(0.5)),
        "salt": by_table(("frost",), yes([0.15, 0.85])),
        "safe": mechanism(("salt", "frost"), yes([[0.8, 0.3], [0.9, 0.4]])),
    })  # fmt: skip


def random_tables(graph, states, seed=0):
    """{name: table} of random probabilities for a graph {name: parents}."""
    generator = torch.Generator().manual_seed(seed)
    tables = {}
    for name, parents in graph.items():
        shape = [states[parent] for parent in parents] + [states[name]]
        raw = torch.rand(shape, dtype=torch.float64, generator=generator) + 0.1
        tables[name] = raw / raw.sum(-1, keepdim=True)
    return tables


GRAPH = {"e": ("c", "b"), "a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
STATES = {"a": 2, "b": 3, "c": 2, "d": 2, "e": 3}


def product_law(graph, tables, do):
    """The truncated product, state by state: {states in the order of graph: probability}."""
    names, law = list(graph), {}
    for states in itertools.product(*(range(tables[name].shape[-1]) for name in names)):
        at, p = dict(zip(names, states)), 1.0
        for name, parents in graph.items():
            if name in do:
                p *= float(at[name] == do[name])
            else:
                p *= tables[name][tuple(at[q] for q in parents)][at[name]].item()
        law[states] = p
    return law


@pytest.mark.parametrize("do", [{}, {"b": 2}, {"b": 1, "c": 0}, {"a": 1}, {"e": 2, "d": 0}])
@pytest.mark.parametrize("mechanism", ["by_table", "by_separate_noise"])
def test_the_law_is_the_truncated_product(do, mechanism):
    tables = random_tables(GRAPH, STATES)
    make = getattr(causal, mechanism)
    if mechanism == "by_separate_noise":  # the number of noises is the product over all rows
        small = {name: GRAPH[name] for name in ("a", "b", "c")}
        graph, do = small, {k: v for k, v in do.items() if k in small}
    else:
        graph = GRAPH
    scm = SCM({name: make(parents, tables[name]) for name, parents in graph.items()})
    found = causal.joint_law(scm, tuple(graph), do)
    for states, p in product_law(graph, tables, do).items():
        assert found[states].item() == pytest.approx(p, abs=1e-12)


def test_all_noises_have_probability_one():
    for scm in (garden(), town(), town(causal.by_separate_noise)):
        _, weight = causal.all_noise(scm)
        assert weight.sum().item() == pytest.approx(1, abs=1e-12)


def test_the_known_numbers_of_the_sprinkler():
    rain = {"rain": 1}
    assert ask(garden(), {"cloudy": 1}, after=rain) == pytest.approx(0.8, abs=1e-12)
    assert ask(garden(), {"cloudy": 1}, before=rain) == pytest.approx(0.8, abs=1e-12)
    assert ask(garden(), {"cloudy": 1}, do=rain) == pytest.approx(0.5, abs=1e-12)
    seen = ask(garden(), {"sprinkler": 1}, after={"wet": 1, "rain": 1})
    assert round(seen, 3) == 0.194
    mixed = ask(garden(), {"wet": 1}, do={"sprinkler": 1}, after=rain)
    assert mixed == pytest.approx(0.99, abs=1e-12)


def test_two_variables_set_by_hand_one_above_the_other():
    """The other fault of pgmpy 1.1.2: a set parent is held, not summed over."""
    tables = random_tables(GRAPH, STATES)
    scm = SCM({name: by_table(parents, tables[name]) for name, parents in GRAPH.items()})
    found = ask(scm, {"d": 1}, do={"a": 1, "b": 2})
    right = sum(tables["c"][1, c] * tables["d"][2, c, 1] for c in (0, 1)).item()
    assert found == pytest.approx(right, abs=1e-12)


def test_evidence_before_and_after_the_action_differ():
    rain, wet, cloudy = {"rain": 1}, {"wet": 1}, {"cloudy": 1}
    before = ask(garden(), cloudy, before=wet, do=rain)
    after = ask(garden(), cloudy, do=rain, after=wet)
    assert before == pytest.approx(0.7452 / (0.7452 + 0.549), abs=1e-12)
    assert after == pytest.approx(0.909 / (0.909 + 0.945), abs=1e-12)


def test_sampling_agrees_with_enumeration_and_repeats_a_world():
    generator = torch.Generator().manual_seed(0)
    scm = garden()
    noise = causal.draw_noise(scm, 20_000, generator)
    one, again = scm.run(noise), scm.run(noise)
    assert all(torch.equal(one[name], again[name]) for name in one)
    wet = ask(scm, {"wet": 1})
    check_monte_carlo(one["wet"].double(), wet, errors=5)
    dry = scm.run(noise, {"rain": 0, "sprinkler": 0})
    assert not dry["wet"].any() and torch.equal(dry["cloudy"], one["cloudy"])


def test_counterfactual_is_what_the_kept_worlds_do():
    generator = torch.Generator().manual_seed(1)
    for scm in (town(), town(causal.by_separate_noise)):
        noise = causal.draw_noise(scm, 200_000, generator)
        kept = causal.holds(scm.run(noise), {"salt": 0, "safe": 0}) == 1
        again = scm.run({name: state[kept] for name, state in noise.items()}, {"salt": 1})
        told = ask(scm, {"safe": 1}, before={"salt": 0, "safe": 0}, do={"salt": 1})
        check_monte_carlo(again["safe"].double(), told, errors=5)


def test_two_noises_agree_on_every_experiment_only():
    one, other = town(), town(causal.by_separate_noise)
    names = ("frost", "salt", "safe")
    for chosen in itertools.product((None, 0, 1), repeat=2):
        do = {n: v for n, v in zip(names, chosen) if v is not None}
        check_close(
            causal.joint_law(one, names, do), causal.joint_law(other, names, do), tolerance=1e-12
        )
    query = {"before": {"salt": 0, "safe": 0}, "do": {"salt": 1}}
    assert abs(ask(one, {"safe": 1}, **query) - ask(other, {"safe": 1}, **query)) > 0.3


# ------------------------------------------------------------------ bad input


def test_a_cycle_is_named():
    graph = {"a": ("c",), "b": ("a",), "c": ("b",), "d": ()}
    with pytest.raises(ValueError, match=r"cycle: .*a -> .*take one edge out of it"):
        causal.in_order(graph)
    coin = by_table(("x",), yes([0.5, 0.5]))
    with pytest.raises(ValueError, match="x -> x"):
        SCM({"x": coin})


def test_the_cycle_named_is_one():
    graph = {"a": ("d",), "b": ("a",), "c": ("b",), "d": ("c", "e"), "e": (), "f": ("d",)}
    with pytest.raises(ValueError) as error:
        causal.in_order(graph)
    path = str(error.value).split("cycle: ")[1].split(";")[0].split(" -> ")
    assert path[0] == path[-1] and len(path) > 2
    assert all(one in graph[other] for one, other in zip(path, path[1:]))


@pytest.mark.parametrize("table", [[0.5, 0.6], [1.2, -0.2], [[0.5, 0.5], [0.5, 0.4]]])
def test_a_table_that_does_not_add_up(table):
    with pytest.raises(ValueError, match="add up to one"):
        by_table(("p",) * (torch.tensor(table).ndim - 1), table)


def test_wrong_questions_get_clear_errors():
    with pytest.raises(ValueError, match="no variable snow, there are cloudy"):
        ask(garden(), {"snow": 1})
    with pytest.raises(ValueError, match="states 0 to 1, not 2"):
        ask(garden(), {"rain": 1}, after={"wet": 2})
    with pytest.raises(ValueError, match="states 0 to 1, not -1"):
        ask(garden(), {"rain": 1}, do={"wet": -1})
    impossible = {"wet": 1, "rain": 0, "sprinkler": 0}
    for where in ({"after": impossible}, {"before": impossible}):
        with pytest.raises(ValueError, match="probability zero"):
            ask(garden(), {"cloudy": 1}, **where)
    with pytest.raises(ValueError, match="probability zero"):
        ask(garden(), {"cloudy": 1}, do={"rain": 1}, after={"rain": 0})
    with pytest.raises(ValueError, match="rain is a parent, but it has no entry"):
        SCM({"wet": by_table(("rain",), yes([0.1, 0.9]))})


def test_a_table_of_the_wrong_shape_is_named():
    with pytest.raises(ValueError, match="one axis for each of its 2 parents"):
        by_table(("rain", "sprinkler"), yes([0.1, 0.9]))
    mechanisms = {"rain": by_table((), [0.2, 0.3, 0.5]),
                  "wet": by_table(("rain",), yes([0.1, 0.9]))}  # fmt: skip
    with pytest.raises(ValueError, match="wet has rows for 2 states of rain, which has 3"):
        SCM(mechanisms)


def test_no_adjustment_set_is_said():
    graph = {"h": (), "a": ("h",), "y": ("a", "h")}
    assert causal.adjustment_set(graph, "a", "y") == {"h"}
    with pytest.raises(ValueError, match=r"no adjustment set exists: .*a <- h -> y"):
        causal.adjustment_set(graph, "a", "y", hidden={"h"})


def test_an_action_never_seen_is_said():
    law = torch.tensor([[[0.3, 0.2], [0.0, 0.0]], [[0.1, 0.1], [0.2, 0.1]]]).double()
    with pytest.raises(ValueError, match="action 1 never occurs where c = 0"):
        causal.back_door_sum(law)
    empty = torch.cat([law[1:] / law[1:].sum(), torch.zeros(1, 2, 2)])
    assert torch.isfinite(causal.back_door_sum(empty)).all()  # a state that never occurs
    with pytest.raises(ValueError, match="never occur together"):
        causal.front_door_sum(law)


# ------------------------------------------------------------------ adjustment


@pytest.mark.parametrize("seed", range(5))
def test_back_door_and_front_door_are_the_cut(seed):
    graph = {"h": (), "c": ("h",), "a": ("c",), "m": ("a",), "y": ("m", "h")}
    states = {"h": 2, "c": 3, "a": 2, "m": 3, "y": 2}
    tables = random_tables(graph, states, seed)
    scm = SCM({name: by_table(parents, tables[name]) for name, parents in graph.items()})
    back = causal.back_door_sum(causal.joint_law(scm, ("c", "a", "y")))
    front = causal.front_door_sum(causal.joint_law(scm, ("a", "m", "y")))
    for a in (0, 1):
        cut = causal.joint_law(scm, ("y",), do={"a": a})
        check_close(back[a], cut, tolerance=1e-12)
        check_close(front[a], cut, tolerance=1e-12)
    seen = causal.joint_law(scm, ("a", "y"))
    assert (seen / seen.sum(1, keepdim=True) - back).abs().max() > 1e-6


@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_reached_and_never_left(seed):
    raw = torch.rand(2, 2, generator=torch.Generator().manual_seed(seed)).double() + 0.05
    law = raw / raw.sum()
    low, high = causal.bounds(law)
    reached = []
    for q in (0.0, 0.3, 1.0):
        scm = causal.with_hidden_type(law, q)
        check_close(causal.joint_law(scm, ("action", "outcome")), law, tolerance=1e-7)
        reached.append(ask(scm, {"outcome": 1}, do={"action": 1}))
    check_close([reached[0], reached[-1]], [low, high], tolerance=1e-7)
    assert low < reached[1] < high
    assert high - low == pytest.approx(law[0].sum().item(), abs=1e-12)


def all_graphs(names):
    """Every graph without a cycle on these names, as {name: parents}."""
    pairs = list(itertools.combinations(names, 2))
    for arrows in itertools.product((0, 1, 2), repeat=len(pairs)):
        graph = {name: [] for name in names}
        for (one, other), arrow in zip(pairs, arrows):
            if arrow:
                child, parent = (other, one) if arrow == 1 else (one, other)
                graph[child].append(parent)
        try:
            causal.in_order(graph)
        except ValueError:
            continue
        yield {name: tuple(parents) for name, parents in graph.items()}


def test_the_criterion_against_random_linear_models():
    """On all 543 graphs of 4 nodes: a set that passes gives the causal slope in every model."""
    graphs = list(all_graphs(("a", "p", "q", "y")))
    assert len(graphs) == 543
    passed = refused = 0
    for graph in graphs:
        if "a" in causal.descendants(graph, "y"):
            continue
        for given in (set(), {"p"}, {"q"}, {"p", "q"}):
            fault = causal.back_door_fault(graph, "a", "y", given)
            errors = causal.adjusted_errors(graph, given, trials=3)
            if not fault:
                assert errors.max() < 1e-8, (graph, given)
                passed += 1
            elif "open" in fault:
                assert errors.max() > 1e-6, (graph, given, fault)
                refused += 1
    assert passed > 600 and refused > 120


def test_open_paths_against_partial_correlation():
    """A random linear model has correlation exactly where some path is open."""
    generator = torch.Generator().manual_seed(3)
    for graph in all_graphs(("a", "p", "q", "y")):
        names, _, covariance = causal.random_linear(graph, generator)
        for given in (set(), {"p"}, {"q"}, {"p", "q"}):
            index = [names.index(n) for n in ("a", "y", *sorted(given))]
            precision = torch.linalg.inv(covariance[index][:, index])
            dependent = abs(precision[0, 1]) > 1e-9
            paths = causal.all_paths(graph, "a", "y")
            assert dependent == any(causal.is_open(graph, p, given) for p in paths), graph


# ------------------------------------------------------------------ lines


def test_joe():
    effects = torch.tensor([[0, 0, 0], [0.5, 0, 0], [0.7, 0.4, 0]], dtype=torch.float64)
    joe = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    would = causal.linear_counterfactual(effects, joe, {1: 2.0})
    check_close(would, [0.5, 2.0, 1.9], tolerance=1e-12)
    mean = causal.linear_run(effects, torch.zeros(3, dtype=torch.float64), {1: 2.0})
    check_close(mean, [0, 2.0, 0.8], tolerance=1e-12)
    tutored = causal.linear_counterfactual(effects, joe, {0: 1.0})  # moves homework too
    check_close(tutored, [1.0, 1.25, 1.95], tolerance=1e-12)
    assert torch.equal(effects[1], torch.tensor([0.5, 0, 0]).double()), "it changed its input"


def test_covariance_and_slope_against_samples():
    _, effects, covariance = causal.random_linear(causal.games[2], torch.Generator().manual_seed(5))
    assert torch.linalg.eigvalsh(covariance).min() > 0
    noise = torch.linalg.inv(torch.eye(len(effects)).double() - effects)
    variances = (torch.linalg.inv(noise) @ covariance @ torch.linalg.inv(noise).T).diagonal()
    draws = torch.randn(200_000, len(effects), generator=torch.Generator().manual_seed(0))
    x = causal.linear_run(effects, draws.double() * variances.sqrt())
    check_close(x.T.cov(), covariance, tolerance=0.05)
    names = causal.in_order(causal.games[2])
    a, y, p = (names.index(n) for n in ("a", "y", "p"))
    inputs = torch.stack([x[:, a], x[:, p]], 1)
    fit = torch.linalg.lstsq(inputs, x[:, y]).solution[0].item()
    assert causal.slope(covariance, y, a, [p]) == pytest.approx(fit, abs=0.03)


# ------------------------------------------------------------------ pictures


def test_a_picture_by_hand_is_the_same_place():
    places = causal.draw(12, 0)
    camera = causal.camera()
    noise = causal.draw_noise(camera, 12, torch.Generator().manual_seed(2))
    values = camera.run(noise)
    seen = causal.photograph(places, values, 16)
    white = causal.photograph(places, camera.run(noise, {"snow": 1}), 16)
    had = values["snow"] == 1
    assert had.any() and (~had).any()
    assert torch.equal(seen[had], white[had])
    assert (seen[~had] - white[~had]).abs().flatten(1).max(1).values.min() > 0.1
    for i in range(12):
        season = causal.SEASONS[values["snow"][i]]
        time = causal.TIMES[values["dark"][i]]
        one = causal.render(places.rows(torch.tensor([i])), season, time, 16)
        assert torch.equal(one[0], seen[i])


def test_dark_closes_the_back_door_of_the_camera():
    graph = causal.camera().graph | {"picture": ("snow", "dark")}
    assert causal.adjustment_set(graph, "snow", "picture", hidden={"winter"}) == {"dark"}
    assert "snow <- winter -> dark -> picture" in causal.back_door_fault(
        graph, "snow", "picture", set()
    )


# ------------------------------------------------------------------ direction


def test_leave_one_out_is_fitting_again_without_the_point():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 25, generator=generator).double()
    y = (2 * x).sin() + 0.2 * torch.randn(1, 25, generator=generator).double()
    x, y = causal.standard(x), causal.standard(y)
    rows, losses = [], []
    for width in (0.25, 0.5, 1.0, 2.0):
        for penalty in (0.01, 0.1, 1.0, 10.0):
            kernel, away = causal.gram(x, width)[0], []
            for i in range(25):
                rest = [j for j in range(25) if j != i]
                inner = kernel[rest][:, rest] + penalty * torch.eye(24).double()
                weights = torch.linalg.solve(inner, y[0, rest])
                away.append((y[0, i] - kernel[i, rest] @ weights).item())
            rows.append(away)
            losses.append(sum(a * a for a in away))
    best = rows[min(range(16), key=losses.__getitem__)]
    check_close(causal.kernel_residual(x, y)[0], best, tolerance=1e-8)


def test_hsic_is_the_trace_formula_and_small_for_independent():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(2, 3, 40, generator=generator).double()
    centre = torch.eye(40).double() - 1 / 40
    for i in range(3):
        one = causal.gram(causal.standard(x), 0.5)[i]
        other = causal.gram(causal.standard(y), 0.5)[i]
        right = (one @ centre @ other @ centre).trace() / 40**2
        assert causal.hsic(x, y)[i].item() == pytest.approx(right.item(), rel=1e-9)
    assert (causal.hsic(x, x.square() - x) > 3 * causal.hsic(x, y)).all()


def test_the_direction_of_a_cube():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 150, generator=generator).double()
    y = x + 0.8 * x**3 + 0.7 * torch.randn(20, 150, generator=generator).double()
    assert causal.says_forward(x, y).sum() >= 17
    assert causal.says_forward(y, x).sum() <= 3


# ------------------------------------------------------------------ exercises


def scope():
    return dict(vars(causal), town=town(), farm=SCM({
        "care": by_table((), yes(0.4)),
        "fertiliser": by_table(("care",), yes([0.2, 0.9])),
        "nitrogen": by_table(("fertiliser",), yes([0.3, 0.8])),
        "harvest": by_table(("nitrogen", "care"), yes([[0.1, 0.6], [0.3, 0.9]])),
    }), answered=answered, check_close=check_close, math=math, np=__import__("numpy"))  # fmt: skip


WRONG = {
    2: ("""def my_back_door(law):
    both = law.sum(0)
    return both / both.sum(1, keepdim=True)""", "seeing, not doing"),
    4: ("""def my_front_door(law):
    p_am = law.sum(2)
    p_y = law.sum(0) / law.sum((0, 2))[:, None]
    return p_am / p_am.sum(1, keepdim=True) @ p_y""", "harvest"),
    5: ("""def my_games():
    return {1: set(), 2: {"k"}, 3: {"c"}, 4: set(), 5: {"q"}}""", "game 2: the back-door path"),
    6: ("""def my_night_bounds(p0, p1):
    return 0.0, 1.0""", "the bound"),
}  # fmt: skip


@pytest.mark.parametrize("number", WRONG)
def test_exercises(number):
    wrong, where = WRONG[number]
    exercise_works("01c_causal_models", number, scope(), wrong, where)


def test_games_told_larger_or_with_descendants():
    names = scope()
    text = "def my_games():\n    return {1: {'m'}, 2: set(), 3: {'c'}, 4: set(), 5: {'q'}}"
    exercise_works("01c_causal_models", 5, names, text, "m is a descendant of a")
    text = "def my_games():\n    return {1: set(), 2: set(), 3: {'c'}, 4: {'p'}, 5: {'q'}}"
    exercise_works("01c_causal_models", 5, names, text, "game 4: a set of 0 is enough")

"""Notebook 01a, with its own definitions: EM for any mixture, and what goes wrong."""

import ast
import builtins
import math

import nbformat
import numpy as np
import pytest
import torch
from conftest import exercise_works
from sklearn.mixture import GaussianMixture

from tools import minutes
from utils.checks import answered, check_close, check_integrates_to_one, exercise
from utils.notebooks import NOTEBOOKS, cells, definitions, solutions, source

em = definitions("01a_mixtures")


def some_mixture(K, D, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sides = torch.randn(K, D, D, dtype=torch.float64, generator=generator)
    weights = torch.rand(K, dtype=torch.float64, generator=generator) + 0.1
    means = 3 * torch.randn(K, D, dtype=torch.float64, generator=generator)
    eye = torch.eye(D, dtype=torch.float64)
    return em.Mixture(weights / weights.sum(), means, sides @ sides.mT + 0.1 * eye)


def some_points(count, K=4, D=3, seed=0):
    return some_mixture(K, D, seed).sample(count, torch.Generator().manual_seed(seed))[0]


@pytest.mark.parametrize("D", [1, 2])
def test_density_integrates_to_one(D):
    limits = [(-30, 30)] * D if D == 2 else (-30, 30)
    check_integrates_to_one(some_mixture(5, D).log_prob, limits, 1e-4, 1000, dtype=torch.float64)


def as_sklearn(mixture):
    model = GaussianMixture(len(mixture.weights))
    model.weights_, model.means_ = mixture.weights.numpy(), mixture.means.numpy()
    model.covariances_ = mixture.covariances.numpy()
    model.precisions_cholesky_ = torch.linalg.inv(mixture.factors).mT.numpy()
    return model


@pytest.mark.parametrize("step", [em.em_step, em.product_step])
@pytest.mark.parametrize("K, D", [(1, 1), (3, 2), (5, 10)])
def test_density_and_step_are_scikit_learns(K, D, step):
    x, start = some_points(400, K, D), some_mixture(K, D, seed=1)
    model = GaussianMixture(
        K, max_iter=1, tol=0, reg_covar=0, init_params="random",
        weights_init=start.weights.numpy(), means_init=start.means.numpy(),
        precisions_init=torch.cholesky_inverse(start.factors).numpy(),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="converge"):
        model.fit(x.numpy())
    fit = em.fit_mixture(x, start, 1, floor=0, step=step)
    check_close(fit.mixture.weights, model.weights_, tolerance=1e-9)
    check_close(fit.mixture.means, model.means_, tolerance=1e-9)
    check_close(fit.mixture.covariances, model.covariances_, tolerance=1e-9)
    check_close(fit.mixture.log_prob(x), model.score_samples(x.numpy()), tolerance=1e-9)
    assert fit.mixture.free_parameters() == model._n_parameters()


@pytest.mark.parametrize("K, D, count", [(1, 1, 20), (3, 2, 50), (5, 10, 700)])
def test_bic_is_scikit_learns(K, D, count):
    mixture, x = some_mixture(K, D), some_points(count, K, D, seed=1)
    theirs = as_sklearn(mixture).bic(x.numpy()) / (2 * count)
    assert em.bic(mixture, x) == pytest.approx(theirs, rel=1e-9)


def test_matrix_product_is_the_plain_step():
    x, start = some_points(9000), some_mixture(6, 3, seed=2)  # more than one piece of the sweep
    for plain, fast in zip(em.em_step(x, start), em.product_step(x, start)):
        check_close(fast, plain, tolerance=1e-9)


def test_one_step_is_the_steps_of_the_definition():
    x, start = some_points(300), some_mixture(4, 3)
    plain = em.Mixture(*em.m_step(x, start.responsibilities(x)))
    fit = em.fit_mixture(x, start, 1, floor=0)
    check_close(fit.log_likelihood, [m.log_prob(x).mean() for m in (start, plain)])
    for name in ("weights", "means", "covariances"):
        check_close(getattr(fit.mixture, name), getattr(plain, name), tolerance=1e-9, what=name)


# ------------------------------------------------------------------ other units


def in_units(mixture, unit):
    unit = torch.as_tensor(unit, dtype=torch.float64).expand(mixture.means.shape[1])
    return mixture.moved(unit, torch.zeros_like(unit))


@pytest.mark.parametrize("unit", [1e-4, 1e-2, 1e6])
@pytest.mark.parametrize("step", [em.em_step, em.product_step])
@pytest.mark.parametrize("K", [1, 5, 12])
def test_results_do_not_depend_on_the_unit(unit, step, K):
    """Start, fit, the floor, a reseeded component: the same numbers in the new unit."""
    x = torch.cat([some_points(250, 5, 2), torch.ones(40, 2).double()])  # with copies
    start, there = (
        em.start_mixture(x, K, torch.Generator().manual_seed(3)),
        em.start_mixture(unit * x, K, torch.Generator().manual_seed(3)),
    )
    check_close(there.means / unit, start.means, tolerance=1e-9)
    check_close(there.covariances / unit**2, start.covariances, tolerance=1e-9)
    here = em.fit_mixture(x, start, 80, floor=1e-3, step=step)
    there = em.fit_mixture(unit * x, in_units(start, unit), 80, floor=1e-3, step=step)
    assert here.reseeded == there.reseeded
    check_close(there.mixture.means / unit, here.mixture.means, tolerance=1e-6)
    check_close(there.mixture.covariances / unit**2, here.mixture.covariances, tolerance=1e-6)
    lower = np.array(here.log_likelihood) - 2 * math.log(unit)
    check_close(there.log_likelihood, lower, tolerance=1e-8)


def test_every_column_may_have_a_unit_of_its_own():
    x, units = some_points(300, 5, 3), torch.tensor([1e-4, 1.0, 1e6], dtype=torch.float64)
    start = em.start_mixture(x, 5, torch.Generator().manual_seed(0))
    here = em.fit_mixture(x, start, 60).mixture
    there = em.fit_mixture(units * x, in_units(start, units), 60).mixture
    check_close(in_units(there, 1 / units).covariances, here.covariances, tolerance=1e-6)


@pytest.mark.parametrize("unit", [1e-4, 1e6])
def test_the_choice_of_components_does_not_depend_on_the_unit(unit):
    x = some_points(400, 3, 2)
    scores = []
    for points in (x, unit * x):
        torch.manual_seed(0)
        fits = [em.best_of(points, K, starts=2)[0] for K in range(1, 7)]
        scores.append([em.bic(fit.mixture, points) for fit in fits])
    check_close(np.array(scores[1]) - 2 * math.log(unit), scores[0], tolerance=1e-6)


def test_shrunk_classes_do_not_depend_on_the_unit():
    x, r = some_points(200), torch.eye(4, dtype=torch.float64)[torch.arange(200) % 4]
    here = em.class_gaussians(x, r, 0.5, ridge=0.2)
    there = em.class_gaussians(1e-4 * x, r, 0.5, ridge=0.2)
    check_close(1e8 * there.covariances, here.covariances, tolerance=1e-9)


def test_data_far_from_zero_lose_no_digits():
    x, start = some_points(500), some_mixture(4, 3)
    away = torch.tensor([1e5, -1e5, 0.0], dtype=torch.float64)
    here = em.fit_mixture(x, start, 10)
    there = em.fit_mixture(
        x + away, em.Mixture(start.weights, start.means + away, start.covariances), 10
    )
    check_close(there.log_likelihood, here.log_likelihood, tolerance=1e-7)
    check_close(there.mixture.covariances, here.mixture.covariances, tolerance=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("floor", [0.0, 1e-6, 0.3])
def test_log_likelihood_never_falls(seed, floor):
    x = some_points(300, 5, 2, seed)
    x = x / x.std(0, correction=0)  # so that the floor means the same for the start
    start = em.start_mixture(x, 4, torch.Generator().manual_seed(seed))
    wide = em.Mixture(start.weights, start.means, em.floored(start.covariances, floor))
    fit = em.fit_mixture(x, wide, 40, floor=floor)
    assert not fit.reseeded and np.diff(fit.log_likelihood).min() > -1e-9
    check_close(fit.mixture.log_prob(x).mean(), fit.log_likelihood[-1], tolerance=1e-9)


def test_a_ridge_does_let_it_fall():
    """So that the test above could fail: the same with a ridge in place of the floor."""
    x, heights = some_points(300, 5, 2), []
    state = em.fit_mixture(x, em.start_mixture(x, 4, torch.Generator().manual_seed(0)), 60).mixture
    for _ in range(5):
        log_p, weights, means, covariances = em.em_step(x, state)
        heights.append(log_p.mean().item())
        state = em.Mixture(weights, means, covariances + 0.3 * torch.eye(2).double())
    assert np.diff(heights).min() < -1e-3


def test_tolerance_ends_with_the_first_small_gain():
    x = some_points(300, 5, 2)
    start = em.start_mixture(x, 4, torch.Generator().manual_seed(0))
    gains = np.diff(em.fit_mixture(x, start, 200, tolerance=1e-4).log_likelihood)
    assert 3 < len(gains) < 200 and gains[-1] < 1e-4 and (gains[:-1] >= 1e-4).all()


def test_floor_is_the_best_covariance_above_it():
    """Among covariances with no variance below the floor, none has a higher likelihood."""
    torch.manual_seed(0)
    x = (
        torch.randn(200, 3, dtype=torch.float64)
        @ torch.diag(torch.tensor([2.0, 1.0, 0.05])).double()
    )
    scatter = x.T @ x / len(x)
    best = em.floored(scatter[None], 0.1)[0]
    check_close(torch.linalg.eigvalsh(best)[0], 0.1, tolerance=1e-9)

    def likelihood(covariance):
        return em.log_gaussian(
            x, torch.zeros(1, 3).double(), torch.linalg.cholesky(covariance)[None]
        ).mean()

    for _ in range(50):
        other = best + 0.05 * (lambda a: a + a.T)(torch.randn(3, 3, dtype=torch.float64))
        other = em.floored(other[None], 0.1)[0]
        assert likelihood(other) <= likelihood(best) + 1e-9


# ------------------------------------------------------------------ what goes wrong


def test_duplicates_collapse_without_a_floor_and_not_with_it():
    x = torch.cat([some_points(200, 3, 2), torch.ones(60, 2, dtype=torch.float64)])
    start = em.start_mixture(x, 2, torch.Generator().manual_seed(0))
    near = em.Mixture(
        torch.full((3,), 1 / 3),
        torch.cat([start.means, torch.ones(1, 2)]),
        torch.cat([start.covariances, 1e-3 * torch.eye(2).double()[None]]),
    )
    with pytest.raises(ValueError, match=r"singular covariance: component \[2\]"):
        em.fit_mixture(x, near, 200, floor=0)
    fit = em.fit_mixture(x, near, 200, floor=1e-6)
    assert np.isfinite(fit.log_likelihood).all() and np.diff(fit.log_likelihood).min() > -1e-9
    unit = x.std(0, correction=0)
    smallest = torch.linalg.eigvalsh(in_units(fit.mixture, 1 / unit).covariances).min().item()
    assert smallest == pytest.approx(1e-6, rel=1e-4)


def test_flat_data_are_fitted_with_a_floor():
    line = torch.linspace(-1, 1, 50, dtype=torch.float64)
    x = torch.stack([line, 2 * line], 1)  # a line in the plane
    fit = em.fit_mixture(x, em.start_mixture(x, 2, torch.Generator().manual_seed(0)), 30)
    assert fit.mixture.log_prob(x).isfinite().all()


def test_empty_components_are_put_on_the_worst_points():
    x = some_points(300, 3, 2)
    start = em.start_mixture(x, 2, torch.Generator().manual_seed(0))
    lost = torch.tensor([[900.0, 900.0], [-900.0, 900.0]])
    away = em.Mixture(
        torch.full((4,), 0.25),
        torch.cat([start.means, lost]),
        torch.cat([start.covariances, 0.01 * torch.eye(2).double().repeat(2, 1, 1)]),
    )
    fit = em.fit_mixture(x, away, 60)
    assert fit.reseeded == [0]
    assert fit.mixture.means.abs().max() < 100 and fit.mixture.weights.min() > 1e-4
    rises = np.delete(np.diff(fit.log_likelihood), fit.reseeded)
    assert rises.min() > -1e-9
    two = em.fit_mixture(x, start, 60)
    assert fit.log_likelihood[-1] > two.log_likelihood[-1]


@pytest.mark.parametrize("step", [em.em_step, em.product_step])
def test_an_empty_component_starts_anew_at_the_worst_explained_point(step):
    """Its mean; its weight, one point of N; its covariance, that of the data by component."""
    x = some_points(300, 3, 2)
    two = em.start_mixture(x, 2, torch.Generator().manual_seed(0))
    away = em.Mixture(
        torch.tensor([0.4, 0.4, 0.2]),
        torch.cat([two.means, torch.tensor([[900.0, 900.0]])]),
        torch.cat([two.covariances, 0.01 * torch.eye(2).double()[None]]),
    )
    new = em.fit_mixture(x, away, 1, step=step).mixture
    check_close(new.means[2], x[away.log_prob(x).argmin()], tolerance=1e-9)
    check_close(new.weights[2], 1 / 301, tolerance=1e-9)
    check_close(new.covariances[2], x.T.cov(correction=0) / 3, tolerance=1e-9)


def test_equal_components_stay_equal():
    """What the answer to exercise 4 says."""
    x = some_points(300, 3, 2)
    means, covariance = x.mean(0).repeat(8, 1), x.T.cov(correction=0).repeat(8, 1, 1)
    one = em.Mixture(torch.ones(1), means[:1], covariance[:1]).log_prob(x).mean()
    equal = torch.full((8,), 1 / 8)
    stuck = em.fit_mixture(x, em.Mixture(equal, means, covariance), 100)
    check_close(stuck.log_likelihood, one.expand(101), tolerance=1e-9)
    means[0, 0] += 0.01
    two = em.fit_mixture(x, em.Mixture(equal, means, covariance), 1000)
    assert two.log_likelihood[-1] > one + 0.05
    apart = torch.cdist(two.mixture.means, two.mixture.means)
    assert apart[0, 1:].min() > 0.5 and apart[1:, 1:].max() < 1e-6


BAD = {
    "a NaN": (lambda x: torch.where(x == x[3, 1], math.nan, x), "point 3 holds a NaN"),
    "an infinity": (
        lambda x: torch.where(x == x[7, 0], math.inf, x),
        "point 7 holds a NaN or an inf",
    ),
    "one dimension": (lambda x: x[:, 0], r"shape \(N, D\), not \(50,\)"),
    "no points": (lambda x: x[:0], r"shape \(N, D\), not \(0, 2\)"),
    "too few points": (lambda x: x[:2], "3 components need 3 points, there are 2"),
    "whole numbers": (lambda x: x.long(), "float tensor"),
    "a list": (lambda x: x.tolist(), "float tensor"),
    "one point": (lambda x: x[:1], "3 components need 3 points, there are 1"),
    "a constant column": (lambda x: x * torch.tensor([1.0, 0.0]) + 7, "column 1 is constant"),
    "copies of one point": (lambda x: x[:1].repeat(50, 1), "column 0 is constant"),
    "another dimension": (lambda x: x.repeat(1, 2), "points of 4 numbers, components of 2"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_points_are_named(what):
    spoil, message = BAD[what]
    with pytest.raises(ValueError, match=message):
        em.fit_mixture(spoil(some_points(50, 3, 2)), some_mixture(3, 2))


def test_bad_mixtures_are_named():
    half, means, round_ones = (
        torch.tensor([0.5, 0.5]),
        torch.zeros(2, 2),
        torch.eye(2).repeat(2, 1, 1),
    )
    for parts, message in [
        ((half, means, torch.eye(2)), "weights, means, covariances are"),
        ((torch.tensor([0.5, 0.6]), means, round_ones), "sum 1"),
        ((torch.tensor([1.5, -0.5]), means, round_ones), "sum 1"),
        ((half, means * math.nan, round_ones), "a mean is not finite"),
        (
            (half, means, round_ones * torch.tensor([1.0, 0.0])[:, None, None]),
            r"component \[1\] is flat",
        ),
        ((half, means, round_ones * math.nan), "flat, or not finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            em.Mixture(*parts)


def test_points_of_another_dimension_are_not_broadcast():
    with pytest.raises(ValueError, match="points of 1 numbers, components of 3"):
        some_mixture(2, 3).log_prob(torch.ones(5, 1))


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e6])
def test_start_needs_points_that_differ(unit):
    x = unit * some_points(50, 3, 2)
    for points, components, message in [
        (x[:2].repeat(30, 1), 3, "3 components need as many different points; there are 2"),
        (x[:1], 1, "a single point has no variance"),
        (x[:2], 3, "3 components need 3 points, there are 2"),
        (x[:1].repeat(50, 1), 2, "column 0 is constant"),
        (torch.cat([x, 0.1 * torch.ones(50, 1)], 1), 2, "column 2 is constant"),
        (x, 0, "at least one component, not 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            em.start_mixture(points, components)
    three = unit * torch.eye(3).repeat(9, 1)
    means = em.start_mixture(three, 3).means
    assert torch.cdist(means, means).fill_diagonal_(9 * unit).min() > 0.5 * unit, "taken twice"


def test_start_draws_by_squared_distance_and_is_as_wide_as_points_are_far():
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    torch.manual_seed(0)
    starts = [em.start_mixture(x, 2) for _ in range(2000)]
    from_zero = [start.means[1, 0].item() for start in starts if start.means[0, 0] == 0]
    assert abs(np.mean(np.array(from_zero) == 3) - 9 / 10) < 0.05
    for start in starts[:20]:
        nearest = (x - start.means[:, 0]).square().amin(1)
        check_close(start.covariances, nearest.mean().expand(2, 1, 1), tolerance=1e-9)
    plane = torch.cat([x, 0.1 * x.flip(0)], 1)
    start = em.start_mixture(plane, 1)
    square = (plane - start.means).square().sum(1).mean() / 2
    check_close(start.covariances[0], square * torch.eye(2).double(), tolerance=1e-9)


def test_one_component_is_the_gaussian_by_hand():
    x = some_points(100, 3, 2)
    fit = em.fit_mixture(x, em.start_mixture(x, 1), 3)
    check_close(fit.mixture.means[0], x.mean(0), tolerance=1e-9)
    check_close(fit.mixture.covariances[0], x.T.cov(correction=0), tolerance=1e-9)


# ------------------------------------------------------------------ sampling and conditioning


def test_samples_have_the_moments_of_the_mixture():
    mixture = some_mixture(3, 2)
    x, which = mixture.sample(200_000, torch.Generator().manual_seed(1))
    check_close(torch.bincount(which) / len(x), mixture.weights, tolerance=5e-3)
    mean = mixture.weights @ mixture.means
    away = mixture.means - mean
    covariance = torch.einsum("k,kij->ij", mixture.weights, mixture.covariances)
    covariance = covariance + torch.einsum("k,ki,kj->ij", mixture.weights, away, away)
    check_close(x.mean(0), mean, tolerance=0.03)
    check_close(x.T.cov(), covariance, tolerance=0.03)


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_conditioning_is_bayes_rule(noise):
    """p(x | y) of one coordinate, against the joint density normalised on a line."""
    mixture, y = some_mixture(4, 2, seed=3), torch.tensor([[0.7], [-1.5]], dtype=torch.float64)
    given = em.Given(mixture, torch.tensor([[1.0, 0.0]]), y, noise)
    line = torch.linspace(-25, 25, 2001, dtype=torch.float64)
    for i, value in enumerate(y[:, 0]):
        if noise:
            grid = torch.cartesian_prod(line, line)
            log_weight = mixture.log_prob(grid) - 0.5 * (grid[:, 0] - value).square() / noise
        else:
            grid = torch.stack([value.expand_as(line), line], 1)
            log_weight = mixture.log_prob(grid)
        weight = log_weight.softmax(0)
        check_close(given.mean()[i], weight @ grid, tolerance=1e-6)
    again = em.Given(mixture, torch.tensor([[1.0, 0.0]]), y[1:].repeat(50_000, 1), noise)
    torch.manual_seed(0)
    x = again.sample()
    check_close(x.mean(0), weight @ grid, tolerance=0.05)
    check_close(x.var(0), weight @ grid.square() - (weight @ grid).square(), tolerance=0.05)


def test_observations_of_the_wrong_size_are_named():
    with pytest.raises(ValueError, match=r"the matrix is \(1, 2\)"):
        em.Given(some_mixture(2, 2), torch.ones(1, 2), torch.ones(5, 2))


def test_shrunk_classes_keep_the_mean_covariance():
    x, r = some_points(200), torch.eye(4, dtype=torch.float64)[torch.arange(200) % 4]
    plain, shrunk = em.class_gaussians(x, r, 0.0), em.class_gaussians(x, r, 0.7)
    shared = [torch.einsum("k,kij->ij", m.weights, m.covariances) for m in (plain, shrunk)]
    check_close(*shared, tolerance=1e-9)
    all_shared = em.class_gaussians(x, r, 1.0).covariances
    check_close(all_shared, shared[0].expand_as(all_shared), tolerance=1e-9)


# ------------------------------------------------------------------ exercises

WRONG = {
    2: (
        "def my_responsibilities(log_joint):\n    r = log_joint.exp()\n    return r / r.sum(1, keepdim=True)",
        "5000 nats lower",
    ),
    3: (
        "def my_diagonal_m_step(x, r):\n    count = r.sum(0)[:, None]\n"
        "    return r.mean(0), r.T @ x / count, r.T @ x.square() / count",
        "the variance of component",
    ),
    5: (
        "def my_count(K, D, kind):\n    return K * (1 + D + D * (D + 1) // 2)",
        "47 free numbers, not 48",
    ),
    6: (
        "def my_curve(mixture, t):\n    return (mixture.weights @ mixture.means)[1].expand_as(t)",
        "the mean given x_1 = -2.0",
    ),
}


@pytest.mark.parametrize("number", WRONG)
def test_exercise(number):
    names = dict(vars(em), check_close=check_close, answered=answered)
    exercise_works("01a_mixtures", number, names, *WRONG[number])


@pytest.mark.parametrize(
    "answer", ["log_joint.softmax(1)", "(log_joint - log_joint.logsumexp(1, True)).exp()"]
)
def test_responsibilities_by_the_library_are_refused(answer, monkeypatch):
    said = []
    monkeypatch.setattr("utils.checks.say", said.append)
    names = dict(vars(em), check_close=check_close, answered=answered, exercise=exercise)
    cell = next(source(c) for c in cells("01a_mixtures") if "def check_2(" in source(c))
    exec(f"def my_responsibilities(log_joint):\n    return {answer}", names)
    exec(cell, names)
    assert "is not allowed here" in said.pop()
    exec(solutions("01a_mixtures")[2], names)
    exec(cell, names)
    assert "right" in said.pop()


# ------------------------------------------------------------------ two readings


def test_core_needs_nothing_of_the_deeper_parts():
    """A reader who skips every deeper section can run all other cells."""
    notebook = nbformat.read(NOTEBOOKS / "01a_mixtures.ipynb", as_version=4)
    made = {False: set(dir(builtins)), True: set()}
    for deeper, part in minutes.parts(notebook):
        for cell in part:
            if cell.cell_type == "code":
                names = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Name)]
                own = {n.id for n in names if isinstance(n.ctx, ast.Store)} | defined(cell.source)
                used = {n.id for n in names if isinstance(n.ctx, ast.Load)} - own
                lent = used & made[True] - made[False]
                assert deeper or not lent, f"{lent} comes from a deeper part:\n{cell.source}"
                made[deeper] |= own


def defined(text):
    """Names that a cell defines or imports, and the arguments of its functions."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(a.asname or a.name).split(".")[0] for a in node.names}
        elif isinstance(node, ast.arg):
            found.add(node.arg)
    return found

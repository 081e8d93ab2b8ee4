"""Notebook 01a, with its own definitions: EM for any mixture, and what goes wrong."""

import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from sklearn.mixture import GaussianMixture

from utils.checks import answered, check_close, check_integrates_to_one
from utils.notebooks import definitions

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


@pytest.mark.parametrize("K, D", [(1, 1), (3, 2), (5, 10)])
def test_density_and_step_are_scikit_learns(K, D):
    x, start = some_points(400, K, D), some_mixture(K, D, seed=1)
    model = GaussianMixture(
        K, max_iter=1, tol=0, reg_covar=1e-6, init_params="random",
        weights_init=start.weights.numpy(), means_init=start.means.numpy(),
        precisions_init=torch.cholesky_inverse(start.factors).numpy(),
    )  # fmt: skip
    with pytest.warns(UserWarning, match="converge"):
        model.fit(x.numpy())
    fit = em.fit_mixture(x, start, 1, floor=0, ridge=1e-6)
    check_close(fit.mixture.weights, model.weights_, tolerance=1e-9)
    check_close(fit.mixture.means, model.means_, tolerance=1e-9)
    check_close(fit.mixture.covariances, model.covariances_, tolerance=1e-9)
    check_close(fit.mixture.log_prob(x), model.score_samples(x.numpy()), tolerance=1e-9)
    assert fit.mixture.free_parameters() == model._n_parameters()


def test_matrix_product_is_the_plain_step():
    x, start = some_points(9000), some_mixture(6, 3, seed=2)  # more than one piece of the sweep
    plain = em.Mixture(*em.m_step(x, em.e_step(x, start)[0]))
    fast = em.fit_mixture(x, start, 1, floor=0).mixture
    for name in ("weights", "means", "covariances"):
        check_close(getattr(fast, name), getattr(plain, name), tolerance=1e-9, what=name)


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
    start = em.start_mixture(x, 4, torch.Generator().manual_seed(seed))
    wide = em.Mixture(start.weights, start.means, em.floored(start.covariances, floor))
    fit = em.fit_mixture(x, wide, 40, floor=floor)
    assert not fit.reseeded and np.diff(fit.log_likelihood).min() > -1e-9
    check_close(fit.mixture.log_prob(x).mean(), fit.log_likelihood[-1], tolerance=1e-9)


def test_a_ridge_does_let_it_fall():
    """So that the test above could fail: the same with a ridge in place of the floor."""
    x = some_points(300, 5, 2)
    best = em.fit_mixture(x, em.start_mixture(x, 4, torch.Generator().manual_seed(0)), 60).mixture
    assert np.diff(em.fit_mixture(x, best, 5, floor=0, ridge=0.3).log_likelihood).min() < -1e-3


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
    check_close(torch.linalg.eigvalsh(fit.mixture.covariances).min(), 1e-6, tolerance=1e-9)


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


BAD = {
    "a NaN": (lambda x: torch.where(x == x[3, 1], math.nan, x), "point 3 holds a NaN"),
    "an infinity": (
        lambda x: torch.where(x == x[7, 0], math.inf, x),
        "point 7 holds a NaN or an inf",
    ),
    "one dimension": (lambda x: x[:, 0], r"shape \(N, D\), these are \(50,\)"),
    "no points": (lambda x: x[:0], r"shape \(N, D\), these are \(0, 2\)"),
    "too few points": (lambda x: x[:2], "3 components need at least 3 points, there are 2"),
    "whole numbers": (lambda x: x.long(), "float tensor"),
    "a list": (lambda x: x.tolist(), "float tensor"),
    "another dimension": (lambda x: x.repeat(1, 2), "the points have 4 numbers, the components 2"),
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


def test_start_needs_different_points():
    with pytest.raises(ValueError, match="2 components need as many different points; there are 1"):
        em.start_mixture(torch.ones(50, 2), 2)
    three = torch.eye(3).repeat(9, 1)
    means = em.start_mixture(three, 3).means
    assert torch.cdist(means, means).fill_diagonal_(9).min() > 0.5, "a seed was taken twice"


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
    1: (
        "def my_responsibilities(log_joint):\n    r = log_joint.exp()\n    return r / r.sum(1, keepdim=True)",
        "5000 nats lower",
    ),
    2: (
        "def my_diagonal_m_step(x, r):\n    count = r.sum(0)[:, None]\n"
        "    return r.mean(0), r.T @ x / count, r.T @ x.square() / count",
        "the variance of component",
    ),
    3: (
        "def my_count(K, D, kind):\n    return K * (1 + D + D * (D + 1) // 2)",
        "47 free numbers, not 48",
    ),
    4: (
        "def my_curve(mixture, t):\n    return (mixture.weights @ mixture.means)[1].expand_as(t)",
        "the mean given x_1 = -2.0",
    ),
}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_exercise(number):
    names = dict(vars(em), check_close=check_close, answered=answered)
    exercise_works("01a_mixtures", number, names, *WRONG[number])

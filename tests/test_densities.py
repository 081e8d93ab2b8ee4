"""The two-dimensional targets: each density against its samples and against known entropies."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest

from utils import data
from utils.checks import monte_carlo
from utils.data.densities import _ring

TARGETS = data.densities()
# nats, as listed in NUMBERS.md for the same parameters; None where it lists none
KNOWN = {
    "gaussians": 2.832, "moons": 2.394, "circles": 3.268, "rings": 2.624, "spirals": 2.646,
    "checkerboard": math.log(32), "grid": math.log(25) + math.log(2 * math.pi * math.e * 0.05**2),
}  # fmt: skip
each = pytest.mark.parametrize("name", TARGETS)


def grid(target, nodes=600):
    """Cell centres (n^2, 2) over a square that holds all but 1e-8 of the mass, and the cell area."""
    span = 1.25 * target.limit
    line = (torch.arange(nodes).double() + 0.5) / nodes * 2 * span - span
    return torch.cartesian_prod(line, line), (2 * span / nodes) ** 2


def rotated(x, angle):
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return x @ turn.to(x.dtype).T


@each
def test_integrates_to_one(name):
    target = TARGETS[name]
    points, cell = grid(target)
    total = target.log_prob(points).exp().sum().item() * cell
    assert abs(total - 1) < (0.01 if name == "checkerboard" else 1e-4)


@each
def test_entropy_is_that_of_the_samples_and_of_the_table(name):
    target = TARGETS[name]
    entropy, error = target.entropy()
    assert error < 1e-3
    if name in KNOWN:
        assert abs(entropy - KNOWN[name]) < 2e-3
    x = target.sample(100_000, torch.Generator().manual_seed(0))
    mean, standard_error = monte_carlo(-target.log_prob(x))
    assert abs(mean - entropy) < 4 * standard_error + error + 1e-9


@each
def test_samples_follow_the_density(name):
    """Counts in cells of equal size against the integral over each: a chi-squared test."""
    target = TARGETS[name]
    bins, per_bin = 24, 20
    points, cell = grid(target, bins * per_bin)
    mass = target.log_prob(points).exp().reshape(bins, per_bin, bins, per_bin).sum((1, 3)) * cell
    x = target.sample(50_000, torch.Generator().manual_seed(1)).numpy()
    edges = np.linspace(-1.25 * target.limit, 1.25 * target.limit, bins + 1)
    counts = np.histogram2d(*x.T, bins=[edges, edges])[0].ravel()
    expected = len(x) * mass.numpy().ravel() / mass.sum().item()
    often = expected > 10
    statistic = ((counts - expected)[often] ** 2 / expected[often]).sum()
    assert chi2.sf(statistic, often.sum() - 1) > 1e-4


@each
def test_two_samples_agree_and_a_turned_one_does_not(name):
    """The density's value at fresh samples is a sample of one distribution; a turn changes it."""
    target = TARGETS[name]
    first, second = (target.sample(4000, torch.Generator().manual_seed(seed)) for seed in (2, 3))
    value = target.log_prob(first).numpy()
    assert kstest(value, target.log_prob(second).numpy()).pvalue > 1e-3
    if name not in ("circles", "rings"):
        assert kstest(value, target.log_prob(rotated(second, 0.3)).numpy()).pvalue < 1e-6
    assert kstest(value, target.log_prob(1.1 * second).numpy()).pvalue < 1e-3


@each
def test_samples_repeat_with_their_generator(name):
    draws = [TARGETS[name].sample(50, torch.Generator().manual_seed(s)) for s in (5, 5, 6)]
    assert draws[0].dtype == torch.float32 and draws[0].shape == (50, 2)
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


def test_eight_places_on_a_ring_are_eight():
    """linspace(0, 2 pi, 8) makes seven: its ends are one place."""
    trap = torch.linspace(0, 2 * math.pi, 8)
    trapped = torch.stack([trap.cos(), trap.sin()], 1).double()

    def places(x):
        return len(torch.unique(x.mul(1e4).round(), dim=0))

    assert places(trapped) == 7 and places(_ring(8, 1.0)) == 8
    assert len(TARGETS["gaussians"].centres) == 8

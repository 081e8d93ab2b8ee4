"""Notebook 05a, with its own definitions: invariants, the three searches, ties, and the exercises."""

import math

import numpy as np
import ot
import pytest
import torch
from conftest import exercise_works
from scipy.optimize import linear_sum_assignment

from utils.checks import answered, check_close, check_unseen
from utils.notebooks import cells, definitions, source

align = definitions("05a_mixture_alignment")
EVERY = align.matchings(6)


def blobs_at(seed, K=6):
    """A random mixture of K blobs in the plane."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(K, 2, 2, dtype=torch.float64, generator=generator)
    covariances = 0.1 * draw @ draw.transpose(1, 2) + 0.05 * torch.eye(2).double()
    weights = torch.rand(K, dtype=torch.float64, generator=generator).softmax(0)
    means = 3 * torch.randn(K, 2, dtype=torch.float64, generator=generator)
    return align.Mixture(weights, means, covariances)


def parts(mixture):
    return mixture.weights, mixture.means, mixture.covariances


def prices(one, two):
    """What gromov takes for two shapes: M, C, D."""
    return (one[0][:, None] - two[0]).square().sum(-1), one[1], two[1]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_shape_forgets_rotation_shift_reflection_and_zoom_and_nothing_else(seed):
    mixture = blobs_at(seed)
    generator = torch.Generator().manual_seed(seed)
    Q = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64, generator=generator))[0]
    moved = align.Mixture(
        mixture.weights,
        0.3 * mixture.means @ Q.T - 7,
        0.09 * Q @ mixture.covariances @ Q.T,
    )
    for seen, expected in zip(align.shape_of(moved), align.shape_of(mixture)):
        check_close(seen, expected, tolerance=1e-8)
    sheared = mixture.means * torch.tensor([1.0, 2.0])
    other = align.Mixture(mixture.weights, sheared, mixture.covariances)
    assert (align.shape_of(other)[1] - align.shape_of(mixture)[1]).abs().max() > 0.05


def test_warp_is_the_identity_at_zero_and_keeps_lengths_on_the_axis():
    axis = torch.stack([torch.linspace(-4, 4, 4001), torch.zeros(4001)], 1).double()
    for angle in (1e-7, 1e-3, 60.0, 300.0):
        curve = align.warp(axis, align.degrees(angle))
        check_close(curve.diff(dim=0).norm(dim=1).sum(), 8.0, tolerance=1e-6, what="length")
        ends = align.jacobian(axis[[0, -1]], align.degrees(angle))[:, :, 0]
        way = torch.atan2(ends[:, 1], ends[:, 0])
        check_close(torch.cos(way[1] - way[0]), torch.cos(align.degrees(angle)), tolerance=1e-9)
    points = torch.randn(30, 2).double()
    check_close(align.warp(points, align.degrees(0)), points, tolerance=1e-12)


def test_warped_blobs_are_those_of_warped_points():
    """Far below the size of the arc, samples of a warped blob are warped samples of the blob."""
    weights, means, covariances = align.skeleton()
    small = 1e-6 * covariances
    angles = align.degrees(80), align.degrees(33)
    _, moved, shapes = align.warped(weights, means, small, *angles)
    mixture = align.Mixture(weights, means, small)
    x, which = mixture.sample(60_000, torch.Generator().manual_seed(0))
    x = align.warp(x, angles[0]) @ align.rotations(angles[1]).T
    for k in (0, 2, 5):
        mine = x[which == k]
        check_close(mine.mean(0), moved[k], tolerance=1e-4)
        check_close(1e6 * mine.T.cov(), 1e6 * shapes[k], tolerance=0.04)


@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_matrix_product_agrees_with_the_losses_of_many_shapes(lam):
    one, many = align.shape_of(blobs_at(0)), [align.shape_of(blobs_at(s)) for s in range(5)]
    stacked = [torch.stack(values) for values in zip(*many)]
    found = align.Matcher(one, lam, EVERY).losses(stacked)
    for row, two in zip(found, many):
        check_close(row, align.losses(one, two, lam, EVERY), tolerance=1e-10)


@pytest.mark.parametrize("lam", [0.0, 0.4, 1.0])
def test_losses_are_the_formula_for_transitions_too(lam):
    """A matrix that is not symmetric tells rows from columns, and 1 - lam from lam."""
    generator = torch.Generator().manual_seed(1)
    f, g = torch.rand(2, 4, 3, dtype=torch.float64, generator=generator)
    d, e = torch.rand(2, 4, 4, dtype=torch.float64, generator=generator)
    every = align.matchings(4)
    direct = [
        (1 - lam) * sum((f[k] - g[s[k]]).square().sum() for k in range(4)) / 4
        + lam * sum((d[k, i] - e[s[k], s[i]]).square() for k in range(4) for i in range(4)) / 16
        for s in every.tolist()
    ]
    found = align.losses((f, d), (g, e), lam, every)
    check_close(found, torch.stack(direct), tolerance=1e-12)
    many = align.Matcher((f, d), lam, every).losses((g[None], e[None]))
    check_close(many[0], found, tolerance=1e-12)


def test_shuffled_blobs_are_found_again():
    mixture = blobs_at(3)
    order = torch.tensor([4, 0, 5, 2, 1, 3])
    shuffled = align.Mixture(*(part[order] for part in parts(mixture)))
    found = EVERY[
        align.losses(align.shape_of(mixture), align.shape_of(shuffled), 0.5, EVERY).argmin()
    ]
    assert (order[found] == torch.arange(6)).all()
    plan, loss = align.gromov_best(*prices(align.shape_of(mixture), align.shape_of(shuffled)), 0.5)
    assert (plan.argmax(1) == found).all() and loss < 1e-12


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_three_searches_agree_with_each_other_and_with_the_library(seed):
    torch.manual_seed(seed)
    one, two = align.shape_of(blobs_at(seed)), align.shape_of(blobs_at(seed + 10))
    M, C, D = prices(one, two)
    cheapest = align.losses(one, two, 0.0, EVERY).min()
    check_close(M[linear_sum_assignment(M)].mean(), cheapest, tolerance=1e-10)
    check_close(align.gromov(M, C, D, 0.0)[1], cheapest, tolerance=1e-10)
    even = np.full(6, 1 / 6)
    check_close(align.sinkhorn(M, 0.5), ot.sinkhorn(even, even, M.numpy(), 0.5), tolerance=1e-5)
    for lam in (0.3, 1.0):
        loss = align.gromov_best(M, C, D, lam, starts=200)[1]
        check_close(loss, align.losses(one, two, lam, EVERY).min(), tolerance=1e-10)
        library = ot.gromov.fused_gromov_wasserstein(
            *(part.numpy() for part in (M, C, D)), even, even, alpha=lam, log=True
        )[1]["fgw_dist"]
        assert loss <= library + 1e-9


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_descent_never_rises_and_keeps_a_plan(seed):
    """For any matrices, those that are neither symmetric nor distances too."""
    torch.manual_seed(seed)
    M, C, D = torch.rand(3, 9, 9, dtype=torch.float64)
    last = math.inf
    for steps in range(6):
        plan, loss = align.gromov(M, C, D, 0.7, steps=steps)
        assert loss <= last + 1e-12
        last = loss
        check_close(plan.sum(0), torch.full((9,), 1 / 9), tolerance=1e-9)
        check_close(plan.sum(1), torch.full((9,), 1 / 9), tolerance=1e-9)
        square = (C[:, None, :, None] - D[None, :, None, :]).square()
        direct = 0.3 * (M * plan).sum() + 0.7 * torch.einsum("kilj,ki,lj->", square, plan, plan)
        check_close(loss, direct, tolerance=1e-10)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_guarantee_of_half_the_gap(seed):
    one = align.shape_of(blobs_at(seed))
    half = 0.5 * align.losses(one, one, 0.5, EVERY)[1:].min().sqrt()
    noise = 0.05 * torch.randn(200, 6, 4, dtype=torch.float64)
    two = align.shape(*align.noisy(*parts(blobs_at(seed)), 0.3, noise))
    matcher = align.Matcher(one, 0.5, EVERY)
    E = matcher.losses(two)
    change = E[:, 0].clamp_min(0).sqrt()
    assert (change < half).any()
    assert (matcher.accuracy(E)[change < half] == 1).all()


@pytest.mark.parametrize("K", [3, 4, 5, 6])
def test_rings_tie_as_often_as_they_have_symmetries(K):
    group = align.symmetries(align.shape_of(align.ring(K)), align.matchings(K))
    assert len(group) == 2 * K and align.orbits(group) == 1
    known = {tuple(s) for s in group.tolist()}
    assert {tuple(a[b].tolist()) for a in group for b in group} == known, "not a group"


def test_tie_is_exact_whatever_the_second_set_is():
    one = align.shape(*align.skeleton(1.0))
    every, swap = align.matchings(7), torch.tensor([1, 0, 2, 3, 5, 4, 6])
    E = align.losses(one, align.shape_of(blobs_at(5, 7)), 0.5, every)
    place = {tuple(row): i for i, row in enumerate(every.tolist())}
    partner = torch.tensor([place[tuple(row)] for row in every[:, swap].tolist()])
    check_close(E, E[partner], tolerance=1e-12)


def test_accuracy_of_ties_is_their_mean():
    one = align.shape(*align.skeleton(1.0))
    again = [part[None] for part in one]
    matcher = align.Matcher(one, 0.5, align.matchings(7))
    check_close(matcher.accuracy(matcher.losses(again)), [5 / 7], tolerance=1e-12)


def test_translation_between_equal_shapes_is_the_rotation():
    mixture, R = blobs_at(4), align.rotations(align.degrees(70))
    moved = align.Mixture(mixture.weights, mixture.means @ R.T + 2,
                          R @ mixture.covariances @ R.T)  # fmt: skip
    x = mixture.sample(500, torch.Generator().manual_seed(0))[0]
    made = align.translate(x, mixture, moved, torch.arange(6))
    check_close(made, x @ R.T + 2, tolerance=1e-9)


def test_live_matching_shows_the_best_and_the_rival():
    live = align.LiveMatching(torch.randn(6, 7, 4, generator=torch.Generator().manual_seed(0)))
    u = torch.tensor([[60.0, -40.0, 0.0, 1.0, 0.0, 1.0]])
    out = live(u)
    assert out["count"].argmax() == 7 and out["wrong"].diff(dim=1).abs().max() == 0
    rotated = live(u + torch.tensor([[0.0, 77.0, 0, 0, 0, 0]]))
    check_close(rotated["ranked"], out["ranked"], tolerance=1e-3, what="after a rotation, the loss")
    u[0, 4] = 1.0
    low = live(u)["ranked"][:, 1]
    check_close(low[0], low[1], tolerance=1e-3, what="the tied loss")
    assert live(u)["rival"].diff(dim=1).abs().max() > 1 > out["rival"].diff(dim=1).abs().max()


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_nothing_depends_on_the_unit(unit):
    """Fit, matching, translation and descent: the same answer in the new unit."""
    x = align.Mixture(*align.skeleton()).sample(400, torch.Generator().manual_seed(0))[0]
    fits = []
    for scale in (1.0, unit):
        torch.manual_seed(2)
        fits.append(align.fit_blobs(scale * x, 7, starts=1, steps=30)[0])
    plain, scaled = fits
    check_close(scaled.means / unit, plain.means, tolerance=1e-6)
    check_close(scaled.covariances / unit**2, plain.covariances, tolerance=1e-6)
    for ours, truth in zip(align.shape_of(scaled), align.shape_of(plain)):
        check_close(ours, truth, tolerance=1e-6)
    other = align.Mixture(*align.warped(*align.skeleton(), *align.degrees([60.0, 20.0])))
    large = align.Mixture(other.weights, unit * other.means, unit**2 * other.covariances)
    sigma = torch.arange(7).roll(2)
    made = align.translate(x, plain, other, sigma)
    check_close(align.translate(unit * x, scaled, large, sigma) / unit, made, tolerance=1e-5)
    torch.manual_seed(0)
    M, C, D = torch.rand(3, 6, 6, dtype=torch.float64)
    plan = align.gromov(M, C + C.T, D + D.T, 0.5)[0]
    again = align.gromov(unit**2 * M, unit * (C + C.T), unit * (D + D.T), 0.5)[0]
    check_close(again, plan, tolerance=1e-6)


def test_a_second_set_never_comes_with_the_first():
    """What is fitted sees points only: neither whose they are nor the other set."""
    one, two = (align.Mixture(*align.skeleton()).sample(300, torch.Generator().manual_seed(s))
                for s in (0, 1))  # fmt: skip
    check_unseen(
        lambda: align.fit_blobs(one[0], 7, starts=1, steps=3)[0].means,
        [one[1], *two], seen=[one[0]],
    )  # fmt: skip


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="1 to 8 blobs"):
        align.matchings(9)
    with pytest.raises(ValueError, match="1 to 8 blobs"):
        align.matchings(0)
    cube = align.Mixture(torch.ones(1), torch.zeros(1, 3), torch.eye(3)[None])
    with pytest.raises(ValueError, match="3 dimensions"):
        align.shape_of(cube)
    M = torch.zeros(3, 3).double()
    with pytest.raises(ValueError, match=r"D has to be finite and of shape \(3, 3\)"):
        align.gromov(M, M, torch.zeros(2, 2).double(), 0.5)
    with pytest.raises(ValueError, match="C has to be finite"):
        align.gromov(M, M + math.nan, M, 0.5)
    with pytest.raises(ValueError, match="NaN"):
        align.fit_blobs(M + math.nan, 2)
    with pytest.raises(ValueError, match="column 0 is constant"):
        align.fit_blobs(torch.ones(5, 2), 2)
    with pytest.raises(ValueError, match="3 components need 3 points"):
        align.fit_blobs(torch.ones(2, 2), 3)
    for means in (torch.zeros(1, 2), torch.ones(3, 2)):
        K = len(means)
        alike = align.Mixture(torch.ones(K) / K, means, torch.eye(2).expand(K, 2, 2))
        with pytest.raises(ValueError, match="no distances"):
            align.shape_of(alike)
    lone = align.Mixture(torch.ones(1), torch.zeros(1, 2), torch.eye(2)[None])
    with pytest.raises(ValueError, match="has no rotation"):
        align.translate(torch.zeros(3, 2), lone, lone, torch.arange(1))
    weightless = align.Mixture(torch.tensor([1.0, 0.0]), torch.eye(2), torch.eye(2).expand(2, 2, 2))
    with pytest.raises(ValueError, match="without weight"):
        align.shape_of(weightless)
    six, seven = align.shape_of(blobs_at(0)), align.shape_of(blobs_at(0, 7))
    for one, two, every in [(six, seven, EVERY), (seven, six, EVERY), (six, six, EVERY[:, :5])]:
        with pytest.raises(ValueError, match="matchings of"):
            align.losses(one, two, 0.5, every)
    with pytest.raises(ValueError, match="do not fit 7 blobs"):
        align.Matcher(seven, 0.5, EVERY)
    with pytest.raises(ValueError, match="positive, not 0"):
        align.sinkhorn(M, 0.0)


def plain_part():
    """The plain way: `nearest_centres`, taken from the cell that shows it."""
    text = next(source(cell) for cell in cells("05a_mixture_alignment")
                if source(cell).startswith("def nearest_centres"))  # fmt: skip
    names = dict(vars(align))
    exec(text[: text.index("plain = ")], names)
    return names["nearest_centres"]


def test_nearest_centre_forgets_shifts_and_nothing_else():
    """A shift leaves the matching right; half a rotation breaks it, and partners are shared."""
    nearest, here = plain_part(), align.skeleton()[1]
    assert nearest(here, here + 100).tolist() == list(range(7))
    order = torch.tensor([4, 0, 5, 2, 1, 6, 3])
    assert (order[nearest(here, here[order])] == torch.arange(7)).all()
    chosen = nearest(here, here @ align.rotations(align.degrees(130.0)).T)
    assert (chosen == torch.arange(7)).sum() <= 2 and len(chosen.unique()) < 7
    assert nearest(torch.tensor([[0.0, 0], [1, 0], [5, 0]]),
                   torch.tensor([[0.0, 0], [1, 0], [5, 3]])).tolist() == [0, 1, 2]  # fmt: skip


# ------------------------------------------------------------------ exercises

WRONG = {
    5: (
        "def my_count(distances):\n"
        "    every = matchings(len(distances))\n"
        "    rows = distances.sort(1).values[every]\n"
        "    return ((rows - distances.sort(1).values).abs().amax((1, 2)) < 1e-6).sum().item()",
        "regular shape of 4",
    ),
    6: (
        "def my_accuracy(found, group):\n"
        "    return (found == torch.arange(len(found))).double().mean()",
        "rotated square",
    ),
    2: (
        "def my_rotation(here, there):\n"
        "    a, b = here - here.mean(0), there - there.mean(0)\n"
        "    u, _, v = torch.linalg.svd(b.T @ a)\n"
        "    return u @ v",
        "mirror image",
    ),
    4: (
        "def my_walks(distances, neighbours):\n    return distances",
        "warped chain",
    ),
}


@pytest.mark.parametrize("number", sorted(WRONG))
def test_exercise(number):
    first = align.Mixture(*align.skeleton())
    names = dict(vars(align), first=first, check_close=check_close, answered=answered)
    exercise_works("05a_mixture_alignment", number, names, *WRONG[number])

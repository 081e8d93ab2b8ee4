"""Notebook 04f, with its own definitions: each trick's formula, bad input, the exercises."""

import copy
import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from scipy import stats

from utils.checks import answered, check_close
from utils.notebooks import definitions

NAME = "04f_biggan_tricks"
gan = definitions(NAME)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def names():
    """What the checkers use."""
    return dict(vars(gan)) | {"answered": answered, "check_close": check_close, "np": np}


# ------------------------------------------------------------------ the rule


def test_interval_is_scipys():
    a, b = torch.rand(5).double() + 0.5, torch.rand(5).double() + 0.5
    found = gan.paired(a, b)
    d = (a / b).log().numpy()
    known = stats.ttest_1samp(d, 0).confidence_interval(0.99)
    check_close(np.log(found), [d.mean(), known.low, known.high])
    assert gan.paired(b, a)[0] == pytest.approx(1 / found[0])


def test_rule_speaks_only_where_the_interval_leaves_one():
    assert gan.verdict(0.4, 0.99) == "helps"
    assert gan.verdict(1.01, 3) == "hurts"
    assert gan.verdict(0.99, 1.01) == "no effect at this size"


@pytest.mark.parametrize("pairs", [([1.0, 2.0], [1.0]), ([1.0], [1.0])])
def test_unpaired_seeds_are_told(pairs):
    with pytest.raises(ValueError, match="same seeds"):
        gan.paired(*pairs)


def test_a_distance_below_zero_is_told():
    with pytest.raises(ValueError, match="above zero"):
        gan.paired([1.0, -1.0], [1.0, 1.0])


# ------------------------------------------------------------------ the tricks


def test_power_iteration_finds_the_largest_singular_value():
    layer = gan.Layer(4, 12, 9, spectral=True).double()
    for _ in range(500):
        layer.turn()
    check_close(torch.linalg.svdvals(layer.used())[:, 0], torch.ones(4), tolerance=1e-6)


def test_batch_norm_after_spectral_norm_is_batch_norm():
    layer, norm = gan.Layer(2, 12, 9).double(), gan.Norm(2, 9).double()
    spectral = copy.deepcopy(layer)
    spectral.spectral = True
    x = torch.randn(2, 50, 12).double()
    check_close(norm(layer(x)), norm(spectral(x)), tolerance=1e-3)
    assert (layer(x) - spectral(x)).abs().max() > 0.1


def test_batch_norm_is_torchs_in_each_model():
    norm, x = gan.Norm(3, 7), 2 + 3 * torch.randn(3, 40, 7)
    library = torch.nn.BatchNorm1d(7)
    for k in range(3):
        check_close(norm(x)[k], library(x[k]), tolerance=1e-4)


@pytest.mark.parametrize("on", [{}, {"embed": True}, {"skip": True}, {"embed": True, "skip": True}])
def test_models_of_one_batch_do_not_meet(on):
    """The gradient of one model's samples touches its own weights alone."""
    generator = gan.Generator(3, 8, **on)
    z, y = torch.randn(3, 6, gan.LATENT), torch.randint(10, (3, 6))
    generator(z, y)[1].sum().backward()
    for weight in generator.parameters():
        if weight.grad is not None:
            assert not weight.grad[[0, 2]].any()


def test_projection_is_a_dot_product_with_the_class():
    d = gan.Discriminator(1, 8, projection=True)
    x, y = torch.rand(1, 1, 196).expand(1, 10, 196), torch.arange(10)[None]
    h = x
    for layer in d.layers:
        h = torch.nn.functional.leaky_relu(layer(h), 0.2)
    wanted = d.last(h).squeeze(2) + (d.classes(gan.one_hot(y)) * h).sum(2)
    check_close(d(x, y), wanted)
    assert d(x, y).std() > 0


def test_the_condition_is_used_by_both_players():
    for on in ({}, {"embed": True, "projection": True}):
        g, d = gan.pair(1, 0, 16, **on)
        z = torch.randn(1, 1, gan.LATENT).expand(1, 10, gan.LATENT)
        y = torch.arange(10)[None]
        x = torch.rand(1, 1, 196).expand(1, 10, 196)
        if on:  # the same noise: batch norm sees only the class's part
            g = gan.freeze(g, torch.randn(1, 50, gan.LATENT))
        assert g(z, y).std(1).max() > 1e-3 and d(x, y).std() > 1e-4


@pytest.mark.parametrize("kind", ["plain", "hinge", "relativistic"])
def test_both_players_pull_in_opposite_directions(kind):
    real, made = torch.randn(1, 9, requires_grad=True), torch.randn(1, 9, requires_grad=True)
    d = torch.autograd.grad(gan.d_loss(kind, real, made).sum(), [real, made])
    g = torch.autograd.grad(gan.g_loss(kind, real, made).sum(), made)[0]
    assert (d[0] <= 0).all() and (d[1] >= 0).all() and (g <= 0).all() and (g < 0).any()


def test_slope_of_a_known_logit():
    x = torch.randn(2, 5, 196)
    found = gan.slope(lambda x, y: (3 * x[..., 0]) + x[..., 1], x, None)
    check_close(found, torch.full((2,), 10.0))


def test_orthogonal_penalty_leaves_the_lengths_alone():
    g = gan.Generator(1, 8, 2)
    for layer in g.layers:
        n = layer.weight.shape[1]
        layer.weight.data = 3 * torch.linalg.qr(torch.randn(1, n, 8))[0]
    check_close(gan.off_diagonal(g), 0.0, tolerance=1e-3)
    assert gan.off_diagonal(gan.Generator(1, 8, 2)) > 0.1


def test_pairs_share_what_they_can():
    plain, tricked = gan.pair(2, 3, 8), gan.pair(2, 3, 8, spectral=True)
    for a, b in zip(plain, tricked, strict=True):
        for one, other in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(one, other)
    assert not torch.equal(plain[0].last.weight, gan.pair(2, 4, 8)[0].last.weight)
    for on in ({"embed": True}, {"skip": True}, {"projection": True}):
        for a, b in zip(plain, gan.pair(2, 3, 8, **on), strict=True):
            pairs = [*zip(a.layers, b.layers, strict=True), (a.last, b.last)]
            alike = [x.weight.shape == y.weight.shape for x, y in pairs]
            assert sum(alike) >= len(pairs) - 1
            for same, (x, y) in zip(alike, pairs, strict=True):
                assert torch.equal(x.weight, y.weight) == same


def test_fit_averages_over_a_share_of_the_run():
    def draw(batch):
        return torch.rand(1, batch, 196), torch.randint(10, (1, batch))

    g, d = gan.pair(1, 0, 8)
    rng = torch.Generator().manual_seed(0)
    average, run = gan.fit(g, d, draw, rng, steps=4, window=0.25)  # keeps nothing
    for slow, fast in zip(average.parameters(), g.parameters(), strict=True):
        check_close(slow, fast)
    assert len(run.history["loss"]) == 4


# ------------------------------------------------------------------ truncation


@pytest.mark.parametrize("t", [0.1, 0.7, 1.0, 3.0])
def test_truncated_normal(t):
    u = (torch.arange(100_000).double() + 0.5) / 100_000
    z = gan.truncated(u, t)
    law = stats.truncnorm(-t, t)
    check_close(z[::9999], law.ppf(u[::9999].numpy()), tolerance=1e-6)
    check_close(gan.truncated_variance(t), law.var(), tolerance=1e-6)
    assert abs(gan.truncated_variance(t) - t * t) > 0.005, "scaling is another curve"


def test_frozen_statistics_are_those_of_their_noise():
    g = gan.Generator(1, 16)
    noise = gan.truncated(torch.rand(1, 400, gan.LATENT).clamp(1e-6, 1 - 1e-6), 0.5)
    anew = gan.sample(g, noise=noise)[0]
    check_close(gan.sample(gan.freeze(g, noise), noise=noise)[0], anew, tolerance=1e-4)
    other = gan.freeze(g, torch.randn(1, 400, gan.LATENT))
    assert (gan.sample(other, noise=noise)[0] - anew).abs().mean() > 0.01


def test_explorer_shows_what_the_generator_makes():
    g = gan.Generator(1, 16)
    ts, tables, statistics = [0.5, 1.0, 2.0], [], []
    heights = torch.rand(32, gan.LATENT).clamp(1e-6, 1 - 1e-6)
    for t in ts:
        frozen = gan.freeze(g, t * torch.randn(1, 200, gan.LATENT))
        tables.append(gan.truncated(heights, t))
        rows = [torch.stack([part[0, 0] for part in norm.frozen]) for norm in frozen.norms]
        statistics.append(torch.stack(rows))
    live = gan.Truncation(g, ts, torch.stack(tables), torch.stack(statistics), np.eye(3))
    shown = live(torch.tensor([[2.0, 7.0]]))
    check_close(shown["numbers"], [0, 0, 1])
    wanted = frozen(tables[2][None], torch.full((1, 32), 7))
    first = shown["image"][0, 0, 1:15, 1:15].flatten()
    check_close(first, (wanted[0, 0] + 1) / 2, tolerance=1e-4)
    check_close(live(torch.tensor([[1.5, 7.0]]))["numbers"], [0, 0.5, 0.5])


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize("t", [0, 0.0, -1.0, math.nan])
def test_a_truncation_of_zero_is_told(t):
    with pytest.raises(ValueError, match="truncation is a number above zero"):
        gan.truncated(torch.rand(3), t)


def test_a_batch_of_one_is_told():
    with pytest.raises(ValueError, match="at least two samples"):
        gan.Generator(1, 8)(torch.randn(1, 1, gan.LATENT), torch.zeros(1, 1).long())


@pytest.mark.parametrize("y", [torch.tensor([[10]]), torch.tensor([[-1]]), torch.tensor([[1.5]])])
def test_labels_outside_are_told(y):
    with pytest.raises(ValueError, match="0 to 9"):
        gan.one_hot(y)


def test_an_empty_class_is_told():
    x, y = torch.rand(4, 196), torch.tensor([0, 0, 1, 1])
    assert len(gan.of_class(x, y, 1)) == 2
    with pytest.raises(ValueError, match="class 7 is empty"):
        gan.of_class(x, y, 7)


def test_other_pictures_and_tricks_are_told():
    with pytest.raises(ValueError, match="28, 28"):
        gan.shrink(torch.rand(2, 1, 8, 8))
    with pytest.raises(ValueError, match="no such trick"):
        gan.pair(1, 0, 8, attention=True)


# ------------------------------------------------------------------ the exercises


def test_exercise_1():
    wrong = """
def my_unpaired(log_with, log_without):
    low, high = paired(log_with.exp(), log_without.exp())[1:]
    return math.log(low), math.log(high)
"""
    exercise_works(NAME, 1, names(), wrong, "interval")


def test_exercise_2():
    wrong = """
def my_off_diagonal(weight):
    M = weight.transpose(1, 2) @ weight
    return (M - torch.eye(M.shape[1])).square().sum((1, 2))
"""
    exercise_works(NAME, 2, names(), wrong, "any length")


def test_exercise_3():
    wrong = "def my_radius(keep, omega):\n    return (1 - keep) / (1 - keep * math.cos(omega))"
    exercise_works(NAME, 3, names(), wrong, "radius")


def test_exercise_6():
    wrong = "def my_scale(t):\n    return t / math.sqrt(3)"
    exercise_works(NAME, 6, names(), wrong, "at t = ")

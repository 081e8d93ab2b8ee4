"""Notebook 04c, with its own definitions: shapes, wrong input, the probe, and the exercises."""

import copy

import numpy as np
import pytest
import torch
from conftest import exercise_works
from sklearn.linear_model import RidgeClassifier
from torch import nn
from torch.nn import functional as F

from utils.checks import answered, check_close
from utils.notebooks import definitions

dcgan = definitions("04c_dcgan")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("side, channels, levels", [(28, 1, 2), (32, 3, 3), (64, 3, 4)])
def test_shapes_are_those_of_the_formula(side, channels, levels):
    generator = dcgan.Generator(side, channels, 8, 4, levels)
    discriminator = dcgan.Discriminator(side, channels, 4, levels)
    x = generator(generator.noise(3))
    assert x.shape == (3, channels, side, side) and x.min() >= 0 and x.max() <= 1
    expected = side
    for number, found in enumerate(discriminator.maps(x)):
        expected = dcgan.conv_side(expected)
        assert found.shape == (3, 4 * 2**number, expected, expected)
    assert discriminator(x).shape == (3,)
    expected = side // 2**levels
    for _ in range(levels):
        expected = dcgan.transposed_side(expected)
    assert expected == side


def test_wrong_input_is_named():
    generator, discriminator = dcgan.Generator(), dcgan.Discriminator()
    for x, told in [
        (torch.rand(2, 1, 32, 32), "pictures are"),
        (torch.rand(2, 1, 28, 28) * 2 - 1, "0 to 1"),
        (torch.full((2, 1, 28, 28), torch.nan), "0 to 1"),
        (torch.rand(1, 1, 28, 28), "batch of one"),
    ]:
        with pytest.raises(ValueError, match=told):
            discriminator(x)
    assert discriminator.eval()(torch.rand(1, 1, 28, 28)).shape == (1,)
    with pytest.raises(ValueError, match="noise is"):
        generator(torch.randn(4, 31))
    with pytest.raises(ValueError, match="batch of one"):
        generator(generator.noise(1))
    f = torch.randn(20, 5)
    for y in (torch.arange(20), torch.arange(20) % 10 - 1):
        with pytest.raises(ValueError, match="0 to 9"):
            dcgan.Probe(f, y)
    with pytest.raises(ValueError, match="20 rows"):
        dcgan.Probe(f, torch.arange(10))


def test_rules_are_switched_by_their_names():
    def count(network, kind):
        return sum(isinstance(m, kind) for m in network.modules())

    assert count(dcgan.Generator(), nn.BatchNorm2d) == 2
    assert count(dcgan.Generator(norm=False), nn.BatchNorm2d) == 0
    assert count(dcgan.Discriminator(), nn.BatchNorm2d) == 2  # not at the input
    assert count(dcgan.Discriminator(norm=False), nn.BatchNorm2d) == 0
    assert count(dcgan.Discriminator(), nn.MaxPool2d) == 0
    assert count(dcgan.Discriminator(pool=True), nn.MaxPool2d) == 3
    layer = dcgan.down(1, 1, False, 0.2, False)[-1]
    check_close(layer(torch.tensor([-1.0, 1.0])), [-0.2, 1.0])


def test_settled_statistics_are_those_of_the_inputs():
    network = nn.Sequential(nn.BatchNorm2d(3))
    batches = [2 + 3 * torch.randn(50, 3, 4, 4) for _ in range(4)]
    network[0].running_mean += 100
    dcgan.settle(network, batches)
    assert not network.training
    check_close(network[0].running_mean, torch.stack(batches).mean((0, 1, 3, 4)), tolerance=1e-4)
    variances = torch.stack([b.var((0, 2, 3)) for b in batches]).mean(0)
    check_close(network[0].running_var, variances, tolerance=1e-3)


def pair():
    return dcgan.Generator(width=4), dcgan.Discriminator(width=4)


def draw(count):
    return torch.rand(count, 1, 28, 28)


def test_loop_averages_and_trains_both_players():
    for keep in (0.0, 0.995):
        g, d = pair()
        starts = copy.deepcopy(g), copy.deepcopy(d)
        average, run = dcgan.play(g, d, draw, 3, batch=4, keep=keep)
        same = [torch.equal(a, b) for a, b in zip(average.parameters(), g.parameters())]
        assert all(same) == (keep == 0.0) and len(run.history["loss"]) == 3
        for new, old in zip((g, d), starts):
            assert not torch.equal(new.head.weight if new is d else new.net[0].weight,
                                   old.head.weight if new is d else old.net[0].weight)  # fmt: skip


def test_average_is_between_start_and_end():
    g, d = pair()
    weights = []
    known = copy.deepcopy(g.net[0].weight.detach())
    step = torch.optim.Adam.step

    def keep_weights(self, *args, **how):
        found = step(self, *args, **how)
        if self.param_groups[0]["params"][0] is g.net[0].weight:
            weights.append(g.net[0].weight.detach().clone())
        return found

    torch.optim.Adam.step = keep_weights
    try:
        average, _ = dcgan.play(g, d, draw, 4, batch=4)
    finally:
        torch.optim.Adam.step = step
    for k, new in enumerate(weights):
        known = known.lerp(new, 1 - (k + 1) / (k + 10))
    check_close(average.net[0].weight, known, tolerance=1e-6)


def squared_slope_by_hand(d, real):
    """Mean squared slope of the logit in 2 x - 1, by finite differences in float64."""
    d, real = copy.deepcopy(d).double(), real.double()
    inside, step = real.clamp(0.01, 0.99), 1e-5
    total = 0.0
    with torch.no_grad():
        for x in inside:
            moves = step * torch.eye(784, dtype=torch.float64).reshape(784, 1, 28, 28)
            rise = (d(x + moves) - d(x - moves)) / (2 * (2 * step))  # 2 x - 1 moves 2 step
            total += rise.square().sum().item()
    return total / len(real)


def test_r1_is_the_squared_slope_in_what_the_layers_see():
    d = dcgan.Discriminator(width=4, norm=False)
    real = torch.rand(3, 1, 28, 28).clamp(0.01, 0.99)
    found = dcgan.gan.squared_slope(d, real).sum((1, 2)).mean()
    check_close(found, squared_slope_by_hand(d, real), tolerance=1e-3)


@pytest.mark.parametrize("gamma, every, strength", [(0.0, 8, 0.0), (1.0, 1, 0.5), (3.0, 2, 3.0)])
def test_loop_adds_r1_lazily_and_spares_the_generator(gamma, every, strength):
    """The discriminator's gradient at its first step: loss, and every * gamma / 2 of the slope."""
    torch.manual_seed(5)
    g, d = dcgan.Generator(width=4), dcgan.Discriminator(width=4, norm=False)
    real, z = draw(4), g.noise(4)
    g.noise = lambda count: z
    other = copy.deepcopy(d)
    made = copy.deepcopy(g)(z).detach()
    loss = dcgan.gan.discriminator_loss(other, real, made)
    slope = dcgan.gan.squared_slope(other, real).sum((1, 2)).mean()
    (loss + strength * slope).backward()
    grads = []
    step = torch.optim.Adam.step

    def keep_gradients(self, *args, **how):
        grads.append([p.grad.clone() for p in self.param_groups[0]["params"]])
        return step(self, *args, **how)

    torch.optim.Adam.step = keep_gradients
    try:
        dcgan.play(g, d, lambda count: real, 2, batch=4, gamma=gamma, every=every)
    finally:
        torch.optim.Adam.step = step
    for found, weight in zip(grads[0], other.parameters()):
        check_close(found, weight.grad, tolerance=1e-4)
    assert len(grads) == 4


def test_features_are_pooled_maps_and_the_network_stays():
    d = dcgan.Discriminator().train()
    x = torch.rand(7, 1, 28, 28)
    before = copy.deepcopy(d.state_dict())
    f = dcgan.features(d, x)
    assert f.shape == (7, 256 + 512 + 576)
    first, *_, last = d.maps(x)
    check_close(f[:, -576:], last.flatten(1))  # 3 x 3: not pooled
    check_close(f[:, :256], F.adaptive_max_pool2d(first, 4).flatten(1))
    assert all(torch.equal(before[k], v) for k, v in d.state_dict().items())
    check_close(dcgan.features(d, x[:2]), f[:2], tolerance=1e-5)


@pytest.mark.parametrize("n, dim", [(30, 5), (30, 100)])
def test_probe_is_scikit_learns_and_leaves_out_rightly(n, dim):
    f, y = torch.randn(n, dim).double(), torch.arange(n) % 10
    probe = dcgan.Probe(f, y, decays=(0.5,))
    A = (f - probe.mean) / probe.scale
    theirs = RidgeClassifier(alpha=0.5).fit(A, y)
    new = torch.randn(6, dim).double()
    scores = theirs.decision_function((new - probe.mean) / probe.scale)
    check_close(probe.scores(new), (scores + 1) / 2, tolerance=1e-6)
    for i in (0, 11):
        rest = torch.arange(n) != i
        alone = RidgeClassifier(alpha=0.5).fit(A[rest], y[rest])
        expected = (alone.decision_function(A[i : i + 1])[0] + 1) / 2
        check_close(F.one_hot(y[i], 10) - probe.left_out[i], expected, tolerance=1e-6)


def test_probe_takes_the_decay_with_the_smallest_error_left_out():
    f, y = torch.randn(40, 60).double(), torch.arange(40) % 10
    decays = (0.01, 1.0, 100.0)
    losses = [dcgan.Probe(f, y, decays=(d,)).loss for d in decays]
    assert dcgan.Probe(f, y, decays=decays).decay == decays[int(np.argmin(losses))]
    clear = F.one_hot(y, 10).double()
    assert dcgan.Probe(clear, y).accuracy(clear, y) == 100


def test_walk_keeps_lengths_and_the_live_model_follows_it():
    g, d = dcgan.Generator().eval(), dcgan.Discriminator().eval()
    anchors = torch.randn(10, 32)
    t = torch.tensor([0.0, 0.3, 1.0])
    path = dcgan.walk(anchors[2], anchors[7], t)
    check_close(path[[0, 2]], anchors[[2, 7]], tolerance=1e-5)
    length = 0.7 * anchors[2].norm() + 0.3 * anchors[7].norm()
    check_close(path[1].norm(), length, tolerance=1e-5)
    shown = dcgan.Walk(g, d, anchors)(torch.tensor([[2.0, 7.0, 0.3]]))
    check_close(shown["image"], g(torch.stack([anchors[2], path[1], anchors[7]])), tolerance=1e-5)
    check_close(shown["real"], d(g(path[1:2])).sigmoid(), tolerance=1e-5)


WRONG = {
    2: ("my_receptive_field", "def my_receptive_field(kernels, strides):\n    return sum(kernels)", "field"),
    4: ("my_direction", "def my_direction(z, s):\n    return z.T @ s / len(s)", "weights"),
    5: (
        "my_fold",
        "def my_fold(weight, bias, mean, var, gamma, beta, eps=1e-5):\n"
        "    f = gamma / (var + eps).sqrt()\n"
        "    return weight * f[:, None, None, None], beta + f * bias",
        "output",
    ),
    6: (
        "my_features",
        "def my_features(maps):\n"
        "    return torch.cat([m.mean((2, 3)) for m in maps] + [m.amax((2, 3)) for m in maps], 1)",
        "features",
    ),
}  # fmt: skip


@pytest.mark.parametrize("number", WRONG)
def test_exercise(number):
    _, wrong, where = WRONG[number]
    names = {"torch": torch, "nn": nn, "F": F, "answered": answered, "check_close": check_close}
    exercise_works("04c_dcgan", number, names, wrong, where)

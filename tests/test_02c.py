"""Notebook 02c, with its own definitions: what holds for any weights, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works
from torch import nn
from torch.nn import functional as F

from utils import data
from utils.checks import answered, check_close
from utils.notebooks import definitions

flows = definitions("02c_image_flows")
KINDS = [flows.AffineCoupling, flows.MixtureCoupling]


def stirred(model, size=1.0):
    """The model in double precision with random weights where it starts with zeros."""
    for layer in model.modules():
        if isinstance(layer, flows.Coupling):
            nn.init.normal_(
                layer.network[-1].weight, std=size * layer.network[-1].in_features ** -0.5
            )
    return model.double().eval()


def image_flow(kind=flows.MixtureCoupling, steps=True, seed=0):
    torch.manual_seed(seed)
    entry = flows.Steps(flows.pixel_tables(data.digits().train.x)) if steps else None
    return flows.ImageFlow(kind, flows.flow_masks(), entry, hidden=32)


def a_flow_in_use(kind, steps):
    """Random weights, calibrated on images as before training."""
    model = stirred(image_flow(kind, steps))
    model.initialise(some_images(300))
    return model


def some_images(count=20):
    generator = torch.Generator().manual_seed(0)
    x = data.digits().test.x[:count].double()
    return x + torch.rand(x.shape, generator=generator, dtype=torch.float64)


# ------------------------------------------------------------------ the flow


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [True, False])
def test_there_and_back(kind, steps):
    model, y = a_flow_in_use(kind, steps), some_images()
    check_close(model.inverse(model(y)[0]), y, tolerance=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [True, False])
def test_log_det_is_that_of_autograds_jacobian(kind, steps):
    model, y = a_flow_in_use(kind, steps), some_images(2)
    jacobian = torch.autograd.functional.jacobian(lambda v: model(v[None])[0][0], y[0])
    check_close(model(y)[1][0], torch.linalg.slogdet(jacobian)[1], tolerance=1e-8)


def test_with_steps_and_no_training_it_is_independent_pixels():
    model = image_flow(flows.AffineCoupling).eval()
    x = data.digits().valid.x
    with torch.no_grad():
        tables = flows.pixel_tables(data.digits().train.x)
        check_close(model.bound(x), flows.independent_pixels(x, tables), tolerance=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_probabilities_of_a_tiny_world_add_up_and_bounds_lie_below(seed):
    torch.manual_seed(seed)
    masks = [torch.tensor([True, False]), torch.tensor([False, True])]
    entry = flows.Steps(torch.rand(2, 3).add(0.2).softmax(1))
    tiny = stirred(flows.ImageFlow(flows.MixtureCoupling, masks, entry, hidden=8), 0.5)
    tiny.initialise(3 * torch.rand(4000, 2, dtype=torch.float64))
    t = (torch.arange(300, dtype=torch.float64) + 0.5) / 300
    cells = torch.cartesian_prod(*2 * [t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)])
    area = torch.cartesian_prod(*2 * [140 * (t * (1 - t)) ** 3]).prod(1) / len(cells)
    nine = torch.cartesian_prod(*2 * [torch.arange(3.0, dtype=torch.float64)])
    with torch.no_grad():
        log_density = torch.stack([tiny.log_prob(image + cells) for image in nine])
    exact, bounds = log_density.exp() @ area, log_density @ area
    check_close(exact.sum(), 1.0, tolerance=3e-3)
    assert (bounds < exact.log()).all()


def test_initialise_gives_mean_zero_and_sd_one_behind_each_actnorm():
    model, y = image_flow(steps=False).double().eval(), some_images(200)
    model.initialise(y)
    for layer in model.layers:
        y, _ = layer(y)
        if isinstance(layer, flows.ActNorm):
            check_close(y.mean(0), torch.zeros(64), tolerance=1e-9)
            check_close(y.std(0), torch.ones(64), tolerance=1e-9)


def test_masks_are_halves_and_cover_every_pixel():
    masks = flows.flow_masks()
    assert all(mask.dtype == torch.bool and mask.sum() == 32 for mask in masks)
    assert torch.equal(masks[0], ~masks[1]) and torch.equal(masks[2], ~masks[3])
    assert not torch.equal(masks[0], masks[2])


def test_mixture_curve_in_the_tails():
    x = torch.tensor([-300.0, -20.0, 0.0, 20.0, 300.0])
    shares, means, scales = (
        torch.full((3,), 1 / 3).log(),
        torch.tensor([-1.0, 0, 1]),
        torch.zeros(3),
    )
    curve = flows.mixture_curve(x, shares, means, scales)
    assert all(value.isfinite().all() for value in curve)
    check_close(curve[0].exp() + curve[1].exp(), torch.ones(5))


def test_samples_are_counts():
    with torch.no_grad():
        for temperature in (1.0, 0.3):
            images = image_flow().eval().sample(30, temperature)
            assert images.shape == (30, 64) and torch.equal(images, images.round())
            assert images.min() >= 0 and images.max() <= 16


@pytest.mark.parametrize(
    "broken, message",
    [
        (torch.zeros(3, 63), "shape"),
        (torch.zeros(64), "shape"),
        (torch.zeros(3, 64, dtype=torch.long), "float"),
        (torch.full((3, 64), float("nan")), "NaN"),
        (torch.full((3, 64), 17.5), r"\[0, 17\)"),
        (torch.full((3, 64), -0.5), r"\[0, 17\)"),
    ],
)
def test_the_flow_says_what_is_wrong_with_its_input(broken, message):
    with pytest.raises(ValueError, match=message):
        image_flow().log_prob(broken)


@pytest.mark.parametrize("broken", [torch.full((2, 64), 0.5), torch.full((2, 64), 17.0)])
def test_bounds_are_for_whole_numbers(broken):
    for method in (image_flow().bound, flows.Autoregressive(torch.arange(64), hidden=64).log_prob):
        with pytest.raises(ValueError, match="whole numbers"):
            method(broken)


# ------------------------------------------------------------------ the writers


@pytest.fixture
def writer():
    torch.manual_seed(0)
    model = flows.Autoregressive(torch.randperm(64), hidden=128).eval()
    for layer in (model.last, model.straight):
        nn.init.normal_(layer.weight, std=0.1)
    return model


def test_no_factor_sees_its_own_or_a_later_pixel(writer):
    x = data.digits().test.x[:1]
    with torch.no_grad():
        before = writer.factors(x)
        for place in (0, 17, 63):
            changed = x.clone()
            changed[0, writer.order[place]] = 16 - changed[0, writer.order[place]].round() // 2
            after = writer.factors(changed)
            for b, a in zip(before, after):
                same = (b == a)[0].all(-1)[writer.order]
                assert same[: place + 1].all()
                assert not same[place + 1 :].any()


def test_levels_and_tiny_images_add_up(writer):
    levels = torch.arange(17.0)
    with torch.no_grad():
        factors = writer.factors(data.digits().test.x[:5])
        table = flows.log_mixture(levels.expand(5, 64, 17), *(f[:, :, None] for f in factors))
        check_close(table.exp().sum(-1), torch.ones(5, 64), tolerance=1e-4)
        pair = [flows.Autoregressive(torch.tensor(o), hidden=8).eval() for o in ([0, 1], [1, 0])]
        every = torch.cartesian_prod(levels, levels)
        both = flows.Writers(pair)
        check_close(both.log_prob(every).exp().sum(), 1.0, tolerance=1e-4)
        assert both.sample(11).shape == (11, 2)


def test_samples_follow_the_probabilities():
    torch.manual_seed(0)
    model = flows.Autoregressive(torch.tensor([1, 0]), hidden=8).eval()
    nn.init.normal_(model.straight.weight, std=1.0)
    every = torch.cartesian_prod(*2 * [torch.arange(17.0)])
    with torch.no_grad():
        expected = model.log_prob(every).exp()
        drawn = model.sample(40_000)
    found = torch.bincount((17 * drawn[:, 0] + drawn[:, 1]).long(), minlength=289) / len(drawn)
    assert (found - expected).abs().sum() < 0.1


# ------------------------------------------------------------------ warped digits


def by_hand(bitmap):
    """The counts (8, 8) of a bitmap (32, 32), block by block."""
    return torch.stack(
        [
            torch.stack([bitmap[4 * r : 4 * r + 4, 4 * c : 4 * c + 4].sum() for c in range(8)])
            for r in range(8)
        ]
    )


def test_dots_have_the_counts_of_their_blocks_and_stand_where_it_is_dark():
    x = data.digits().train.x[:30]
    bitmaps = flows.dots(x)
    assert bitmaps.shape == (30, 1, 32, 32) and set(bitmaps.unique().tolist()) == {0.0, 1.0}
    for image, bitmap in zip(x, bitmaps[:, 0]):
        assert torch.equal(by_hand(bitmap), image.reshape(8, 8))
    edge = torch.zeros(1, 8, 8)
    edge[:, :, 4:], edge[:, :, 3] = 16.0, 8.0
    columns = flows.dots(edge.reshape(1, 64))[0, 0].sum(0)
    assert columns[12] < columns[15], "ink has to stand beside ink"


def test_a_warp_gives_counts_near_the_image_and_no_ink_from_nowhere():
    torch.manual_seed(0)
    x = data.digits().train.x
    assert torch.equal(flows.warp(x, size=0.0), x)
    once, twice = flows.warp(x), flows.warp(x)
    assert once.shape == x.shape and torch.equal(once, once.round())
    assert once.min() >= 0 and once.max() <= 16 and not torch.equal(once, twice)
    assert abs(once.mean() / x.mean() - 1) < 0.05
    moved, other = (once - x).abs().sum(1), (x.roll(1, 0) - x).abs().sum(1)
    assert (moved > 0).float().mean() > 0.98 and moved.mean() < 0.5 * other.mean()


def test_a_warp_moves_an_image_as_often_to_one_side_as_to_the_other():
    torch.manual_seed(0)
    block = torch.zeros(1, 8, 8)
    block[:, 3:5, 3:5] = 16.0
    images = flows.warp(block.reshape(1, 64).repeat(4000, 1)).reshape(-1, 8, 8)
    middle = torch.arange(8.0) - 3.5
    across, down = images.sum(1) @ middle / 64, images.sum(2) @ middle / 64
    for place in (across, down):
        assert abs(place.mean()) < 0.03 and 0.1 < place.std() < 0.5


# ------------------------------------------------------------------ exercises

WRONG = {
    2: (
        "def my_bits_per_pixel(log_prob_y, pixels=64, levels=17):\n"
        "    return -log_prob_y / (pixels * math.log(2))",
        "a flat density",
    ),
    3: (
        "def my_checkerboard(side):\n"
        "    place = torch.arange(64)\n"
        "    return (place // 8 + place % 8) // side % 2 == 0",
        "a field is not of one colour",
    ),
    6: (
        "def my_log_levels(mean, log_scale):\n"
        "    x = torch.arange(17.0)\n"
        "    up, low = ((x + d - mean) * (-log_scale).exp() for d in (0.5, -0.5))\n"
        "    return (up.sigmoid() - low.sigmoid()).log()",
        "the sum at mean 8",
    ),
    4: (
        "def my_inverse(g, y, low, high):\n"
        "    for _ in range(5):\n"
        "        middle = (low + high) / 2\n"
        "        above = g(middle) > y\n"
        "        low, high = torch.where(above, low, middle), torch.where(above, middle, high)\n"
        "    return (low + high) / 2",
        "g\\(x\\)",
    ),
}


@pytest.mark.parametrize("number", WRONG)
def test_exercise(number):
    names = dict(
        vars(flows), check_close=check_close, answered=answered, math=math, torch=torch, F=F
    )
    exercise_works("02c_image_flows", number, names, *WRONG[number])


def test_a_pixel_that_never_changes_is_named():
    x = torch.rand(50, 64)
    x[:, 7] = 3.0
    with pytest.raises(ValueError, match="pixel 7 is the same in all images: add the noise"):
        image_flow(steps=False).initialise(x.double())

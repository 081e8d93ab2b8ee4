"""Notebook 02a, with its own definitions: what holds for any weights, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works

from utils.checks import answered, check_close, check_integrates_to_one, integral
from utils.notebooks import definitions

NAME = "02a_change_of_variables"
flows = definitions(NAME)


def with_noise(module, seed=0, by=0.4):
    """The module with random weights, in float64."""
    generator = torch.Generator().manual_seed(seed)
    module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return module


MAPS = {
    "affine": (lambda: flows.Affine(2), 2),
    "stretch": (lambda: flows.Stretch(3.0, 0.6), 2),
    "wave": (lambda: flows.Wave(), 2),
    "rotation": (lambda: flows.Rotation(50), 2),
    "chain": (lambda: flows.Chain(flows.Affine(2), flows.Wave(), flows.Stretch(2.0, 1.0)), 2),
    "staircase": (lambda: flows.Staircase(4), 1),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", MAPS)
def test_map_goes_back_and_knows_its_jacobian(name, seed):
    make, dimensions = MAPS[name]
    transform = with_noise(make(), seed)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(40, dimensions, generator=generator, dtype=torch.float64)
    z, log_abs_det = transform(x)
    assert z.shape == x.shape and log_abs_det.shape == (40,)
    check_close(transform.inverse(z), x, tolerance=1e-6, what="x after a round trip")
    whole = torch.func.vmap(torch.func.jacrev(lambda x: transform(x[None])[0][0]))(x)
    check_close(log_abs_det, torch.linalg.slogdet(whole).logabsdet, tolerance=1e-6, what="log-det")


@pytest.mark.parametrize("name", MAPS)
def test_flow_integrates_to_one(name):
    make, dimensions = MAPS[name]
    flow = flows.Flow(with_noise(make(), by=0.2), dimensions).double()
    limits = (-40, 40) if dimensions == 1 else ((-12, 12), (-12, 12))
    nodes = 20_000 if dimensions == 1 else 400
    check_integrates_to_one(flow.log_prob, limits, 2e-3, nodes, dtype=torch.float64)
    assert flow.sample(7).shape == (7, dimensions)


def test_staircase_rises_far_from_the_data():
    transform = with_noise(flows.Staircase(6), by=1.0)
    x = torch.linspace(-1e4, 1e4, 2001, dtype=torch.float64)[:, None]
    z, log_slope = transform(x)
    assert (z.diff(dim=0) > 0).all() and log_slope.isfinite().all()


def test_stretch_stays_finite_where_cosh_would_not():
    _, log_abs_det = flows.Stretch(1.0)(torch.tensor([[300.0], [-300.0]]))
    check_close(log_abs_det, [300 - math.log(2)] * 2, what="log-det")


def test_ripple_and_its_picture_agree():
    glass = flows.Magnifier()
    numbers = glass(torch.tensor([[0.3, -1.2, 0.05]]))["numbers"]
    truth = torch.linalg.det(flows.ripple_jacobian(torch.tensor([0.3, -1.2])))
    check_close(numbers[1], truth, what="determinant")
    check_close(numbers[0], truth, tolerance=2e-3, what="area of the image of a small square")
    assert numbers[2] < 3


@pytest.mark.parametrize("u", [(20, 1.6, 1.2, 0.5), (0, -1, 1, 0), (90, 2, 0.5, -1), (10, 0, 1, 0)])
def test_linear_picture(u):
    """The area of the drawn image is |det A|, and where A is singular nothing is NaN but log 0."""
    u = torch.tensor([u], dtype=torch.float32)
    shown = flows.LinearMap()(u)
    matrix, det = flows.matrix_of(u)
    check_close(det, torch.linalg.det(matrix), what="determinant")
    check_close(flows.area_of(shown["image"]), det.abs(), what="area")
    assert all(not value.isnan().any() for value in shown.values())
    assert shown["density"].min() >= 0 and shown["density"].max() <= 1


@pytest.mark.parametrize(
    "x, message",
    [
        (torch.zeros(3), "shape"),
        (torch.zeros(3, 3), "shape"),
        (torch.zeros(3, 2, dtype=torch.long), "floating-point"),
        (torch.tensor([[0.0, math.nan]]), "finite"),
        ([[0.0, 1.0]], "floating-point"),
    ],
)
def test_what_is_no_point_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        flows.Flow(flows.Affine(2)).log_prob(x)


# ------------------------------------------------------------------ the meter


def test_meter_in_one_and_two_dimensions():
    assert integral(lambda x: -x.abs().log() * 0, (1, 3)) == pytest.approx(2)
    assert integral(lambda x: torch.zeros(len(x)), ((0, 2), (0, 3)), nodes=7) == pytest.approx(6)
    check_integrates_to_one(flows.log_base, (-8, 8), 1e-6)
    check_integrates_to_one(flows.log_base, ((-8, 8), (-7, 9)), 1e-6, pieces=333)


@pytest.mark.parametrize(
    "log_prob, limits, nodes, message",
    [
        (lambda x: flows.log_base(x) + 0.1, ((-6, 6), (-6, 6)), 100, "the formula is wrong"),
        (flows.log_base, ((-1, 1), (-1, 1)), 100, "widen the limits"),
        (flows.log_base, ((-100, 100), (-100, 120)), 40, "raise nodes"),
        (lambda x: x, ((-1, 1), (-1, 1)), 10, "one number a point"),
        (lambda x: flows.log_base(x) * math.nan, (-1, 1), 10, "nan at x"),
    ],
)
def test_meter_says_what_is_wrong(log_prob, limits, nodes, message):
    with pytest.raises(AssertionError, match=message):
        check_integrates_to_one(log_prob, limits, nodes=nodes)


@pytest.mark.parametrize("limits", [3, (1, 0), (0, 1, 2), "abc", (0, math.inf), ((0, 1),) * 3])
def test_meter_refuses_limits_that_are_none(limits):
    with pytest.raises(ValueError, match="limits are"):
        integral(flows.log_base, limits)


# ------------------------------------------------------------------ exercises

WRONG = [
    (
        2,
        "def my_log_normal(x, m, s):\n"
        "    return torch.distributions.Normal(m, abs(s)).log_prob(x.log())",
        "your density integrates to",
    ),
    (
        2,
        "def my_log_normal(x, m, s):\n"
        "    return torch.distributions.Normal(m, abs(s)).log_prob(x.log()) + x.log()",
        "your density integrates to",
    ),
    (
        3,
        "def my_disc(u):\n"
        "    radius, angle = u[:, 0], 2 * math.pi * u[:, 1]\n"
        "    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)",
        "density at point",
    ),
    (
        3,
        "def my_disc(u):\n"
        "    radius, angle = (u[:, 0] / 2).sqrt(), 4 * math.pi * u[:, 1]\n"
        "    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1)",
        "of the points, not a quarter",
    ),
    (3, "def my_disc(u):\n    return 2 * u", "lies outside"),
    (
        4,
        "def my_inverse(f, z, low, high):\n"
        "    for _ in range(16):\n"
        "        middle = (low + high) / 2\n"
        "        above = f(middle)[0] > z\n"
        "        low, high = torch.where(above, low, middle), torch.where(above, middle, high)\n"
        "    return middle",
        "x at",
    ),
    (
        6,
        "def my_sample_with_log_prob(maps, z):\n"
        "    x, log_p = z, log_base(z)\n"
        "    for each in reversed(maps):\n"
        "        log_p = log_p + each(x)[1]\n"
        "        x = each.inverse(x)\n"
        "    return x, log_p",
        "log p of point",
    ),
]


@pytest.mark.parametrize("number, wrong, where", WRONG)
def test_exercise(number, wrong, where):
    names = dict(vars(flows), check_close=check_close, answered=answered, integral=integral)
    exercise_works(NAME, number, names, wrong, where)

"""Notebook 02d, with its own definitions: what holds for any weights, and the exercises."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import exercise_works

from utils.checks import answered, check_close, check_integrates_to_one
from utils.data.densities import make_densities
from utils.notebooks import definitions

NAME = "02d_continuous_flows"
nb = definitions(NAME)


@pytest.fixture(params=[0, 1])
def field(request):
    """A field with random weights, in double precision."""
    torch.manual_seed(request.param)
    field = nb.VelocityField(scale=1.7, width=16, waves=8).double()
    torch.nn.init.normal_(field.leave.weight, std=0.4)
    torch.nn.init.normal_(field.leave.bias, std=0.4)
    return field


@pytest.fixture
def x():
    return 1.5 * torch.randn(20, 2, generator=torch.Generator().manual_seed(3)).double()


def turning(y, t):
    """A field that depends on time, with a known solution: dy/dt = cos(t) y."""
    return math.cos(t) * y


@pytest.mark.parametrize("step, order", [(nb.euler_step, 1), (nb.rk4_step, 4)])
def test_solvers_have_their_order_both_ways(step, order):
    y = torch.ones(1, 1, dtype=torch.float64)
    for start, end in [(0.0, 1.0), (1.0, 0.0)]:
        exact = math.exp(math.sin(end) - math.sin(start))
        coarse, fine = (abs(nb.solve(turning, y, start, end, n, step) - exact) for n in (64, 128))
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


def test_path_begins_and_ends_where_it_should():
    y = torch.ones(3, 2)
    states = nb.path(turning, y, 0.0, 1.0, 7)
    assert len(states) == 8 and torch.equal(states[0], y)
    assert torch.equal(states[-1], nb.solve(turning, y, 0.0, 1.0, 7))


@pytest.mark.parametrize("t", [0.0, 0.4, 1.0])
def test_divergence_is_the_trace_of_the_jacobian(field, x, t):
    v, div = field.with_divergence(x, t)
    jacobian = torch.autograd.functional.jacobian(lambda p: field(p, t).sum(0), x)
    check_close(div, jacobian[0, :, 0] + jacobian[1, :, 1], tolerance=1e-10)
    check_close(nb.divergence(field, x, t), div, tolerance=1e-10)
    check_close(v, field(x, t), tolerance=1e-12)
    times = torch.full((len(x), 1), t, dtype=x.dtype)
    check_close(field.with_divergence(x, times)[1], div, tolerance=1e-12, what="time as a column")


def test_hutchinson_takes_two_values_about_the_trace(field):
    x = torch.tensor([[0.3, -0.8]], dtype=torch.float64).expand(64, 2)
    torch.manual_seed(0)
    values = nb.hutchinson(field, x, 0.5).unique().numpy()
    values = np.unique(values.round(9))
    assert len(values) == 2
    check_close(values.mean(), nb.divergence(field, x[:1], 0.5)[0], tolerance=1e-8)


def test_there_and_back_and_the_log_det(field, x):
    flow = nb.ContinuousFlow(field, steps=30)
    z, log_abs_det = flow(x)
    check_close(flow.inverse(z), x, tolerance=1e-3)
    jacobian = torch.autograd.functional.jacobian(lambda p: flow(p)[0].sum(0), x).transpose(0, 1)
    check_close(log_abs_det, torch.linalg.slogdet(jacobian).logabsdet, tolerance=1e-3)


def test_density_integrates_to_one_at_any_time(field):
    flow = nb.ContinuousFlow(field, steps=10)
    for time in (0.5, 1.0):
        check_integrates_to_one(
            lambda x: flow.log_prob(x, time=time),  # noqa: B023
            ((-9, 9), (-9, 9)), nodes=80, dtype=torch.float64,
        )  # fmt: skip


def test_a_fresh_field_carries_the_base_to_its_gaussian():
    flow = nb.ContinuousFlow(nb.VelocityField(scale=1.7).double(), steps=40)
    x = torch.randn(10, 2, dtype=torch.float64)
    gaussian = torch.distributions.Normal(0.0, 1.7)
    check_close(flow.log_prob(x), gaussian.log_prob(x).sum(1), tolerance=1e-5)


def test_exact_field_carries_the_base_to_the_mixture(x):
    ring = make_densities()["gaussians"]
    exact = nb.MixtureField(ring.centres, ring.sd)
    check_close(exact.with_divergence(x, 0.7)[1], nb.divergence(exact, x, 0.7), tolerance=1e-8)
    flow = nb.ContinuousFlow(exact, steps=60)
    data = ring.sample(200, torch.Generator().manual_seed(0)).double()
    check_close(flow.log_prob(data), ring.log_prob(data), tolerance=1e-3)
    check_close(exact.log_prob(data, 1.0), ring.log_prob(data), tolerance=1e-10)


def test_gradients_reach_all_weights(field, x):
    nb.ContinuousFlow(field, steps=2).log_prob(x).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in field.parameters())


def test_samples_follow_the_seed(field):
    flow = nb.ContinuousFlow(field.float())
    torch.manual_seed(5)
    first = flow.sample(7)
    torch.manual_seed(5)
    assert first.shape == (7, 2) and torch.equal(first, flow.sample(7))


@pytest.mark.parametrize(
    "x, complaint",
    [
        (torch.zeros(3, 3), r"shape \(B, 2\)"),
        (torch.zeros(2), r"shape \(B, 2\)"),
        (torch.zeros(3, 2, dtype=torch.int64), "float tensor"),
        (np.zeros((3, 2)), "float tensor"),
        (torch.full((3, 2), math.nan), "NaN"),
        (torch.full((3, 2), math.inf), "infinity"),
    ],
)
def test_bad_points_are_refused_with_a_reason(x, complaint):
    flow = nb.ContinuousFlow(nb.VelocityField(scale=1.0))
    for use in (flow.forward, flow.inverse, flow.log_prob):
        with pytest.raises(ValueError, match=complaint):
            use(x)


def test_time_slider_blends_its_snapshots():
    tracks, density = torch.randn(3, 5, 8, 2), torch.rand(3, 5, 4, 4)
    live = nb.TimeSlider(tracks, density, torch.tensor([1.0, 2.0, 3.0]), trails=6)
    seen = live(torch.tensor([[0.5, 2.0]]))
    check_close(seen["points"], tracks[2, 2])
    check_close(seen["trails"], tracks[2, :, :6].transpose(0, 1))
    check_close(seen["numbers"], [0.5, 3.0])
    between = live(torch.tensor([[0.125, 0.0]]))
    check_close(between["density"], (density[0, 0] + density[0, 1]) / 2)


WRONG = [
    (
        1,
        "def my_heun_step(velocity, y, t, h):\n    return y + h * velocity(y, t)",
        "one step, coordinate",
    ),
    (
        1,
        "def my_heun_step(velocity, y, t, h):\n"
        "    first = velocity(y, t)\n"
        "    return y + h / 2 * (first + velocity(y + h * first, t))",
        "one step, coordinate",
    ),
    (3, "def my_score(x, t, v):\n    return (x - t * v) / (1 - t)", "the score of point"),
    (3, "def my_score(x, t, v):\n    return -(x - v) / (1 - t)", "the score of point"),
    (4, "def my_pairing(z, x):\n    return x.sort().values", "the total squared distance"),
    (4, "def my_pairing(z, x):\n    return z", "each x has to be used once"),
]


@pytest.mark.parametrize("number, wrong, message", WRONG)
def test_exercise(number, wrong, message):
    names = dict(vars(nb), check_close=check_close, answered=answered, itertools=itertools)
    exercise_works(NAME, number, names, wrong, message)


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_data_that_do_not_vary_are_refused(scale):
    with pytest.raises(ValueError, match=r"has to be positive.*do they vary"):
        nb.VelocityField(scale)

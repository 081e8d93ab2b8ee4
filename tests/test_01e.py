"""Notebook 01e, with its own definitions: Langevin chains, four objectives, residual energies."""

import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.distributions import MultivariateNormal

from utils.checks import answered, check_close, monte_carlo
from utils.notebooks import cells, definitions, source
from utils.train import Diverged

NAME = "01e_energy_models"
ebm = definitions(NAME)
trees = definitions("01b_bayesian_networks")


def quadratic(x):
    return 0.5 * x.square().sum(1)


def double_well(x):
    return (x.square() - 1).square().sum(1)


class Shape(nn.Module):
    """a |x|^2 / 2, with the constant of an Energy."""

    def __init__(self, a=1.0, c=0.0):
        super().__init__()
        self.a, self.kappa = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(c))

    def forward(self, x):
        return self.a * quadratic(x)


def open_function(name):
    """A function of the notebook that stands in no model cell."""
    text = next(source(cell) for cell in cells(NAME) if f"def {name}(" in source(cell))
    start = text.index(f"def {name}(")
    lines = text[start:].splitlines()
    end = next((i for i, line in enumerate(lines[1:], 1) if line and line[0] not in " )"), None)
    scope = {"torch": torch, "roc_auc_score": roc_auc_score, "math": math}
    exec("\n".join(lines[:end]), scope)
    return scope[name]


# ------------------------------------------------------------------ the grid


@pytest.mark.parametrize("s", [0.5, 1.0, 1.4])
def test_log_z_and_kl_of_gaussians_are_the_closed_forms(s):
    log_p, log_z = ebm.on_grid(quadratic)
    log_q, wide_z = ebm.on_grid(lambda x: quadratic(x) / s**2)
    assert log_z == pytest.approx(math.log(2 * math.pi), abs=1e-5)
    assert wide_z == pytest.approx(math.log(2 * math.pi * s**2), abs=1e-5)
    assert ebm.kl_nats(log_p, log_q) == pytest.approx(2 * math.log(s) + 1 / s**2 - 1, abs=1e-4)


def test_energies_of_hundreds_of_nats_have_a_normaliser():
    assert ebm.on_grid(lambda x: quadratic(x) - 800)[1] == pytest.approx(
        800 + math.log(2 * math.pi), abs=1e-3
    )


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "x, told",
    [
        ([[1.0, 2.0]], "float tensor"),
        (torch.ones(3, 2).long(), "float tensor"),
        (torch.ones(3), r"\(B, D\), not \(3,\)"),
        (torch.ones(0, 2), r"not \(0, 2\)"),
        (torch.tensor([[0.0, 1.0], [math.nan, 1.0]]), "point 1 holds a NaN"),
    ],
)
def test_points_that_are_none_are_named(x, told):
    with pytest.raises(ValueError, match=told):
        ebm.energies(quadratic, x)


def test_energies_of_the_wrong_shape_or_not_finite_are_named():
    x = torch.randn(5, 2)
    with pytest.raises(ValueError, match=r"gives \(5, 1\): sum over the coordinates"):
        ebm.energies(lambda x: x[:, :1], x)
    x[3, 0] = -1.0
    x[:3] = x[4:] = 1.0
    with pytest.raises(ValueError, match="energy of point 3 is nan"):
        ebm.energies(lambda x: x[:, 0].log(), x)
    with pytest.raises(ValueError, match="energy of point 3 is inf"):
        ebm.langevin(lambda x: torch.where(x[:, 0] < 0, torch.inf, x[:, 0]), x, 1, 0.1)
    with pytest.raises(ValueError, match=r"\(B, 2\), not \(4, 3\)"):
        ebm.Energy()(torch.randn(4, 3))


@pytest.mark.parametrize("how", [{"step": 0.0}, {"step": -1.0}, {"step": 0.1, "temperature": -1}])
def test_steps_and_temperatures_that_make_no_sense_are_named(how):
    with pytest.raises(ValueError, match="have to be positive"):
        ebm.langevin(quadratic, torch.randn(3, 1), 5, **how)
    with pytest.raises(ValueError, match="only the plain chain"):
        ebm.langevin(quadratic, torch.randn(3, 1), 5, 0.1, 0.0, metropolis=True)


def test_diverged_chains_are_named_and_never_shown():
    x = torch.tensor([[0.1], [5.0], [-0.3], [40.0]])
    with pytest.raises(ValueError, match=r"2 of 4 chains .* number \[1, 3\]: the step 0.1"):
        ebm.langevin(double_well, x, 60, 0.1, temperature=0.0)
    chains = ebm.langevin(double_well, x, 60, 0.1, temperature=0.0, strict=False)
    assert chains.diverged == [1, 3]
    assert chains.x[[1, 3]].isnan().all() and chains.x[[0, 2]].isfinite().all()
    check_close(chains.x[[0, 2]], [[1.0], [-1.0]], what="the valleys")
    stay = ebm.langevin(double_well, x, 60, 0.1, metropolis=True)
    assert stay.diverged == [] and stay.x.isfinite().all()


# ------------------------------------------------------------------ chains


@pytest.mark.parametrize("s, share, T", [(1.0, 0.5, 1.0), (2.0, 1.2, 0.4), (0.3, 0.1, 3.0)])
def test_chains_have_the_stationary_variance(s, share, T):
    torch.manual_seed(0)
    step = share * s**2
    x = ebm.langevin(lambda x: quadratic(x) / s**2, torch.zeros(20_000, 1), 150, step, T).x
    mean, error = monte_carlo(x[:, 0].square())
    assert abs(mean - ebm.stationary_variance(s, step, T)) < 4.5 * error
    assert abs(mean - T * s**2) > 4.5 * error


def test_beyond_the_limit_the_variance_is_infinite():
    assert ebm.stationary_variance(0.5, 0.5) == math.inf
    assert ebm.stationary_variance(0.5, 0.4999) > 100


@pytest.mark.parametrize("T", [1.0, 0.3])
def test_acceptance_is_the_ratio_of_two_gaussians(T):
    """Against torch's normal density, in two dimensions."""
    torch.manual_seed(0)
    x, y = torch.randn(2, 50, 2, dtype=torch.float64)
    step = 0.2
    at, there = ebm.slope(double_well, x), ebm.slope(double_well, y)

    def log_r(new, old, gradient):
        return (
            torch.distributions.Normal(old - step * gradient, math.sqrt(2 * step * T))
            .log_prob(new)
            .sum(1)
        )

    right = (at[0] - there[0]) / T + log_r(x, y, there[1]) - log_r(y, x, at[1])
    found = ebm.log_acceptance(x, y, at, there, step, T)
    check_close(found, right, tolerance=1e-9, what="log ratio")


@pytest.mark.parametrize("step, T", [(0.05, 1.0), (0.12, 0.5)])
def test_metropolis_has_no_bias_in_a_double_well(step, T):
    torch.manual_seed(1)
    start = 0.3 * torch.randn(8000, 1)  # far out a chain hardly moves
    chains = ebm.langevin(double_well, start, 400, step, T, metropolis=True)
    line = torch.linspace(-4, 4, 8001, dtype=torch.float64)[:, None]
    p = (-double_well(line) / T).softmax(0)
    for power in (1, 2):
        mean, error = monte_carlo(chains.x[:, 0].abs() ** power)
        assert abs(mean - (p @ line[:, 0].abs() ** power).item()) < 4.5 * error
    assert 0.3 < chains.accepted < 1


# ------------------------------------------------------------------ objectives


def test_score_is_minus_the_slope_of_the_energy():
    torch.manual_seed(0)
    energy, x = ebm.Energy().double(), torch.randn(7, 2, dtype=torch.float64)
    found, tiny = ebm.score(energy, x), 1e-6
    for i in range(2):
        move = tiny * torch.eye(2, dtype=torch.float64)[i]
        slope = (energy(x + move) - energy(x - move)) / (2 * tiny)
        check_close(found[:, i], -slope.detach(), tolerance=1e-6, what="score")
    check_close(found, -ebm.slope(energy, x)[1], what="slope")


def at_each(values, loss):
    """The loss for each value, from the same random numbers."""
    found = []
    for value in values:
        torch.manual_seed(3)
        found.append(torch.as_tensor(loss(value)).item())
    return np.array(found)


def test_nce_is_least_at_the_density_and_its_constant():
    noise = MultivariateNormal(torch.zeros(2), 2.0 * torch.eye(2))
    shape, right = np.linspace(0.7, 1.3, 13), -math.log(2 * math.pi)
    at_shape = at_each(shape, lambda a: ebm.nce_loss(Shape(a, right + math.log(a)),
                                                     torch.randn(60_000, 2), noise))  # fmt: skip
    assert abs(shape[at_shape.argmin()] - 1) < 0.06
    constants = right + np.linspace(-0.3, 0.3, 13)
    at_constant = at_each(constants, lambda c: ebm.nce_loss(Shape(1.0, c),
                                                            torch.randn(60_000, 2), noise))  # fmt: skip
    assert abs(constants[at_constant.argmin()] - right) < 0.06
    equal = MultivariateNormal(torch.zeros(2), torch.eye(2))
    both = ebm.nce_loss(Shape(1.0, right), torch.randn(100, 2), equal)
    check_close(both, 2 * math.log(2), what="nothing to tell apart: the loss")


@pytest.mark.parametrize("sigma", [0.3, 0.8])
def test_denoising_is_least_at_the_blurred_density(sigma):
    shapes = np.linspace(0.4, 1.2, 33)
    found = at_each(
        shapes, lambda a: ebm.denoising_loss(Shape(a), torch.randn(100_000, 2), sigma).detach()
    )
    assert abs(shapes[found.argmin()] - 1 / (1 + sigma**2)) < 0.04


def test_sliced_loss_is_hyvarinens():
    """By hand for N(0, I) in the plane: E[div g] = -2a, E|g|^2 / 2 = a^2."""
    for a in (0.5, 1.0, 2.0):
        torch.manual_seed(0)
        found = ebm.sliced_loss(Shape(a), torch.randn(200_000, 2)).item()
        assert found == pytest.approx(-2 * a + a**2, abs=0.03)


def test_maximum_likelihood_lowers_the_data_and_raises_the_samples():
    data = torch.full((4, 2), 2.0)
    objective = ebm.Persistent(Shape(1.0), lambda count: data[:count], chains=4, moves=0, hold=0.5)
    objective.x = torch.full((4, 2), 1.0)
    check_close(objective().detach(), 4 - 1 + 0.5 * (16 + 1), what="the loss")
    before = objective.x.clone()
    objective.moves = 3
    objective()
    assert not torch.equal(objective.x, before) and 0 < objective.accepted <= 1


def test_the_loop_fits_and_stops_at_a_loss_that_is_not_finite():
    torch.manual_seed(0)
    energy = Shape(3.0)
    ebm.fit(energy, lambda: ebm.sliced_loss(energy, torch.randn(256, 2)), 120, rate=0.1)
    assert energy.a.item() == pytest.approx(1.0, abs=0.15)
    with pytest.raises(Diverged):
        ebm.fit(energy, lambda: energy.a * math.nan, 3)


def test_smoothed_score_is_the_slope_of_the_blurred_density():
    weights, means = torch.tensor([0.2, 0.5, 0.3]).double(), torch.tensor([-2.0, 0, 1]).double()
    widths = torch.tensor([0.2, 1.0, 0.5]).double()
    y = torch.linspace(-4, 4, 81).double().requires_grad_()
    line = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    for sigma in (0.3, 1.0):
        p = ebm.log_mixture(line, weights, means, widths).exp()
        kernel = torch.distributions.Normal(line, sigma).log_prob(y[:, None]).exp()
        (right,) = torch.autograd.grad((kernel @ p).log().sum(), y)
        found = ebm.smoothed_score(y.detach(), weights, means, widths, sigma)
        check_close(found, right, tolerance=1e-6, what="score at y")


# ------------------------------------------------------------------ residual energies

STATES = torch.cartesian_prod(*8 * [torch.tensor([0.0, 1.0])])


def small_model(seed=0, scale=12.0):
    torch.manual_seed(seed)
    few = STATES[torch.randint(256, (60,))]
    base = trees.fit_trees(few, torch.ones(60, 1), levels=2, cuts=(0, 1))
    model = ebm.Residual(base, 1, columns=8, width=32, dropout=0.0)
    with torch.no_grad():
        model.net[-1].weight *= scale
    return model


def test_log_z_is_the_sum_over_all_states_within_its_error():
    model, off = small_model(), []
    exact = (model.base.log_prob(STATES) + model.f(STATES)).logsumexp(0).item()
    for _ in range(30):
        error, effective = ebm.find_log_z(model, 2000, piece=700)
        off.append((model.log_z - exact) / error)
        assert 1 < effective < 2000
    assert abs(np.mean(off)) < 4.5 / 30**0.5 and 0.6 < np.std(off) < 1.5
    model.log_z = exact
    check_close(model.log_prob(STATES).exp().sum(), 1.0, what="the sum")


def test_resampled_states_follow_p():
    model = small_model(1, 20.0)
    p = (model.base.log_prob(STATES) + model.f(STATES)).softmax(0)
    x = torch.cat([ebm.resample(model, 2000) for _ in range(10)])
    index = (x @ 2.0 ** torch.arange(7, -1, -1)).long()
    seen = torch.bincount(index, minlength=256) / len(x)
    assert 0.5 * (seen - p).abs().sum() < 0.06
    assert 0.5 * (model.base.log_prob(STATES).exp() - p).abs().sum() > 0.12


def test_nce_finds_what_the_base_gets_wrong():
    base, truth = small_model(2, 0.0), small_model(2, 40.0)
    log_p = truth.base.log_prob(STATES) + truth.f(STATES)
    log_p = log_p - log_p.logsumexp(0)
    x = STATES[torch.multinomial(log_p.exp(), 20_000, True)]
    ebm.fit_residual(base, x, 400, rate=5e-3, decay=0.0, hold=0.0)
    base.log_z = (base.base.log_prob(STATES) + base.f(STATES)).logsumexp(0).item()
    kls = [(log_p.exp() * (log_p - other)).sum().item()
           for other in (base.base.log_prob(STATES), base.log_prob(STATES))]  # fmt: skip
    assert kls[0] > 0.03 and kls[1] < 0.15 * kls[0]
    assert abs(base.log_z) < 0.2, "with the offset of the fakes, f is normalised by itself"


def test_what_is_not_ready_or_broken_says_so():
    model = small_model()
    with pytest.raises(ValueError, match="call find_log_z first"):
        model.log_prob(STATES)
    with torch.no_grad():
        model.net[-1].bias.fill_(math.nan)
    with pytest.raises(ValueError, match="f is not finite"):
        ebm.find_log_z(model, 100)


def test_chimeras_and_their_area():
    chimeras_of, area = open_function("chimeras_of"), open_function("area")
    torch.manual_seed(0)
    y = torch.arange(40) % 10
    x = y[:, None].float().repeat(1, 64)
    made = chimeras_of(x, y)
    assert (made[:, :32] == made[:, :1]).all() and (made[:, 32:] == made[:, 32:33]).all()
    assert (made[:, 0] != made[:, 63]).all() and len(made) > 20
    assert area(lambda x: x[:, 0], torch.ones(3, 1), torch.zeros(5, 1)) == 1
    assert area(lambda x: -x[:, 0], torch.ones(3, 1), torch.zeros(5, 1)) == 0


# ------------------------------------------------------------------ exercises

WRONG = {
    2: ("def my_noise(s, step):\n    return (2 * step) ** 0.5", "for s = 1, step 1, v"),
    3: (
        "def my_metropolis(energy, x, steps, width):\n"
        "    for _ in range(steps):\n"
        "        new = x + width * torch.randn_like(x)\n"
        "        take = energy(new) < energy(x)\n"
        "        x = torch.where(take[:, None], new, x)\n"
        "    return x",
        "the variance is 0.0",
    ),
    5: (
        "def my_score_matching(energy, x):\n"
        "    x = x.detach().requires_grad_()\n"
        "    (g,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)\n"
        "    parts = [torch.autograd.grad(g[:, i].sum(), x, create_graph=True)[0][:, i]\n"
        "             for i in range(x.shape[1])]\n"
        "    return (sum(parts) + 0.5 * g.square().sum(1)).mean()",
        "for the energy 1",
    ),
    6: (
        "def my_constant(f_model, f_base):\n    return -f_base.mean()",
        "for log Z = 3",
    ),
}


@pytest.mark.parametrize("number", WRONG)
def test_exercises(number):
    names = {
        "torch": torch, "math": math, "answered": answered, "check_close": check_close,
        "monte_carlo": monte_carlo, "quadratic": quadratic, "double_well": double_well,
    }  # fmt: skip
    exercise_works(NAME, number, names, *WRONG[number])

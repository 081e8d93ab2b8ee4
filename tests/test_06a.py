"""Notebook 06a, with its own definitions: exact truths, wrong input, and the exercises."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from torch import nn
from torch.nn import functional as F

from utils import data
from utils.checks import answered, check_close
from utils.notebooks import definitions
from utils.results import recorded

diffusion = definitions("06a_diffusion")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def line_mixture():
    centres = torch.tensor([[-1.5], [0.3], [1.6]], dtype=torch.float64)
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    return diffusion.NoisedMixture(centres, 0.25, weights)


def test_three_forms_are_one():
    x, eps, t = torch.randn(6, 1, 4, 4), torch.randn(6, 1, 4, 4), torch.rand(6)
    alpha, sigma = diffusion.alpha_sigma(t[:, None, None, None])
    x_t, v = diffusion.noised(x, t, eps), alpha * eps - sigma * x
    found = diffusion.forms(x_t, v, t)
    check_close(found[0], x, tolerance=1e-4)
    check_close(found[1], eps, tolerance=1e-4)


def test_score_is_the_gradient_of_the_density_of_noised_samples():
    mixture = line_mixture()
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None].requires_grad_()
    for t in (0.1, 0.5, 1.0):
        truth = torch.autograd.grad(mixture.log_prob(x, t).sum(), x)[0]
        check_close(mixture.score(x.detach(), t), truth)
    which = torch.multinomial(mixture.log_weights.exp(), 200_000, replacement=True)
    data_x = mixture.centres[which] + 0.25 * torch.randn(200_000, 1, dtype=torch.float64)
    x_t = diffusion.noised(data_x, 0.5, torch.randn_like(data_x))
    check_close((x_t < 0).double().mean(), cdf_at_zero(mixture, 0.5), tolerance=5e-3)


def cdf_at_zero(mixture, t):
    grid = torch.linspace(-8, 0, 4001, dtype=torch.float64)[:, None]
    return torch.trapezoid(mixture.log_prob(grid, t).exp(), grid[:, 0])


def test_velocity_moves_the_density():
    """The continuity equation: d log p / dt + v' + v d log p / dx = 0, with the clock."""
    mixture = line_mixture()
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    t, h = 0.4, 1e-5
    change = (mixture.log_prob(x, t + h) - mixture.log_prob(x, t - h)) / (2 * h)
    slope = (mixture(x + h, t) - mixture(x - h, t)) / (2 * h)
    total = math.pi / 2 * (slope + mixture(x, t) * mixture.score(x, t))[:, 0]
    check_close(change + total, torch.zeros(9), tolerance=1e-4)


def test_fresh_noise_keeps_the_variance_and_stops_at_the_end():
    t, s = torch.tensor(0.7), torch.tensor(0.4)
    assert 0 < diffusion.fresh_sd(t, s) < diffusion.alpha_sigma(s)[1]
    assert diffusion.fresh_sd(t, torch.tensor(0.0)) == 0
    x, eps = torch.randn(2, 200_000, 1)
    x_t = diffusion.noised(x, 0.7, eps)
    v = diffusion.alpha_sigma(t)[0] * eps - diffusion.alpha_sigma(t)[1] * x
    moved = diffusion.move(x_t, v, t, s, diffusion.fresh_sd(t, s), torch.randn_like(x))
    alpha, sigma = diffusion.alpha_sigma(s)
    check_close((moved - alpha * x).var(), sigma**2, tolerance=0.02)


def test_sampler_and_carried_density_agree():
    mixture = line_mixture()
    edges = torch.linspace(-4.5, 4.5, 601, dtype=torch.float64)
    for eta in (0.0, 0.5):
        cells = diffusion.carried(mixture, 6, eta, edges)
        z = torch.randn(100_000, 1, dtype=torch.float64)
        drawn = diffusion.sample(mixture, z, 6, eta)[:, 0]
        counted = torch.histc(drawn, 20, -4.5, 4.5) / len(drawn)
        check_close(cells.reshape(20, 30).sum(1), counted, tolerance=6e-3)


def test_ode_density_is_that_of_the_data():
    ring = data.densities()["gaussians"]
    exact = diffusion.NoisedMixture(ring.centres, ring.sd)
    x = ring.sample(100).double()
    check_close(diffusion.ode_log_prob(exact, x, 60), ring.log_prob(x), tolerance=5e-3)


def test_bound_is_a_mean_over_orders():
    table = torch.randn(3**3, 3, 2, dtype=torch.float64).log_softmax(-1)
    images = torch.tensor(list(itertools.product(range(2), repeat=3)))

    def log_p(seen):
        row = (torch.where(seen, images, 2) * 3 ** torch.arange(3)).sum(1)
        return table[row].gather(2, images[..., None])[..., 0]

    by_order = 0
    for order in itertools.permutations(range(3)):
        seen = torch.zeros(8, 3, dtype=torch.bool)
        for pixel in order:
            by_order = by_order - log_p(seen)[:, pixel] / 6
            seen[:, pixel] = True
    by_sets = 0
    for hidden in itertools.product([False, True], repeat=3):
        if m := sum(hidden):
            seen = ~torch.tensor(hidden).expand(8, 3)
            by_sets = by_sets + diffusion.masked_loss(log_p(seen), seen) / 3 / math.comb(3, m)
    check_close(by_sets, by_order)
    numbers = diffusion.draw_seen(64 * 50, 64).sum(1)
    assert numbers.bincount(minlength=64).tolist() == [50] * 64


def test_masked_network_does_not_look_at_hidden_pixels():
    net = diffusion.MaskedNet(8, 2).eval()
    nn.init.normal_(net.leave.weight)
    x, seen = torch.randint(0, 17, (4, 64)).float(), diffusion.draw_seen(4, 64)
    other = torch.where(seen, x, torch.randint(0, 17, (4, 64)).float())
    for a, b in zip(net.told(x, seen), net.told(other, seen)):
        assert torch.equal(a, b)
    levels = torch.arange(17.0)
    total = sum(net(torch.where(seen, x, level), seen).exp() for level in levels)
    check_close(total[~seen], torch.ones(int((~seen).sum())), tolerance=1e-3)
    filled = diffusion.uncover(net, x, seen, 5)
    assert torch.equal(filled[seen], x[seen]) and filled.min() >= 0 and filled.max() <= 16


def test_gaussian_start_is_the_gaussian_posterior():
    x, y = torch.randn(300, 3) @ torch.randn(3, 3), torch.arange(300) % 10
    start = diffusion.GaussianStart(x, y)
    covariance = (x - start.means[y]).T.cov()
    points, labels = torch.randn(5, 3), torch.tensor([0, 3, 9, 10, 1])
    alpha, sigma = diffusion.alpha_sigma(torch.tensor(0.3))
    whole = alpha**2 * covariance + sigma**2 * torch.eye(3)
    gain = alpha * covariance @ torch.linalg.inv(whole)
    mean = start.means[labels] + (points - alpha * start.means[labels]) @ gain.T
    found = diffusion.forms(points, start(points, 0.3, labels), 0.3)[0]
    check_close(found, mean, tolerance=1e-3)


def test_guidance_weight_one_is_none_and_zero_is_no_class():
    def net(x, t, y):
        return x * y[:, None]

    x, y = torch.randn(4, 2), torch.tensor([1, 2, 3, 4])
    for w, expected in [(1.0, x * y[:, None]), (0.0, 10 * x),
                        (3.0, 10 * x + 3 * (x * y[:, None] - 10 * x))]:  # fmt: skip
        check_close(diffusion.guided(net, y, w)(x, 0.5), expected)


def test_optimal_denoiser_copies():
    points = torch.randn(50, 1, 4, 4)
    made = diffusion.sample(diffusion.optimal(points), torch.randn(40, 1, 4, 4), 30)
    nearest = torch.cdist(made.flatten(1), points.flatten(1)).min(1).values
    assert nearest.max() < 1e-2
    as_mixture = diffusion.NoisedMixture(points.flatten(1).double(), 1e-5)
    x = torch.randn(6, 16, dtype=torch.float64)
    for t in (0.5, 0.9):
        found = diffusion.optimal(points.double())(x.view(6, 1, 4, 4), t)
        check_close(found.flatten(1), as_mixture(x, t), tolerance=1e-4)


def test_wrong_input_is_named():
    x = torch.randn(3, 2)
    for bad, told in [
        (lambda: diffusion.noised(x, 1.5, x), "0 .data. to 1"),
        (lambda: diffusion.noised(x * math.nan, 0.5, x), "NaN"),
        (lambda: diffusion.noised(x, 0.5, x[:2]), "noise of shape"),
        (lambda: diffusion.sample(None, x, 0), "at least one step"),
        (lambda: diffusion.sample(None, x, 5, 2.0), "from 0"),
        (lambda: diffusion.PlaneNet(2, 0.0), "do they vary"),
        (lambda: diffusion.NoisedMixture(x, 1, torch.tensor([0.5, 0.5, 0.5])), "sum to one"),
        (lambda: diffusion.masked_loss(x, torch.ones(3, 2).bool()), "no hidden pixel"),
        (lambda: diffusion.bound(None, torch.rand(3, 64), 1), "whole numbers"),
        (lambda: diffusion.guided(None, torch.tensor([11])), "0 to 9"),
    ]:
        with pytest.raises(ValueError, match=told):
            bad()
    net = diffusion.UNet(diffusion.GaussianStart(torch.rand(30, 784), torch.arange(30) % 10), 8, 1)
    with pytest.raises(ValueError, match="28, 28"):
        net(torch.zeros(2, 1, 32, 32), 0.5, torch.tensor([1, 2]))


names = {**vars(diffusion), "torch": torch, "math": math, "np": np, "F": F,
         "answered": answered, "check_close": check_close}  # fmt: skip


@pytest.mark.parametrize(
    "number, wrong, where",
    [
        (1, "def my_velocity(x_t, eps, t):\n    return eps - x_t", "at t = 0.0 the velocity"),
        (2, "def my_fresh_sd(t, s):\n    return math.sin(math.pi / 2 * s)", "the sd"),
        (4, "def my_masked_loss(log_p, seen):\n    return -(log_p * seen).sum(1)", "the bound"),
        (6, "def my_posterior_mean(x_t, points, alpha, sigma):\n    return points.mean(0)",
         "at t = 0.9"),
    ],
)  # fmt: skip
def test_exercise(number, wrong, where):
    exercise_works("06a_diffusion", number, names, wrong, where)


def test_what_the_text_says_of_all_seeds():
    """The order of the bounds, the Fréchet distance beside the GAN's, and what guidance does."""

    def mean(notebook, key):
        return np.mean([run[key] for run in recorded(notebook).values()])

    for run in recorded("06a_diffusion").values():
        assert mean("02c_image_flows", "writers_test_nats") < run["bound_test_nats"]
        assert mean("02c_image_flows", "flow_test_nats") < run["bound_test_nats"]
        assert run["bound_test_nats"] < mean("03a_vae", "test_elbo_nats")
        assert 1.5 * mean("04d_conditional_gan", "frechet") < run["frechet"] < 3
        assert run["recall"] < mean("04d_conditional_gan", "recall")
        assert run["asked_w1_percent"] + 5 < run["asked_w4_percent"]
        assert run["recall_w4"] + 0.3 < run["recall_w1"]
        assert run["kl_last_noise_nats"] < run["kl_posterior_nats"]

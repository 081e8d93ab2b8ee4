"""Notebook 04b, with its own definitions: what holds for any weights, and the exercises."""

import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from scipy.stats import wasserstein_distance
from torch import nn
from torch.nn import functional as F

from utils.checks import answered, check_close
from utils.data import densities
from utils.data.densities import Mixture
from utils.notebooks import definitions

gan = definitions("04b_gan_failures")
grid = densities()["grid"]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------ counting modes


def test_true_samples_reach_the_ceiling():
    modes, share, kl = gan.score(grid.sample(50_000), grid)
    assert modes == 25 and abs(share - (1 - math.exp(-4.5))) < 0.003 and kl < 0.001


def test_shares_enter_the_reverse_kl():
    """Three samples on one mode, one on another, four that are no mode's."""
    at = grid.centres[torch.tensor([3, 3, 3, 20])].float()
    modes, share, kl = gan.score(torch.cat([at, torch.ones(4, 2)]), grid)
    assert modes == 2 and share == 0.5
    check_close(kl, math.log(25) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25))


def test_three_standard_deviations_are_the_limit():
    near, far = (
        grid.centres[0] + torch.tensor([0.149, 0]),
        grid.centres[0] + torch.tensor([0.151, 0]),
    )
    assert gan.score(torch.stack([near, far]), grid)[:2] == (1, 0.5)


def test_one_mode_is_told():
    x = grid.centres[7].float() + 0.01 * torch.randn(500, 2)
    modes, share, kl = gan.score(x, grid)
    assert modes == 1 and share == 1 and abs(kl - math.log(25)) < 1e-6


def test_samples_between_modes_do_not_count():
    x = grid.centres.float() + 1.0
    modes, share, kl = gan.score(x, grid)
    assert modes == 0 and share == 0 and math.isnan(kl)


@pytest.mark.parametrize(
    "x, message",
    [
        (torch.zeros(5, 3), "shape"),
        (torch.zeros(5), "shape"),
        (torch.full((5, 2), math.nan), "NaN"),
    ],
)
def test_scores_refuse_what_is_no_sample(x, message):
    with pytest.raises(ValueError, match=message):
        gan.score(x, grid)


# ------------------------------------------------------------------ the players


def test_generator_and_discriminator_say_what_they_need():
    with pytest.raises(ValueError, match="noise has to be of shape"):
        gan.Generator()(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="multiple of 2"):
        gan.Discriminator(pack=2)(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="images have to be"):
        gan.ImageDiscriminator(True)(torch.zeros(4, 64))


def test_packing_sees_two_points_at_once():
    discriminator = gan.Discriminator(pack=2)
    x = torch.randn(6, 2)
    logits = discriminator(x)
    moved = x.clone()
    moved[1] += 1.0
    assert logits.shape == (3,)
    assert (discriminator(moved) != logits).tolist() == [True, False, False]


def test_waves_are_drawn_once_and_not_trained():
    discriminator = gan.Discriminator(features=16)
    assert "waves" in discriminator.state_dict()
    assert "waves" not in dict(discriminator.named_parameters())


def test_patch_logits_have_a_receptive_field_of_four_by_four_pixels():
    discriminator = gan.ImageDiscriminator(True)
    x = torch.zeros(1, 1, 8, 8, requires_grad=True)
    logits = discriminator(x)
    assert logits.shape == (1, 25)
    seen = torch.autograd.grad(logits[0, 6], x)[0][0, 0] != 0
    rows, columns = np.nonzero(seen.numpy())
    assert rows.min() >= 1 and rows.max() <= 4 and columns.min() >= 1 and columns.max() <= 4
    assert gan.ImageDiscriminator(False)(x).shape == (1, 1)


# ------------------------------------------------------------------ bounded slopes


def test_spectral_norm_finds_the_largest_singular_value():
    layer = gan.Spectral(nn.Linear(30, 20), rounds=200)
    layer(torch.randn(4, 30))
    check_close(layer.sigma(), torch.linalg.svdvals(layer.layer.weight)[0], tolerance=1e-3)


def test_spectrally_normalised_network_is_one_lipschitz():
    critic = gan.mlp(2, 32, 1, 2, wrap=lambda layer: gan.Spectral(layer, rounds=100))
    slopes = gan.gradient_norm(critic, 3 * torch.randn(2000, 2))
    assert slopes.max() <= 1.001


def test_gradient_norm_is_that_of_a_known_function():
    x = torch.randn(50, 2)
    check_close(gan.gradient_norm(lambda p: p.square().sum(1), x), 2 * x.norm(dim=1))


def test_points_between_lie_between():
    x, fake = torch.zeros(100, 2), torch.ones(100, 2)
    middle = gan.between(x, fake)
    assert (middle > 0).all() and (middle < 1).all()
    check_close(middle[:, 0], middle[:, 1])


def test_r1_pays_for_slopes_at_real_samples_only():
    class Corner(nn.Module):
        """Steep for negative coordinates, flat elsewhere."""

        scale = 2.0

        def forward(self, x):
            return -3 * F.relu(-x[:, 0])

    x, fake = torch.rand(40, 2) + 1, -torch.rand(40, 2) - 1
    for real, generated, expected in [(x, fake, 0.0), (fake, x, 0.5 * 0.4 * 9 * 4)]:
        loss = gan.discriminator_loss(Corner(), real, generated, r1=0.4)
        check_close(loss - gan.discriminator_loss(Corner(), real, generated), expected)


def test_losses_of_known_logits():
    """Logit x1: 2 at the real points, -1 at the fakes."""

    class First(nn.Module):
        scale = 1.0

        def forward(self, x):
            return x[:, 0]

    x, fake = torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    logistic = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))
    check_close(gan.discriminator_loss(First(), x, fake), logistic)
    check_close(gan.discriminator_loss(First(), x, fake, critic=True), -3.0)


def test_rate_rests_then_falls_to_zero():
    parts = np.linspace(0, 1, 101)
    rates = [gan.rate(part) for part in parts]
    assert rates[0] == rates[29] == 1 and abs(rates[-1]) < 1e-9 and (np.diff(rates) <= 1e-12).all()


def test_clipping_holds_every_weight():
    blob = Mixture("blob", [[0.0, 0.0]], 1.0, 3.0)
    pair = gan.Generator(hidden=8), gan.Discriminator(hidden=8)
    run, mean, shots = gan.fit(*pair, blob, 6, critic=True, clip=0.02, batch=16, d_steps=2, every=3)
    assert all(weight.abs().max() <= 0.02 for weight in pair[1].parameters())
    assert run.step == 5 and len(shots) == 2 and shots[0].shape == (2500, 2)
    assert not any(weight.requires_grad for weight in mean.parameters())


@pytest.mark.parametrize("critic", [False, True])
def test_generator_goes_where_the_discriminator_says_real(monkeypatch, critic):
    """A discriminator that never learns and calls real what lies right: the samples go right."""

    class Right(nn.Module):
        scale = 1.0

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([1.0, 0.0]))

        def forward(self, x):
            return x @ self.weight

    generator = gan.Generator(hidden=8)
    monkeypatch.setitem(
        gan.fit.__globals__, "discriminator_loss", lambda d, x, fake, **_: 0 * d(fake).sum()
    )
    z = generator.noise(500)
    before = generator(z).mean(0)
    blob = Mixture("blob", [[0.0, 0.0]], 1.0, 3.0)
    gan.fit(generator, Right(), blob, 20, critic=critic, batch=32)
    assert generator(z).mean(0)[0] > before[0] + 0.1


def test_lazy_penalty_is_paid_rarely_and_in_full(monkeypatch):
    told, honest = [], gan.discriminator_loss

    def loss(*args, **kwargs):
        told.append((kwargs["r1"], args[1], args[2].requires_grad))
        return honest(*args, **kwargs)

    monkeypatch.setitem(gan.fit.__globals__, "discriminator_loss", loss)
    place = Mixture("place", [[3.0, -7.0]], 0.0, 8.0)
    gan.fit(gan.Generator(hidden=8), gan.Discriminator(hidden=8), place, 8, r1=0.1, batch=4)
    assert [round(r1, 6) for r1, _, _ in told] == [0.4, 0, 0, 0, 0.4, 0, 0, 0]
    for _, real, attached in told:
        check_close(real, torch.tensor([[3.0, -7.0]]).repeat(4, 1))
        assert not attached, "the fakes of the discriminator's step are detached"


def test_average_is_exact_at_both_ends():
    blob = Mixture("blob", [[0.0, 0.0]], 1.0, 3.0)
    for average, steps in [(0.0, 5), (1.0, 1)]:
        generator = gan.Generator(hidden=8)
        start = [p.detach().clone() for p in generator.parameters()]
        _, mean, _ = gan.fit(
            generator, gan.Discriminator(hidden=8), blob, steps, average=average, batch=8
        )
        for slow, fast, old in zip(mean.parameters(), generator.parameters(), start):
            # the first step keeps a tenth, whatever `average` is
            expected = fast if average == 0 else 0.1 * old + 0.9 * fast
            check_close(slow, expected, tolerance=1e-6)


def test_a_single_gaussian_is_learned():
    """The whole loop, on the easiest target: mean and spread come out."""
    blob = Mixture("blob", [[1.0, -2.0]], 0.5, 3.0)
    pair = gan.Generator(hidden=32, depth=2), gan.Discriminator(hidden=32)
    _, mean, _ = gan.fit(*pair, blob, 400, r1=0.1, falling=True, batch=128)
    x = mean.sample(5000)
    check_close(x.mean(0), torch.tensor([1.0, -2.0]), tolerance=0.1)
    assert x.std(0).min() > 0.3 and x.std(0).max() < 0.7


# ------------------------------------------------------------------ exercises


def scope():
    """What the checkers see."""
    names = dict(vars(gan), check_close=check_close, answered=answered, math=math)
    return names | {"wasserstein_distance": wasserstein_distance}


WRONG = {
    2: (
        "def my_soft_logit(log_p, log_q, soft):\n    return (1 - 2 * soft) * (log_p - log_q)",
        "targets 0.9 and 0.1",
    ),
    3: (
        "def my_expected_modes(shares, quality, count):\n"
        "    return (count * quality * shares).clamp(max=1).sum()",
        "with two samples",
    ),
    4: (
        "def my_wasserstein(x, y):\n    n = min(len(x), len(y))\n"
        "    return (x.sort().values[:n] - y.sort().values[:n]).abs().mean()",
        "W1 of",
    ),
    5: (
        "def my_packed_distance(p, q, pack):\n"
        "    return 1 - (1 - 0.5 * (p - q).abs().sum()) ** pack",
        "uneven shares, packs of two",
    ),
}


@pytest.mark.parametrize("number", list(WRONG))
def test_exercise(number):
    exercise_works("04b_gan_failures", number, scope(), *WRONG[number])

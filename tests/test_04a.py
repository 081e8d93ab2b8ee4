"""Notebook 04a, with its own definitions: what holds for any weights, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works
from torch import nn
from torch.nn import functional as F

from utils.checks import answered, check_close
from utils.notebooks import definitions

gan = definitions("04a_gan")


@pytest.fixture
def game():
    return gan.Game().double()


def state(seed=0, steps=20.0, size=0.1, loss=1.0):
    """A random state of the game with particles inside the grid."""
    torch.manual_seed(seed)
    settings = torch.tensor([steps, size, loss])
    particles = (1.5 * torch.randn(24)).clamp(-2.8, 2.8)
    return torch.cat([settings, particles, torch.randn(35), torch.rand(33)])[None].double()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_gradients_are_autograds(game, seed):
    _, c, w, heights = game.split(state(seed))
    p = game.real(heights)
    w, c = w.requires_grad_(), c.clone().requires_grad_()
    value = game.value(w, p, game.made(c).detach())
    check_close(
        game.gradient_d(w, p, game.made(c)), torch.autograd.grad(value, w)[0], tolerance=1e-8
    )
    logit = (game.phi @ w).detach()
    for kind, loss in [(1.0, F.softplus(-logit)), (0.0, -F.softplus(logit))]:
        downhill = -torch.autograd.grad((game.kernel(c) @ loss).sum(), c)[0]
        check_close(game.arrows(w, c, kind), downhill, tolerance=1e-3)


def test_densities_are_densities(game):
    u = state(3)
    shown = game(u)
    for name in ("p", "q"):
        check_close(shown[name][:, 1].sum() * 0.05, 1.0, tolerance=1e-6)
        assert (shown[name][:, 1] >= 0).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_discriminator_beats_the_divergence(game, seed):
    """V <= 2 JSD - log 4 for every discriminator, with equality at log p/q."""
    value, bound, divergence = game(state(seed))["numbers"]
    assert value < bound and 0 <= divergence <= math.log(2)
    check_close(bound, 2 * divergence - math.log(4), tolerance=1e-6)


def test_step_d_raises_the_value_and_leaves_the_rest():
    game, u = gan.Game(), state(4).float()
    u[:, 27:62] = 0
    after = game(u)["after_d"]
    assert game(after)["numbers"][0] > game(u)["numbers"][0]
    assert torch.equal(after[:, :27], u[:, :27]) and torch.equal(after[:, 62:], u[:, 62:])
    fewer = u.clone()
    fewer[:, 0] = 5
    p, q = game.real(u[0, 62:]), game.made(u[0, 3:27])
    w = u[0, 27:62]
    for _ in range(5):
        w = w + 3.0 * (game.gradient_d(w, p, q) - 0.002 * w)
    check_close(game(fewer)["after_d"][0, 27:62], w, tolerance=1e-5)


def test_step_g_moves_particles_by_their_arrows():
    game, u = gan.Game(), state(5).float()
    shown = game(u)
    check_close(shown["arrows"][:, 2] / 3, shown["after_g"][0, 3:27] - u[0, 3:27], tolerance=1e-4)
    assert torch.equal(shown["after_g"][:, 27:], u[:, 27:])


def test_game_ends_where_the_densities_agree():
    game, u = gan.Game(), state(6).float()
    places = game.places
    u[0, 62:] = torch.exp(-0.5 * ((places - 0.5) / 0.8) ** 2)
    u[0, 3:27] = torch.linspace(-1, 1, 24)
    u[0, 27:62] = 0
    for _ in range(60):
        u = game(game(u)["after_d"])["after_g"]
    assert game(u)["numbers"][2] < 0.01


def test_game_names_a_wrong_state(game):
    with pytest.raises(ValueError, match=r"\(1, 95\)"):
        game(torch.zeros(1, 94))


# ------------------------------------------------------------------ two networks


def test_generator_stays_in_its_bounds():
    torch.manual_seed(0)
    bounded = gan.Generator(3, 5, 16, shift=8.0, scale=8.0, bounded=True)
    for layer in bounded.net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=3.0)
    x = bounded.sample(500)
    assert x.shape == (500, 5) and not x.requires_grad
    assert x.min() >= 0 and x.max() <= 16 and x.std() > 1


def test_penalty_is_the_slope_in_units_of_scale():
    """A logit w.(x - shift)/scale has slope w in those units, whatever the scale."""
    for scale in (1.0, 8.0):
        judge = gan.Discriminator(4, 8, shift=2.0, scale=scale)
        judge.net = nn.Linear(4, 1)
        _, penalty = gan.discriminator_loss(judge, torch.randn(9, 4), torch.randn(9, 4), gamma=3.0)
        check_close(penalty, 1.5 * judge.net.weight.square().sum(), tolerance=1e-5)


def test_losses_are_those_of_the_logits():
    torch.manual_seed(1)
    judge = gan.Discriminator(2, 16)
    real, made = torch.randn(40, 2), torch.randn(40, 2)
    loss, _ = gan.discriminator_loss(judge, real, made, gamma=0.0)
    D, E = judge(real).sigmoid(), judge(made).sigmoid()
    check_close(loss, -(D.log().mean() + (1 - E).log().mean()), tolerance=1e-5)
    check_close(gan.generator_loss(judge, made), -E.log().mean(), tolerance=1e-5)


def test_gradient_reaches_the_generator_and_its_samples_none():
    torch.manual_seed(2)
    generator, judge = gan.Generator(2, 2, 16), gan.Discriminator(2, 16)
    gan.generator_loss(judge, generator(generator.noise(8))).backward()
    assert all(p.grad.abs().sum() > 0 for p in generator.net.parameters())
    generator.zero_grad()
    loss, _ = gan.discriminator_loss(judge, torch.randn(8, 2), generator(generator.noise(8)), 1.0)
    loss.backward()
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in generator.parameters())


def test_wrong_input_is_named():
    generator, judge = gan.Generator(3, 2, 8), gan.Discriminator(2, 8)
    with pytest.raises(ValueError, match=r"\(B, 3\)"):
        generator(torch.randn(5, 2))
    with pytest.raises(ValueError, match=r"\(B, 2\)"):
        judge(torch.randn(5, 3))
    with pytest.raises(ValueError, match="NaN"):
        judge(torch.tensor([[0.0, math.nan]]))


def test_turned_axes_are_used():
    torch.manual_seed(3)
    generator = gan.Generator(4, 64, 8, shift=8.0, scale=8.0, bounded=True)
    turn = torch.linalg.qr(torch.randn(4, 4))[0]
    live = gan.GeneratorWithReader(generator, turn, torch.randn(10, 64), torch.randn(10))
    u = torch.randn(1, 4)
    out = live(u)
    check_close(16 * out["image"].reshape(1, 64), generator(u @ turn.T), tolerance=1e-5)
    check_close(out["read"].sum(), 1.0)


# ------------------------------------------------------------------ exercises

WRONG = {
    1: (
        "def my_best_logit(log_p, log_q, share):\n    return log_p - log_q + math.log(share)",
        "equal heaps",
    ),
    2: (
        "def my_jsd(real_logits, made_logits):\n"
        "    D, E = real_logits.sigmoid(), made_logits.sigmoid()\n"
        "    return 0.5 * (D.log().mean() + (1 - E).log().mean() - math.log(4))",
        "N\\(2, 1\\)",
    ),
    3: ("def my_pull(x, mu, sigma):\n    return (x - mu) / sigma - x", "sigma = 0.5"),
    4: (
        "def my_hinge(real_logits, made_logits):\n"
        "    return (1 - real_logits).mean() + (1 + made_logits).mean(), -made_logits.mean()",
        "discriminator's loss",
    ),
}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_exercise(number):
    names = dict(vars(gan), math=math, check_close=check_close, answered=answered)
    exercise_works("04a_gan", number, names, *WRONG[number])

"""Notebook 04a, with its own definitions: what holds for any weights, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works
from torch import nn
from torch.nn import functional as F

from utils.checks import answered, check_close
from utils.notebooks import cells, definitions, source

gan = definitions("04a_gan")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def taken_from(start, *more):
    """The notebook's functions in the cell that begins so, with the names they need."""
    names = dict(vars(gan)) | dict(more)
    exec(next(source(c) for c in cells("04a_gan") if source(c).startswith(start)), names)
    return names


# ------------------------------------------------------------------ the game


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


def test_best_discriminator_shown_is_the_ratio_and_reaches_the_bound(game):
    shown = game(state(5))
    p, q = (shown[name][:161, 1] * 0.05 for name in ("p", "q"))
    best = shown["best"][0, :, 1]
    seen = (p > 1e-3) & (q > 1e-3)
    check_close(best[seen], (p / (p + q))[seen], tolerance=0.01)
    reached = torch.special.xlogy(p, p / (p + q)) + torch.special.xlogy(q, q / (p + q))
    check_close(reached.sum(), shown["numbers"][1], tolerance=1e-6)


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


def test_particles_and_data_are_as_described(game):
    """A particle's samples have sd 0.3; the data follow the drawn heights, straight in between."""
    c = torch.tensor([-1.0, 0.0, 2.0] * 8).double()
    k = game.kernel(c)
    mean = k @ game.x
    check_close(mean, c, tolerance=1e-3)
    check_close(
        (k @ game.x.square() - mean.square()).sqrt(), torch.full((24,), 0.3), tolerance=1e-3
    )
    heights = torch.rand(33).double() + 0.1
    p = game.real(heights)
    check_close(p[::5] / p[0], (heights + 1e-4) / (heights[0] + 1e-4), tolerance=1e-5)
    check_close(p[2], 0.6 * p[0] + 0.4 * p[5], tolerance=1e-6)


# ------------------------------------------------------------------ two networks


def test_noise_is_gaussian_and_data_are_shifted_and_scaled():
    generator = gan.Generator(3, 2, 8, shift=5.0, scale=2.0)
    z = generator.noise(20_000)
    assert z.mean(0).abs().max() < 0.05 and (z.std(0) - 1).abs().max() < 0.03 and z.min() < -2.5
    check_close(generator(z), 5 + 2 * generator.net(z))
    discriminator = gan.Discriminator(2, 8, shift=5.0, scale=2.0)
    x = torch.randn(6, 2)
    check_close(discriminator(x), discriminator.net((x - 5) / 2)[:, 0])


def test_generator_stays_in_its_bounds():
    bounded = gan.Generator(3, 5, 16, shift=8.0, scale=8.0, bounded=True)
    for layer in bounded.net:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=3.0)
    x = bounded.sample(500)
    assert x.shape == (500, 5) and not x.requires_grad
    assert x.min() >= 0 and x.max() <= 16 and x.std() > 1


def test_slope_counts_in_units_of_scale():
    """A logit w.(x - shift)/scale has slope w in those units, whatever the scale."""
    for scale in (1.0, 8.0):
        discriminator = gan.Discriminator(4, 8, shift=2.0, scale=scale)
        discriminator.net = nn.Linear(4, 1)
        slope = gan.squared_slope(discriminator, torch.randn(9, 4))
        check_close(slope, discriminator.net.weight.square().sum().expand(9), tolerance=1e-5)


def test_losses_are_those_of_the_logits():
    discriminator = gan.Discriminator(2, 16)
    real, made = torch.randn(40, 2), 1 + torch.randn(40, 2)
    loss = gan.discriminator_loss(discriminator, real, made)
    D, E = discriminator(real).sigmoid(), discriminator(made).sigmoid()
    check_close(loss, -(D.log().mean() + (1 - E).log().mean()), tolerance=1e-5)
    check_close(gan.generator_loss(discriminator, made), -E.log().mean(), tolerance=1e-5)


def test_gradient_reaches_the_generator_and_its_samples_none():
    generator, discriminator = gan.Generator(2, 2, 16), gan.Discriminator(2, 16)
    gan.generator_loss(discriminator, generator(generator.noise(8))).backward()
    assert all(p.grad.abs().sum() > 0 for p in generator.net.parameters())
    generator.zero_grad()
    gan.discriminator_loss(
        discriminator, torch.randn(8, 2), generator(generator.noise(8))
    ).backward()
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in generator.parameters())


def test_wrong_input_is_named():
    generator, discriminator = gan.Generator(3, 2, 8), gan.Discriminator(2, 8)
    with pytest.raises(ValueError, match=r"\(B, 3\)"):
        generator(torch.randn(5, 2))
    with pytest.raises(ValueError, match=r"\(B, 2\)"):
        discriminator(torch.randn(5, 3))
    with pytest.raises(ValueError, match="NaN"):
        discriminator(torch.tensor([[0.0, math.nan]]))


def test_rotated_axes_are_used():
    generator = gan.Generator(4, 64, 8, shift=8.0, scale=8.0, bounded=True)
    rotation = torch.linalg.qr(torch.randn(4, 4))[0]
    live = gan.GeneratorWithClassifier(generator, rotation, torch.randn(10, 64), torch.randn(10))
    u = torch.randn(1, 4)
    out = live(u)
    check_close(16 * out["image"].reshape(1, 64), generator(u @ rotation.T), tolerance=1e-5)
    check_close(out["read"].sum(), 1.0)


# ------------------------------------------------------------------ the loops


def small_pair():
    return gan.Generator(2, 2, 8), gan.Discriminator(2, 8)


def at_one_place(count):
    """Real data that can be told from all that is made."""
    return torch.tensor([[3.0, -7.0]]).repeat(count, 1)


@pytest.mark.parametrize("loop", ["play", "play_plain"])
def test_loop_improves_both_players_in_their_own_sense(loop):
    """One step of each, from the same weights, lowers each player's own loss on the same batch."""
    generator, discriminator = small_pair()
    losses = {}
    g_loss, d_loss = gan.generator_loss, gan.discriminator_loss
    z = generator.noise(64)
    losses["before"] = (
        g_loss(discriminator, generator(z)).item(),
        d_loss(discriminator, at_one_place(64), generator(z)).item(),
    )
    before = [p.clone() for p in generator.parameters()]
    getattr(gan, loop)(generator, discriminator, at_one_place, steps=1)
    after_d = d_loss(discriminator, at_one_place(64), generator(z)).item()
    moved = [p.clone() for p in generator.parameters()]
    now = g_loss(discriminator, generator(z)).item()
    for weight, old in zip(generator.parameters(), before):
        weight.data.copy_(old)
    assert after_d < losses["before"][1]
    assert now < g_loss(discriminator, generator(z)).item()
    assert any(not torch.equal(a, b) for a, b in zip(before, moved))


def test_r1_is_paid_at_real_data(monkeypatch):
    seen, honest = [], gan.squared_slope
    monkeypatch.setitem(
        gan.play.__globals__, "squared_slope", lambda d, x: seen.append(x) or honest(d, x)
    )
    _, run = gan.play(*small_pair(), at_one_place, steps=3, batch=5)
    assert len(seen) == 3 and all(torch.equal(x, at_one_place(5)) for x in seen)
    assert torch.equal(torch.cat(run.drawn), at_one_place(15))


def test_discriminator_pays_half_of_gamma_times_the_squared_slope(monkeypatch):
    """Logit x1, real data at x1 = 3, all samples at 0."""
    generator, discriminator = small_pair()
    for weight in generator.parameters():
        nn.init.zeros_(weight)
    discriminator.net = nn.Linear(2, 1)
    discriminator.net.weight.data = torch.tensor([[1.0, 0.0]])
    nn.init.zeros_(discriminator.net.bias)
    paid, honest = [], torch.Tensor.backward
    monkeypatch.setattr(
        torch.Tensor, "backward", lambda loss: paid.append(loss.item()) or honest(loss)
    )
    gan.play(generator, discriminator, at_one_place, steps=1, gamma=0.8, lr=0.0)
    logistic = math.log(1 + math.exp(-3)) + math.log(2)
    check_close(paid, [logistic + 0.4, math.log(2)])


def test_r1_holds_the_slope_down():
    ends = {}
    for gamma in (0.0, 10.0):
        torch.manual_seed(0)
        _, discriminator = pair = small_pair()
        gan.play(*pair, at_one_place, steps=100, gamma=gamma)
        ends[gamma] = gan.squared_slope(discriminator, at_one_place(5)).mean().item()
    assert ends[10.0] < 0.5 * ends[0.0]


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_average_is_exact_at_both_ends(keep):
    generator, discriminator = small_pair()
    start = [p.clone() for p in generator.parameters()]
    average, _ = gan.play(generator, discriminator, at_one_place, steps=3, keep=keep)
    expected = start if keep else generator.parameters()
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), expected))


def test_average_after_one_step_lies_at_its_share():
    generator, discriminator = small_pair()
    start = [p.detach().clone() for p in generator.parameters()]
    average, _ = gan.play(generator, discriminator, at_one_place, steps=1, keep=0.9)
    for old, new, mean in zip(start, generator.parameters(), average.parameters()):
        check_close(mean, 0.9 * old + 0.1 * new, tolerance=1e-6)


def test_settings_reach_adam_and_the_rate_falls(monkeypatch):
    made, honest = [], torch.optim.Adam

    def adam(*args, **kwargs):
        made.append(honest(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(torch.optim, "Adam", adam)
    gan.play(*small_pair(), at_one_place, steps=4, lr=0.01, fall=0.95)
    gan.play(*small_pair(), at_one_place, steps=4, lr=0.01, fall=0.0, beta=0.9)
    groups = [adam.param_groups[0] for adam in made]
    check_close([group["lr"] for group in groups], [0.0005, 0.0005, 0.01, 0.01])
    assert [group["betas"][0] for group in groups] == [0.0, 0.0, 0.9, 0.9]


# ------------------------------------------------------------------ what scores


def test_frechet_on_gaussians_whose_distance_is_known():
    """Whitened sets, mapped to covariances that do not commute; SciPy's square root of a matrix."""
    from scipy.linalg import sqrtm

    frechet = taken_from("def frechet(", ("check_close", lambda *_, **__: None), ("test", TEST))[
        "frechet"
    ]
    x = torch.randn(500, 4).double()
    x = (x - x.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T
    A, B = torch.randn(2, 4, 4).double()
    S, T, shift = A @ A.T, B @ B.T, torch.tensor([1.0, -2.0, 0.0, 0.5]).double()
    expected = 5.25 + (S + T).trace() - 2 * sqrtm((S @ T).numpy()).real.trace()
    check_close(frechet(x @ A.T, x @ B.T + shift), expected, tolerance=1e-6)
    check_close(frechet(x @ B.T + shift, x @ A.T), expected, tolerance=1e-6)
    check_close(frechet(x, x), 0.0, tolerance=1e-9)


class TEST:
    """Stands for the test digits where the notebook's cell checks itself."""

    x = torch.randn(20, 4).double()


# ------------------------------------------------------------------ exercises

WRONG = {
    1: (
        "def my_best_logit(log_p, log_q, share):\n    return log_p - log_q + math.log(share)",
        "as many real",
    ),
    3: ("def my_pull(x, mu, s):\n    return (x - mu) / s - x", "s = 0.5"),
    5: (
        "def my_step(theta, psi, h, gamma):\n"
        "    to_psi = -theta * torch.sigmoid(psi * theta)\n"
        "    return theta + h * psi * torch.sigmoid(-psi * theta), psi + h * to_psi",
        "gamma = 1, psi",
    ),
}


@pytest.mark.parametrize("number", sorted(WRONG))
def test_exercise(number):
    names = dict(vars(gan), math=math, check_close=check_close, answered=answered)
    exercise_works("04a_gan", number, names, *WRONG[number])

"""Notebook 04d, with its own definitions: what holds for any weights, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works
from scipy.stats import binomtest
from torch.nn import functional as F

from utils import data, yardstick
from utils.checks import answered, check_close
from utils.notebooks import cells, definitions, source

NAME = "04d_conditional_gan"
cgan = definitions(NAME)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def taken_from(start, *more):
    """The notebook's functions in the cell that begins so, with the names they need."""
    names = dict(vars(cgan)) | dict(more)
    exec(next(source(c) for c in cells(NAME) if source(c).startswith(start)), names)
    return names


# ------------------------------------------------------------------ the plane


def test_the_ring_is_a_density_and_samples_follow_it():
    ring = cgan.LabelledRing()
    line = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(line, line)
    mass = ring.log_prob(grid).exp().sum(0) * 0.05**2
    check_close(mass, torch.ones(3), tolerance=1e-3)
    for k in range(3):
        x = ring.of_class(torch.full((20_000,), k))
        check_close(x.mean(0), ring.centres[k].mean(0), tolerance=0.03)
        assert (ring.log_prob(x).argmax(1) == k).double().mean() > 0.95


def test_masses_of_bins_are_those_of_the_density():
    ring = cgan.LabelledRing()
    masses = cgan.bin_masses(ring)
    check_close(masses.sum(1), torch.ones(3), tolerance=1e-9)
    side = 2 * ring.limit / cgan.BINS
    middle = -ring.limit + side * (torch.arange(cgan.BINS) + 0.5)
    grid = torch.cartesian_prod(middle, middle)
    rough = ring.log_prob(grid).exp().T * side**2
    check_close(masses, rough, tolerance=3e-3)  # the first axis is x1 in both


def test_counts_of_true_samples_come_near_the_masses():
    ring = cgan.LabelledRing()
    masses = cgan.bin_masses(ring)
    for k in range(3):
        found = cgan.counted(ring.of_class(torch.full((50_000,), k)), ring)
        assert 0 < cgan.kl(masses[k], found) < 0.02 < 1 < cgan.kl(masses[k - 1], found)
    with pytest.raises(ValueError, match="empty"):
        cgan.counted(torch.zeros(0, 2), ring)


def test_divergence_of_two_known_laws():
    p, q = torch.tensor([0.5, 0.5, 0.0]).double(), torch.tensor([0.25, 0.5, 0.25]).double()
    check_close(cgan.kl(p, q), 0.5 * math.log(2))


def test_a_generator_that_ignores_the_class_has_the_information_as_its_divergence():
    p = torch.rand(3, 50).double()
    p = p / p.sum(1, keepdim=True)
    joint = p / 3
    apart = joint.sum(0) * joint.sum(1, keepdim=True)
    known = (joint * (joint / apart).log()).sum()
    check_close(cgan.kl(p, p.mean(0)).mean(), known)


def test_information_of_tables():
    assert abs(cgan.information(torch.full((4, 4), 7))) < 1e-12
    check_close(cgan.information(5 * torch.eye(10)), math.log(10))
    asked, read = torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2])
    table = cgan.table_of(asked, read, 3)
    assert table.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]  # a row a request


# ------------------------------------------------------------------ both players


@pytest.mark.parametrize("way", ["ignored", "concatenation", "projection"])
def test_the_class_enters_as_it_should(way):
    player = cgan.PlaneDiscriminator(way)
    x = torch.randn(30, 2)
    zero, two = (player(x, torch.full((30,), k)) for k in (0, 2))
    assert torch.equal(zero, two) == (way == "ignored")
    if way == "projection":
        told = player.features(x) @ (player.embed.weight[0] - player.embed.weight[2])
        check_close(zero - two, told, tolerance=1e-5)


@pytest.mark.parametrize("way", ["concatenation", "projection"])
def test_one_pass_gives_both_gradients(way):
    player = cgan.PlaneDiscriminator(way).double()
    x, made = torch.randn(2, 20, 2).double()
    y = torch.arange(20) % 3
    d_loss, arrow, g_loss = cgan.both_gradients(player, x, made, y)
    found = [w.grad.clone() for w in player.parameters() if w.grad is not None]
    held = made.clone().requires_grad_()
    loss = F.softplus(-player(held, y)).mean()
    check_close(arrow, torch.autograd.grad(loss, held)[0])
    check_close(g_loss, loss)
    player.zero_grad()
    loss = (F.softplus(-player(x, y)) + F.softplus(player(made, y))).mean()
    loss.backward()
    check_close(d_loss, loss)
    for a, b in zip(found, [w.grad for w in player.parameters() if w.grad is not None]):
        check_close(a, b)


def test_squared_slope_of_a_plane():
    def plane(x, y):
        return 3 * x[:, 0] - 4 * x[:, 1] + y

    slope = cgan.squared_slope(plane, torch.randn(7, 2), torch.arange(7))
    check_close(slope, torch.full((7,), 25.0))


def test_the_loop_gives_made_pairs_the_labels_that_were_asked_for():
    seen = []

    class Watching(cgan.PlaneDiscriminator):
        def forward(self, x, y):
            seen.append(y)
            return super().forward(x, y)

    ring = cgan.LabelledRing()
    cgan.play(cgan.PlaneGenerator(), Watching("projection"), ring.draw, 2, gamma=0.1, lr=1e-3)
    assert len(seen) == 5 and all(torch.equal(seen[0], y) for y in seen[:3])
    assert torch.equal(seen[3], seen[4]) and not torch.equal(seen[0], seen[3])


def test_the_average_is_between_the_start_and_the_end():
    ring, start = cgan.LabelledRing(), cgan.PlaneGenerator()
    before = [w.clone() for w in start.parameters()]
    average, _ = cgan.play(
        start, cgan.PlaneDiscriminator("projection"), ring.draw, 1, gamma=0.1, lr=1e-2
    )
    for old, new, mean in zip(before, start.parameters(), average.parameters()):
        check_close(mean, torch.lerp(old, new, 0.9), tolerance=1e-6)


# ------------------------------------------------------------------ digits


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(1)
    made = cgan.DigitGenerator(width=12)
    for norm in made.norms:
        torch.nn.init.normal_(norm.shift, 0, 0.5)
        norm.norm.running_mean.fill_(50.0)  # stale, from a training long ago
        norm.norm.num_batches_tracked.fill_(1000)
    return cgan.renew_statistics(made, batches=8)


def test_digits_have_the_right_shape_and_range(generator):
    x = cgan.ask(generator, torch.arange(10))
    assert x.shape == (10, 1, 28, 28) and x.min() >= 0 and x.max() <= 1


def test_a_one_hot_code_is_its_class_and_half_way_is_the_mean_of_the_tables(generator):
    z, y = torch.randn(3, 12), torch.tensor([2, 5, 9])
    check_close(generator.blend(z, torch.eye(10)[y]), generator(z, y), tolerance=1e-6)
    norm = generator.norms[0]
    h = torch.randn(1, 12, 7, 7)
    half = torch.zeros(1, 10)
    half[0, 3] = half[0, 8] = 0.5
    ends = [norm(h, torch.eye(10)[[k]]) for k in (3, 8)]
    check_close(norm(h, half), (ends[0] + ends[1]) / 2, tolerance=1e-5)


def test_renewed_statistics_are_those_of_the_generator(generator):
    y = torch.arange(2000) % 10
    with torch.no_grad():
        h = generator.first(torch.randn(2000, 12)).view(-1, 12, 7, 7)
    norm = generator.norms[0].norm
    check_close(norm.running_mean, h.mean((0, 2, 3)), tolerance=0.02)
    check_close(norm.running_var, h.var((0, 2, 3)), tolerance=0.05)
    assert len(cgan.ask(generator, y)) == 2000


@pytest.mark.parametrize(
    "y, told",
    [
        (torch.tensor([3, 10]), "0 to 9"),
        (torch.tensor([-1]), "0 to 9"),
        (torch.tensor([0.5]), "whole"),
        (torch.tensor([[1]]), "whole"),
        (torch.zeros(0, dtype=torch.int64), "empty"),
    ],
)
def test_labels_that_do_not_exist_are_named(generator, y, told):
    with pytest.raises(ValueError, match=told):
        cgan.ask(generator, y)


def test_images_that_are_no_digits_are_named():
    player, y = cgan.DigitDiscriminator(width=4), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="28, 28"):
        player(torch.rand(2, 1, 32, 32), y)
    with pytest.raises(ValueError, match=r"\(x \+ 1\) / 2"):
        player(2 * torch.rand(2, 1, 28, 28) - 1, y)
    with pytest.raises(ValueError, match="0 to 1"):
        player(255 * torch.rand(2, 1, 28, 28), y)
    with pytest.raises(ValueError, match="projection"):
        cgan.PlaneDiscriminator("somehow")
    held = data.mnist().valid
    features = yardstick.digit_features(held.x[:100])
    with pytest.raises(ValueError, match="empty"):
        yardstick.frechet(features, features[held.y[:100] == 10])


def test_the_live_digit_takes_classes_and_blends(generator):
    start, axes = torch.randn(1, 12), torch.randn(4, 12)
    live = cgan.LiveDigit(generator, yardstick.reader("digits"), start, axes).eval()
    u = torch.tensor([[3.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    check_close(live(u)["image"], generator(start, torch.tensor([3])), tolerance=1e-5)
    u[0, 2] = 1
    check_close(live(u)["image"], generator(start, torch.tensor([8])), tolerance=1e-5)
    u[0, 3:] = torch.tensor([1.0, 0.0, 0.0, -2.0])
    moved = start + axes[:1] - 2 * axes[3:]
    check_close(live(u)["image"], generator(moved, torch.tensor([8])), tolerance=1e-5)
    check_close(live(u)["read"].sum(), 1.0)


def test_the_interval_holds_the_share_and_covers():
    start = next(source(c) for c in cells(NAME) if source(c).startswith("def interval"))
    names = {"binomtest": binomtest}
    exec(start.split("\n\n\n")[0], names)
    low, high = names["interval"](194, 200)
    assert low < 0.97 < high and abs(low - 0.9358) < 2e-3 and abs(high - 0.9889) < 2e-3
    assert names["interval"](200, 200)[1] == 1 and names["interval"](0, 200)[0] == 0


# ------------------------------------------------------------------ exercises


NAMES = {"torch": torch, "math": math, "F": F, "answered": answered, "check_close": check_close}
EXERCISES = {
    2: (
        "def my_parts(p, q, prior):\n"
        "    m = (p.exp().sum(1) / q.exp().sum(1)).log()\n"
        "    return p - q - m[:, None], m",
        "part of the sample",
    ),
    3: (
        "def my_information(counts):\n"
        "    P = counts / counts.sum()\n"
        "    return -torch.special.xlogy(P, P).sum()",
        "even table",
    ),
    4: (
        "def my_renamed_share(counts):\n    return (counts.max(1).values.sum() / counts.sum()).item()",
        "largest cells collide",
    ),
    6: (
        "def my_conditional_norm(h, y, s, t):\n"
        "    h = (h - h.mean((2, 3), True)) / (h.var((2, 3), keepdim=True) + 1e-5).sqrt()\n"
        "    return s[y][:, :, None, None] * h + t[y][:, :, None, None]",
        "scales 1",
    ),
}


@pytest.mark.parametrize("number", EXERCISES)
def test_exercise(number):
    wrong, where = EXERCISES[number]
    exercise_works(NAME, number, NAMES, wrong, where)

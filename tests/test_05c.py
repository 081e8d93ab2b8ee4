"""Notebook 05c, with its own definitions: what holds for any weights, and the exercises."""

import math
import shutil

import numpy as np
import pytest
import torch
from conftest import exercise_works
from PIL import Image
from torch import nn

from utils import data
from utils.checks import answered, check_close, check_unseen
from utils.data.folders import ImageFolderError
from utils.data.scenes import draw as draw_factors
from utils.notebooks import cells, definitions, source

NAME = "05c_cyclegan"
cycle = definitions(NAME)
scores = definitions(NAME, "check")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------ the parts


def test_generators_start_near_the_identity_or_near_a_rotation():
    x = torch.randn(200, 2)
    quarter = cycle.PlaneGenerator(90.0)
    nn.init.zeros_(quarter.net[-1].weight)
    nn.init.zeros_(quarter.net[-1].bias)
    check_close(quarter(x), torch.stack([-x[:, 1], x[:, 0]], 1))
    pictures = torch.rand(4, 3, 32, 32)
    assert (cycle.SceneGenerator()(pictures) - pictures).abs().mean() < 0.2


def test_translations_are_pictures():
    made = cycle.SceneGenerator().translate(torch.rand(3, 3, 32, 32))
    assert made.shape == (3, 3, 32, 32) and made.min() >= 0 and made.max() <= 1
    assert not made.requires_grad


def test_the_receptive_field_is_26_pixels_wide():
    discriminator = cycle.PatchDiscriminator()
    for layer in discriminator.modules():
        if isinstance(layer, nn.GroupNorm):  # it looks at the whole picture
            layer.forward = lambda h: h
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    logits = discriminator(x)
    assert logits.shape == (1, 256)
    seen = torch.autograd.grad(logits[0, 8 * 16 + 8], x)[0][0].abs().sum(0) > 0
    rows, columns = np.nonzero(seen.numpy())
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 26


@pytest.mark.parametrize(
    "make, x, message",
    [
        (cycle.PlaneGenerator, torch.zeros(4, 3), "points have to be"),
        (cycle.SceneGenerator, torch.zeros(4, 3, 30, 32), "pictures have to be"),
        (cycle.PatchDiscriminator, torch.zeros(3, 32, 32), "pictures have to be"),
        (cycle.Probe, torch.zeros(4, 1, 32, 32), "pictures have to be"),
    ],
)
def test_networks_say_what_they_need(make, x, message):
    with pytest.raises(ValueError, match=message):
        make()(x)


@pytest.mark.parametrize("factor", [255.0, -1.0])
def test_pictures_in_other_units_are_refused(factor):
    x = factor * torch.rand(4, 3, 32, 32)
    for use in (cycle.SceneGenerator().translate, cycle.drawer):
        with pytest.raises(ValueError, match="numbers from 0 to 1, these go from"):
            use(x)


# ------------------------------------------------------------------ the three terms


def test_terms_refuse_data_of_two_shapes():
    same = nn.Identity()
    with pytest.raises(ValueError, match="differ in shape"):
        cycle.terms([same, same], None, (torch.zeros(4, 2), torch.zeros(4, 3)), None)


def test_terms_of_generators_that_do_nothing():
    same, x, y = nn.Identity(), torch.randn(50, 2), torch.randn(50, 2)
    found = cycle.terms([same, same], 2 * [lambda x: 3 * x[:, 0]], (x, y), (x, y))
    check_close([found["cycle"], found["identity"]], [0.0, 0.0])
    expected = (
        nn.functional.softplus(-3 * x[:, 0]).mean() + nn.functional.softplus(-3 * y[:, 0]).mean()
    )
    check_close(found["adversarial"], expected)
    assert "identity" not in cycle.terms(
        [same, same], 2 * [lambda x: x], (x, y), (x, y), identity=False
    )


class Shift(nn.Module):
    """x + by."""

    def __init__(self, by):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(float(by)))

    def forward(self, x):
        return x + self.by


X, X_TWO = 1.0, 12.0  # all data of the two domains
AHEAD, BACK = 10.0, -9.0


class Level(nn.Module):
    """Logits slope * (x - middle) of numbers (B, 1)."""

    scale = 2.0

    def __init__(self, middle, slope):
        super().__init__()
        self.middle, self.slope = nn.Parameter(torch.tensor(middle)), slope

    def forward(self, x):
        return self.slope * (x - self.middle)[:, 0]


def shifts():
    generators = nn.ModuleList([Shift(AHEAD), Shift(BACK)])
    return generators, nn.ModuleList([Level(11.5, 1.0), Level(2.0, -0.5)])


DRAWS = [lambda count: torch.full((count, 1), X), lambda count: torch.full((count, 1), X_TWO)]
WEIGHTS = {"adversarial": 0.7, "cycle": 3.0, "identity": 0.2}


def test_terms_tell_the_two_directions_apart():
    """Two shifts that differ, two domains that differ, two discriminators that differ."""
    generators, discriminators = shifts()
    batch = [draw(5) for draw in DRAWS]
    made = [generators[k](batch[k]) for k in (0, 1)]  # 11 and 3
    found = cycle.terms(generators, discriminators, batch, made)
    softplus = lambda value: math.log(1 + math.exp(value))  # noqa: E731
    check_close(found["adversarial"], softplus(0.5) + softplus(0.5))  # logits -0.5 and -0.5
    check_close(found["cycle"], abs(AHEAD + BACK) * 2)
    check_close(found["identity"], AHEAD - BACK)
    batch[1] = 2 * batch[1]
    squares = [lambda x: x * x, torch.sqrt]
    found = cycle.terms(squares, discriminators, batch, [s(x) for s, x in zip(squares, batch)])
    check_close(found["identity"], 24.0**2 - 24 + 0.0, what="G' on x' and G on x")


# ------------------------------------------------------------------ the loop


def one_fit(steps, lr=(0.0, 0.0), **how):
    networks = shifts()
    how = {"batch": 6, "weights": WEIGHTS, "r1": 0.3} | how
    return *networks, *cycle.fit(*networks, DRAWS, steps, lr=lr, **how)


@pytest.fixture
def shown(monkeypatch):
    """What `fit` gives to the discriminators' loss, call by call."""
    calls, plain = [], cycle.gan.discriminator_loss

    def loss(discriminator, x, fake, **options):
        calls.append((discriminator, x.detach().clone(), fake.clone(), options))
        assert not fake.requires_grad
        return plain(discriminator, x, fake, **options)

    monkeypatch.setattr(cycle.gan, "discriminator_loss", loss)
    return calls


def test_each_discriminator_sees_its_own_domain(shown):
    _, discriminators, _, _ = one_fit(3)
    for k in (0, 1):
        seen = [call for call in shown if call[0] is discriminators[k]]
        assert len(seen) == 3
        for _, real, fake, _ in seen:
            assert (real == (X_TWO, X)[k]).all()
            assert (fake == (X + AHEAD, X_TWO + BACK)[k]).all()


def test_r1_is_paid_seldom_and_in_full(shown):
    one_fit(17)
    paid = [options["r1"] for *_, options in shown[::2]]
    assert paid == [options["r1"] for *_, options in shown[1::2]]
    check_close(paid, [8 * 0.3 if step % 8 == 0 else 0.0 for step in range(17)])


def test_pools_show_older_samples(shown):
    pools = [cycle.ImagePool(12), cycle.ImagePool(12)]
    one_fit(40, lr=(0.05, 0.0), pools=pools)
    for _, _, fake, _ in shown[-2:]:
        assert len(fake.unique()) > 2
    assert pools[0].kept.mean() > 8 > pools[1].kept.mean()


def test_terms_enter_with_their_weights_and_in_units_of_the_data():
    _, _, run, _ = one_fit(8)
    for step in range(8):
        expected = WEIGHTS["adversarial"] * run.history["adversarial"][step]
        expected += WEIGHTS["cycle"] * 2 * abs(AHEAD + BACK) / Level.scale
        if step % 4 == 0:
            expected += 4 * WEIGHTS["identity"] * (AHEAD - BACK) / Level.scale
        check_close(run.history["loss"][step], expected)
    check_close(run.history["cycle"], 8 * [2 * abs(AHEAD + BACK)])


def test_rates_rise_and_fall_and_momentum_is_small(monkeypatch):
    made, plain = [], torch.optim.Adam
    monkeypatch.setattr(
        torch.optim, "Adam", lambda *how, **more: made.append(plain(*how, **more)) or made[-1]
    )
    rates = []

    def first(count):
        rates.append([side.param_groups[0]["lr"] for side in made])
        return DRAWS[0](count)

    networks = shifts()
    how = {"batch": 6, "weights": WEIGHTS, "r1": 0.0, "lr": (0.01, 0.03)}
    cycle.fit(*networks, [first, DRAWS[1]], 200, **how)
    assert [side.defaults["betas"] for side in made] == [(0.5, 0.9), (0.5, 0.9)]
    assert all(any(p is q for q in side.param_groups[0]["params"]) for side, net in zip(made, networks)
               for p in net.parameters())  # fmt: skip
    rates = torch.tensor(rates[1:])  # the first draw looks at the unit
    check_close(rates[:, 1] / rates[:, 0], torch.full((200,), 3.0))
    check_close(rates[[0, 9, 19, 59], 0], [0.01 / 20, 0.01 / 2, 0.01, 0.01])
    assert (rates[60:, 0].diff() <= 0).all() and rates[-1, 0] < 1e-5


def test_the_result_is_the_average_of_the_weights():
    weights = []

    def first(count):
        weights.append([net.by.item() for net in generators])
        return DRAWS[0](count)

    generators, discriminators = shifts()
    how = {"batch": 6, "weights": WEIGHTS, "r1": 0.0, "lr": (0.1, 0.1)}
    _, means = cycle.fit(generators, discriminators, [first, DRAWS[1]], 12, **how)
    weights = torch.tensor([*weights[1:], [net.by.item() for net in generators]])
    expected = weights[0]
    for step in range(12):
        expected = torch.lerp(expected, weights[step + 1], 9 / (step + 10))
    check_close([net.by for net in means], expected)
    assert not torch.equal(expected, weights[-1])
    assert not any(w.requires_grad for w in means.parameters())
    assert all(w.requires_grad for w in discriminators.parameters())


def plane_networks(scale=1.0):
    generators = nn.ModuleList([cycle.PlaneGenerator(hidden=32, scale=scale) for _ in range(2)])
    discriminators = [cycle.gan.Discriminator(32, 2, scale=scale, features=4) for _ in range(2)]
    return generators, nn.ModuleList(discriminators)


PLANE = {"batch": 64, "r1": 0.01, "lr": (3e-3, 3e-3)}


def two_clouds(unit=1.0, shift=(1.0, -0.5)):
    def first(count):
        return unit * 0.5 * torch.randn(count, 2)

    return first, lambda count: first(count) + unit * torch.tensor(shift)


def test_a_shift_is_learned_both_ways():
    """The whole loop on the easiest domains: a Gaussian and the same one moved."""
    first, second = two_clouds()
    weights = {"adversarial": 1.0, "cycle": 5.0, "identity": 0.1}
    run, means = cycle.fit(*plane_networks(), (first, second), 300, **PLANE, weights=weights)
    check_close(means[0](first(2000)).mean(0), (1.0, -0.5), tolerance=0.2)
    check_close(means[1](second(2000)).mean(0), (0.0, 0.0), tolerance=0.2)
    assert run.step == 299


@pytest.mark.parametrize("unit", [2.0**-14, 2.0**10])
def test_the_result_does_not_depend_on_the_unit(unit):
    """A power of two, so that even rounding is the same."""
    weights, found = {"adversarial": 1.0, "cycle": 5.0, "identity": 0.5}, []
    for scale in (1.0, unit):
        torch.manual_seed(3)
        networks = plane_networks(scale)
        _, means = cycle.fit(*networks, two_clouds(scale), 12, **PLANE, weights=weights)
        found.append(means[0](scale * torch.linspace(-1, 1, 20).reshape(10, 2)) / scale)
    assert torch.equal(*found)


@pytest.mark.parametrize("unit", [1e-4, 255.0])
def test_data_in_a_unit_that_the_networks_do_not_know_are_refused(unit):
    weights = {"adversarial": 1.0, "cycle": 5.0, "identity": 0.1}
    with pytest.raises(ValueError, match="give the networks this scale"):
        cycle.fit(*plane_networks(), two_clouds(unit), 5, **PLANE, weights=weights)


def test_without_an_adversarial_term_nothing_moves():
    weights = {"adversarial": 0.0, "cycle": 5.0, "identity": 1.0}
    draws = two_clouds(shift=(3.0, 3.0))
    _, means = cycle.fit(*plane_networks(), draws, 60, **PLANE, weights=weights)
    x = torch.randn(500, 2)
    assert (means[0](x) - x).abs().mean() < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_the_plain_loop_needs_less_momentum(seed):
    """What the exercise says of the loop that the notebook shows."""
    parts = ("def ring", "both = generators, discriminators\nsides")
    texts = [source(cell) for cell in cells(NAME) if cell["cell_type"] == "code"]
    helpers, loop = (next(text for text in texts if part in text) for part in parts)
    rotation = next(text for text in texts if "def rotation" in text).split("\n\n\n")[0]
    last = []
    for momentum in ("", ", betas=(0.5, 0.999)"):
        torch.manual_seed(seed)
        scope = dict(vars(cycle), device=torch.device("cpu"))
        exec(rotation + "\n\n" + helpers, scope)
        exec(loop.replace("lr=3e-3)", f"lr=3e-3{momentum})"), scope)
        last.append(np.mean(scope["plain"][-100:]))
    assert last[0] > 1.3 * last[1], last


# ------------------------------------------------------------------ the image pool


def test_an_image_pool_keeps_old_samples():
    pool = cycle.ImagePool(100)
    for step in range(300):
        mixed = pool.mix(torch.full((8, 3), float(step)))
        assert (mixed[4:] == step).all() and pool.kept.shape == (100, 3)
    ages = 299 - pool.kept[:, 0]
    assert 10 < ages.mean() < 50, "a place changes every 25 steps on average"
    with pytest.raises(ValueError, match="the pool holds"):
        pool.mix(torch.zeros(8, 2))
    with pytest.raises(ValueError, match="cannot hold 0"):
        cycle.ImagePool(0)


def test_an_image_pool_does_not_change_what_it_is_given():
    pool, made = cycle.ImagePool(8), torch.arange(8.0)[:, None]
    first = pool.mix(made)
    pool.mix(-torch.ones(8, 1))
    check_close(made[:, 0], torch.arange(8.0))
    assert (first >= 0).all()


# ------------------------------------------------------------------ drawing and scoring


def test_what_is_drawn_stands_in_the_domain():
    domain = torch.rand(5, 3, 8, 8)
    drawn = cycle.drawer(domain)(400)
    straight = (drawn[:, None] == domain).flatten(2).all(2)
    mirrored = (drawn[:, None] == domain.flip(3)).flatten(2).all(2)
    assert (straight | mirrored).any(1).all()
    assert (straight.sum(0) > 15).all() and (mirrored.sum(0) > 15).all()


def test_energy_distance_of_known_sets():
    one, two = torch.zeros(40, 3), torch.tensor([2.0, 1.0, 2.0]).expand(30, 3)
    check_close(cycle.energy_distance(one, two), math.sqrt(6.0))
    assert cycle.energy_distance(one, one) == 0
    line = torch.tensor([[0.0], [1.0]])
    check_close(cycle.energy_distance(line, line + 3), math.sqrt(2 * 3.0 - 1 - 1))


def test_colours_get_the_mean_and_the_spread_of_the_other_domain():
    here, there = 0.4 + 0.1 * torch.rand(20, 3, 8, 8), 0.3 + 0.3 * torch.rand(20, 3, 8, 8)
    found = cycle.match_colours(here, here, there)
    for what in ("mean", "std"):
        values = (getattr(x, what)((0, 2, 3)) for x in (found, there))
        check_close(*values, tolerance=1e-4)
    flat = torch.full((4, 3, 8, 8), 0.2)
    check_close(
        cycle.match_colours(flat, flat, there), there.mean((0, 2, 3))[:, None, None] + 0 * flat
    )


def test_the_mask_covers_house_and_trees_and_nothing_else():
    factors = draw_factors(400, 3)
    twin = data.twin_for_scoring(factors, "winter")
    mask = scores.object_pixels(factors, twin, "winter")
    assert mask.shape == twin.shape and set(mask.unique().tolist()) == {0.0, 1.0}
    empty = ~factors.house & (factors.trees == 0)
    assert mask[empty].sum() == 0 and (mask[~empty].flatten(1).sum(1) > 0).all()
    lonely = factors.house & (factors.trees == 0)
    middle = (torch.arange(32) + 0.5) / 32
    far = (middle - factors.house_x[:, None]).abs() > 0.75 * factors.house_size[:, None] + 0.05
    assert mask[lonely].amax((1, 2))[far[lonely]].sum() == 0
    assert (mask[lonely].mean((1, 2, 3)) > 0.03).all()


def test_twin_errors_of_known_differences():
    twin, objects = torch.full((2, 3, 4, 4), 0.5), torch.zeros(2, 3, 4, 4)
    objects[:, :, :1] = 1.0
    check_close(scores.twin_errors(twin, twin, objects), (0.0, 0.0))
    check_close(scores.twin_errors(twin - 0.2 * objects, twin, objects), (5.0, 20.0))
    check_close(scores.twin_errors(twin + 0.2 * (1 - objects), twin, objects), (15.0, 0.0))


def told(factors, right=True):
    """The output (N, 6) of a probe that is sure of the truth, or of its opposite."""
    found = torch.full((len(factors.house), 6), -50.0)
    found[:, 0] = torch.where(factors.house == right, 50.0, -50.0)
    found[range(len(found)), 1 + (factors.trees + (not right)) % 4] = 50.0
    found[:, 5] = factors.horizon + (0.0 if right else 0.03)
    return found


def test_the_probes_loss_is_zero_for_the_truth():
    factors = draw_factors(20, 3)
    found = told(factors)
    check_close(cycle.probe_loss(found, factors), 0.0)
    found[:, 5] += 0.03
    check_close(cycle.probe_loss(found, factors), 0.25)


def test_factors_right_of_the_truth_and_of_its_opposite():
    factors = draw_factors(50, 3)
    check_close(cycle.factors_right(told(factors), factors), (100.0, 100.0, 0.0))
    check_close(
        cycle.factors_right(told(factors, False), factors), (0.0, 0.0, 0.96), tolerance=1e-4
    )


def test_pictures_are_drawn_with_their_own_factors():
    factors = draw_factors(30, 3)
    x = factors.horizon[:, None, None, None].expand(30, 3, 4, 4)
    pictures, theirs = cycle.labelled(x, factors)(200)
    check_close(pictures[:, 0, 0, 0], theirs.horizon)
    assert len(theirs.horizon.unique()) > 20


def test_training_sees_nothing_but_what_it_draws():
    domains = [data.scenes(40, season, seed=1).images for season in ("summer", "winter")]
    lesson, test = data.scenes(40, "winter", seed=2), data.scenes(40, "winter", seed=3)
    twins = data.twin_for_scoring(test.factors, "summer").clone()

    def work():
        nets = [
            nn.ModuleList([make(), make()])
            for make in (cycle.SceneGenerator, cycle.PatchDiscriminator)
        ]
        _, means = cycle.fit(*nets, [cycle.drawer(x) for x in domains], 2, **cycle.recipe)
        return means, cycle.teach(cycle.labelled(lesson.images, lesson.factors), steps=2)[0]

    hidden = [twins, test.images, test.factors.house, test.factors.trees, test.factors.horizon]
    check_unseen(work, hidden, seen=[*domains, lesson.images, lesson.factors.house])


def test_the_explorer_blends_input_and_translation():
    generators = nn.ModuleList([cycle.SceneGenerator(), cycle.SceneGenerator()])
    summer, winter = torch.rand(2, 2, 3, 32, 32)
    live = cycle.Seasons(generators, summer, winter)
    with torch.no_grad():
        for scene, x, k in [(1, summer[1:], 0), (3, winter[1:], 1)]:
            still = live(torch.tensor([[float(scene), 0.0]]))["image"]
            check_close(still, x.expand(3, -1, -1, -1))
            moved = live(torch.tensor([[float(scene), 1.0]]))["image"]
            check_close(moved[1], generators[k].translate(x)[0], tolerance=1e-4)
            back = generators[1 - k](generators[k](x)).clamp(0, 1)
            check_close(moved[2], back[0], tolerance=1e-4)


# ------------------------------------------------------------------ own photographs

SHADES = {"trainA": 90, "testA": 110, "trainB": 200, "testB": 180}


@pytest.fixture
def photographs(tmp_path):
    for part, shade in SHADES.items():
        (tmp_path / part).mkdir()
        for number in range(4):
            picture = Image.new("RGB", (50, 40), (shade, shade, 20 * number))
            picture.save(tmp_path / part / f"{number}.png")
    return tmp_path


def test_a_folder_of_photographs_is_translated_both_ways(photographs):
    both = cycle.from_folder(photographs, steps=2, size=16)
    for shade, (pictures, there) in zip((110, 180), both):
        assert pictures.shape == there.shape == (4, 3, 16, 16)
        check_close(pictures[:, 0].mean(), shade / 255, tolerance=0.01)
        assert there.min() >= 0 and there.max() <= 1


class Brighter(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = by

    def translate(self, x):
        return x + self.by


def test_each_folder_has_its_own_task(photographs, monkeypatch):
    """trainA and trainB are drawn from, testA goes through G', testB through G."""
    drawn = []

    def fit(generators, discriminators, draws, steps, **how):
        drawn.extend(draw(5)[:, 0].mean().item() for draw in draws)
        return None, [Brighter(0.1), Brighter(-0.2)]

    monkeypatch.setitem(cycle.from_folder.__globals__, "fit", fit)
    both = cycle.from_folder(photographs, steps=2, size=16)
    check_close(drawn, [SHADES["trainA"] / 255, SHADES["trainB"] / 255], tolerance=0.01)
    for (pictures, there), by in zip(both, (0.1, -0.2)):
        check_close(there - pictures, torch.full_like(there, by))


@pytest.mark.parametrize("part", list(SHADES))
@pytest.mark.parametrize("empty", [True, False])
def test_a_folder_without_pictures_is_named_before_anything_trains(
    photographs, part, empty, monkeypatch
):
    monkeypatch.setitem(cycle.from_folder.__globals__, "fit", None)
    shutil.rmtree(photographs / part)
    if empty:
        (photographs / part).mkdir()
    with pytest.raises(ImageFolderError, match=part):
        cycle.from_folder(photographs, steps=2, size=16)


# ------------------------------------------------------------------ exercises

WRONG = {
    1: (
        "def my_answers(m, s, m_two, s_two):\n    a = s_two / s\n"
        "    return [(a, m_two - a * m, 1 / a, 0.0), (-a, m_two + a * m, -1 / a, 0.0)]",
        "slope and shift of the round trip",
    ),
    4: (
        "def my_receptive_field(layers):\n    return 1 + sum(kernel - 1 for kernel, _ in layers)",
        "a step in the second layer",
    ),
    5: (
        "def my_sensitivity(there, back, x, sd):\n    made = there(x)\n"
        "    return (back(made + sd * torch.randn_like(made)) - x).square().mean() / sd**2",
        "ignores its input",
    ),
}


@pytest.mark.parametrize("number", sorted(WRONG))
def test_exercise(number):
    scope = dict(vars(cycle), check_close=check_close, answered=answered)
    exercise_works(NAME, number, scope, *WRONG[number])

"""Notebook 05c, with its own definitions: what holds for any weights, and the exercises."""

import shutil

import numpy as np
import pytest
import torch
from conftest import exercise_works
from PIL import Image
from torch import nn

from utils.checks import answered, check_close
from utils.notebooks import definitions

NAME = "05c_cyclegan"
cycle = definitions(NAME)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------ the parts


def test_translators_start_near_the_identity_or_near_a_turn():
    x = torch.randn(200, 2)
    quarter = cycle.PlaneTranslator(90.0)
    nn.init.zeros_(quarter.net[-1].weight)
    nn.init.zeros_(quarter.net[-1].bias)
    check_close(quarter(x), torch.stack([-x[:, 1], x[:, 0]], 1))
    pictures = torch.rand(4, 3, 32, 32)
    assert (cycle.SceneTranslator()(pictures) - pictures).abs().mean() < 0.2


def test_translations_shown_are_pictures():
    made = cycle.SceneTranslator().translate(torch.rand(3, 3, 32, 32))
    assert made.shape == (3, 3, 32, 32) and made.min() >= 0 and made.max() <= 1
    assert not made.requires_grad


def test_a_patch_is_26_pixels_wide():
    judge = cycle.PatchJudge()
    for layer in judge.modules():
        if isinstance(layer, nn.GroupNorm):  # it looks at the whole picture
            layer.forward = lambda h: h
    x = torch.rand(1, 3, 64, 64, requires_grad=True)
    logits = judge(x)
    assert logits.shape == (1, 256)
    seen = torch.autograd.grad(logits[0, 8 * 16 + 8], x)[0][0].abs().sum(0) > 0
    rows, columns = np.nonzero(seen.numpy())
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 26


@pytest.mark.parametrize(
    "make, x, message",
    [
        (cycle.PlaneTranslator, torch.zeros(4, 3), "points have to be"),
        (cycle.SceneTranslator, torch.zeros(4, 3, 30, 32), "pictures have to be"),
        (cycle.PatchJudge, torch.zeros(3, 32, 32), "pictures have to be"),
        (cycle.Probe, torch.zeros(4, 1, 32, 32), "pictures have to be"),
    ],
)
def test_networks_say_what_they_need(make, x, message):
    with pytest.raises(ValueError, match=message):
        make()(x)


def test_terms_refuse_data_of_two_shapes():
    same = nn.Identity()
    with pytest.raises(ValueError, match="differ in shape"):
        cycle.terms([same, same], None, (torch.zeros(4, 2), torch.zeros(4, 3)), None)


def test_terms_of_translators_that_do_nothing():
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


def test_a_buffer_keeps_old_translations():
    buffer = cycle.Buffer(100)
    for step in range(300):
        mixed = buffer.mix(torch.full((8, 3), float(step)))
        assert (mixed[4:] == step).all() and buffer.kept.shape == (100, 3)
    ages = 299 - buffer.kept[:, 0]
    assert 10 < ages.mean() < 50, "a place changes every 25 steps on average"
    with pytest.raises(ValueError, match="the buffer holds"):
        buffer.mix(torch.zeros(8, 2))
    with pytest.raises(ValueError, match="cannot hold -1"):
        cycle.Buffer(-1)
    assert cycle.Buffer(0).mix(mixed) is mixed


def test_a_buffer_does_not_change_what_it_is_given():
    buffer, made = cycle.Buffer(8), torch.arange(8.0)[:, None]
    first = buffer.mix(made)
    buffer.mix(-torch.ones(8, 1))
    check_close(made[:, 0], torch.arange(8.0))
    assert (first >= 0).all()


def test_the_probes_loss_is_zero_for_the_truth():
    from utils.data.scenes import draw

    factors = draw(20, 3)
    found = torch.full((20, 6), -50.0)
    found[:, 0] = torch.where(factors.house, 50.0, -50.0)
    found[range(20), 1 + factors.trees] = 50.0
    found[:, 5] = factors.horizon
    check_close(cycle.probe_loss(found, factors), 0.0)
    found[:, 5] += 0.03
    check_close(cycle.probe_loss(found, factors), 0.25)


def plane(seed=0):
    torch.manual_seed(seed)
    pair = nn.ModuleList([cycle.PlaneTranslator(hidden=32), cycle.PlaneTranslator(hidden=32)])
    judges = nn.ModuleList([cycle.gan.Discriminator(32, 2) for _ in range(2)])
    return pair, judges


def test_a_shift_is_learned_both_ways():
    """The whole loop on the easiest pair: a Gaussian and the same one moved."""
    shift = torch.tensor([1.0, -0.5])

    def first(count):
        return 0.5 * torch.randn(count, 2)

    pair, judges = plane()
    run, means = cycle.fit(pair, judges, (first, lambda count: first(count) + shift), 300)
    x = first(2000)
    check_close(means[0](x).mean(0), shift, tolerance=0.2)
    check_close(means[1](x + shift).mean(0), torch.zeros(2), tolerance=0.2)
    assert run.step == 299 and not any(w.requires_grad for w in means.parameters())
    assert all(w.requires_grad for w in judges.parameters())


def test_without_an_adversarial_term_nothing_moves():
    pair, judges = plane()
    draws = [lambda count: torch.randn(count, 2), lambda count: torch.randn(count, 2) + 3]
    _, means = cycle.fit(pair, judges, draws, 60, weights={"adversarial": 0.0, "identity": 1.0})
    x = torch.randn(500, 2)
    assert (means[0](x) - x).abs().mean() < 0.1


def test_the_explorer_blends_input_and_translation():
    pair = nn.ModuleList([cycle.SceneTranslator(), cycle.SceneTranslator()])
    summer, winter = torch.rand(2, 2, 3, 32, 32)
    live = cycle.Seasons(pair, summer, winter)
    with torch.no_grad():
        for scene, x, k in [(1, summer[1:], 0), (3, winter[1:], 1)]:
            still = live(torch.tensor([[float(scene), 0.0]]))["image"]
            check_close(still, x.expand(3, -1, -1, -1))
            moved = live(torch.tensor([[float(scene), 1.0]]))["image"]
            check_close(moved[1], pair[k].translate(x)[0], tolerance=1e-4)
            check_close(moved[2], pair[1 - k](pair[k](x)).clamp(0, 1)[0], tolerance=1e-4)


def test_a_folder_of_photographs_is_translated_both_ways(tmp_path):
    for part, shade in (("trainA", 90), ("testA", 90), ("trainB", 200), ("testB", 200)):
        (tmp_path / part).mkdir()
        for number in range(4):
            picture = Image.new("RGB", (50, 40), (shade, shade, 20 * number))
            picture.save(tmp_path / part / f"{number}.png")
    both = cycle.from_folder(tmp_path, steps=2, size=16)
    for pictures, there in both:
        assert pictures.shape == there.shape == (4, 3, 16, 16)
        assert there.min() >= 0 and there.max() <= 1
    shutil.rmtree(tmp_path / "trainB")
    with pytest.raises(ValueError, match="there is no folder 'trainB'"):
        cycle.from_folder(tmp_path, steps=2, size=16)


# ------------------------------------------------------------------ exercises

WRONG = {
    1: (
        "def my_answers(m, s, m_two, s_two):\n    a = s_two / s\n"
        "    return [(a, m_two - a * m, 1 / a, 0.0), (-a, m_two + a * m, -1 / a, 0.0)]",
        "slope and shift of the round trip",
    ),
    2: (
        "def my_patch(layers):\n    return 1 + sum(kernel - 1 for kernel, _ in layers)",
        "a step in the second layer",
    ),
    3: (
        "def my_least_squares(on_real, on_made):\n"
        "    judge = (on_real - 1).square().mean() + on_made.square().mean()\n"
        "    return judge, on_made.square().mean()",
        "the translator's loss",
    ),
    4: (
        "def my_sensitivity(there, back, x, sd):\n    made = there(x)\n"
        "    return (back(made + sd * torch.randn_like(made)) - x).square().mean() / sd**2",
        "ignores its input",
    ),
}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_exercise(number):
    scope = dict(vars(cycle), check_close=check_close, answered=answered)
    exercise_works(NAME, number, scope, *WRONG[number])

"""Notebook 05e, with its own definitions: the line in closed form, the draws, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works

from utils import data
from utils.checks import answered, check_close
from utils.notebooks import definitions
from utils.results import recorded

uses = definitions("05e_training_with_alignment")


def numbers(*values):
    return [torch.tensor(value, dtype=torch.float64) for value in values]


WORLDS = [(2.0, 1.0, 0.5), (0.5, 0.4, 0.2), (3.0, 0.7, 0.9)]


@pytest.mark.parametrize("world", WORLDS)
def test_error_on_the_line_is_that_of_points(world):
    shift, spread, share = world
    generator = torch.Generator().manual_seed(0)
    second = torch.rand(200_000, generator=generator) < share
    x = shift + 2.0 * second - 1 + spread * torch.randn(200_000, generator=generator)
    for border in (0.0, shift, shift + 0.7):
        counted = ((x > border) != second).double().mean()
        check_close(uses.line_error(border, *world), counted, tolerance=4e-3)


@pytest.mark.parametrize("world", WORLDS)
def test_best_border_is_best_and_the_median_halves(world):
    world = numbers(*world)
    best = uses.best_border(*world)
    errors = uses.line_error(best + torch.linspace(-0.5, 0.5, 101).double(), *world)
    assert errors.argmin() == 50
    shift, spread, share = world
    middle = uses.winter_median(*world)
    low, high = (uses.normal_below((middle - shift + side) / spread) for side in (1, -1))
    check_close((1 - share) * low + share * high, 0.5, tolerance=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_narrow_classes_pay_the_difference_of_shares(share):
    """A perfect match moves |share - 1/2| of all points over the border."""
    world = numbers(1.0, 0.05, share)
    check_close(
        uses.line_error(uses.winter_median(*world), *world), abs(share - 0.5), tolerance=1e-3
    )


def test_live_line_agrees_with_the_formulas():
    live = uses.LineWorlds()
    for world in WORLDS:
        shift, spread, share = world
        shown = live(torch.tensor([[shift, share, spread]]))
        borders = [0.0, uses.winter_median(*numbers(*world)), uses.best_border(*numbers(*world))]
        truth = [100 * uses.line_error(torch.tensor(float(b)), *world) for b in borders]
        check_close(shown["errors"], torch.stack(truth), tolerance=1e-3)
        check_close(shown["match"][0, 0, 0], borders[1], tolerance=1e-4)


# ------------------------------------------------------------------ draws and readings


@pytest.fixture(scope="module")
def look():
    return data.scenes(40, "summer", seed=9)


def test_draws_keep_pictures_and_labels_together(look):
    marked = look.factors.house.float()[:, None, None, None].expand(-1, 3, 4, 4)
    trees = look.factors.trees.float()[:, None, None, None].expand(-1, 3, 4, 4) / 4
    first = uses.labelled(marked, look.factors)
    second = uses.labelled(trees, look.factors)
    x, factors = first(300)
    check_close(x[:, 0, 0, 0], factors.house)
    x, factors = second(300)
    check_close(4 * x[:, 0, 0, 0], factors.trees)
    x, factors = uses.half_each(first, second)(301)
    assert x.shape == (301, 3, 4, 4)
    check_close(x[:151, 0, 0, 0], factors.house[:151])
    check_close(4 * x[151:, 0, 0, 0], factors.trees[151:])


def test_jitter_mirrors_and_keeps_the_range(look):
    torch.manual_seed(0)
    still = uses.jittered(look.images, 0.0)
    same = (still == look.images).flatten(1).all(1)
    flipped = (still == look.images.flip(3)).flatten(1).all(1)
    assert (same | flipped).all() and same.any() and flipped.any()
    moved = uses.jittered(look.images, 0.5)
    assert moved.min() >= 0 and moved.max() <= 1 and (moved - still).abs().mean() > 0.05


def test_a_reading_does_not_change_in_the_mirror(look):
    torch.manual_seed(0)
    detector = uses.translation.Probe()
    one, other = (uses.read(detector, x) for x in (look.images, look.images.flip(3)))
    for a, b in zip(one, other):
        check_close(a, b)
    check_close(one.trees.sum(1), torch.ones(40))


def test_a_detector_learns_what_it_is_taught():
    torch.manual_seed(0)
    look, fresh = (data.scenes(400, "summer", seed=seed) for seed in (1, 2))
    detector, seconds = uses.teach(uses.labelled(look.images, look.factors), steps=150)
    house, trees, horizon = uses.scores(uses.read(detector, fresh.images), fresh.factors)
    assert house > 75 and trees > 50 and horizon < 0.8 and seconds > 0


def test_histogram_matching_gives_the_other_distribution():
    generator = torch.Generator().manual_seed(0)
    here, there = (
        torch.rand(30, 3, 8, 8, generator=generator),
        torch.rand(40, 3, 8, 8, generator=generator),
    )
    there = there**3
    made = uses.histogram_matched(here, here, there)
    levels = torch.linspace(0.1, 0.9, 9)
    for c in range(3):
        check_close(made[:, c].quantile(levels), there[:, c].quantile(levels), tolerance=0.05)
        order = here[:, c].flatten().argsort()
        assert (made[:, c].flatten()[order].diff() >= 0).all()


# ------------------------------------------------------------------ what the text says of all runs

RUNS = list(recorded("05e_training_with_alignment").values())
TASKS = ("house", "trees")


@pytest.mark.parametrize("amount", [10, 100, 2000])
def test_unlabelled_winter_helps_on_average(amount):
    """One seed may not show it: there a detector that never saw winter guesses well."""
    gains = [
        sum(run[f"{task}_amount_{amount}_percent"] - run[f"{task}_none_percent"] for task in TASKS)
        / 2
        for run in RUNS
    ]
    assert len(gains) >= 5 and sum(gains) / len(gains) > 15
    assert sum(gain > 5 for gain in gains) >= len(gains) - 1


@pytest.mark.parametrize("run", RUNS)
def test_every_run_says_what_the_text_says(run):
    for task in TASKS:
        assert run[f"{task}_pupil_percent"] > run[f"{task}_both_percent"]
    assert run["horizon_pupil_pixels"] > run["horizon_both_pixels"]
    assert run["house_second_percent"] > run["house_first_percent"]


def test_the_pupil_reaches_the_goal_in_most_runs():
    assert sum(run["goals_reached"] >= 2 for run in RUNS) >= 4


# ------------------------------------------------------------------ faults


def test_wrong_input_is_named(look):
    probe = uses.translation.Probe()
    with pytest.raises(ValueError, match="pictures"):
        uses.read(probe, torch.zeros(2, 3, 30, 31))
    with pytest.raises(ValueError, match="cannot be averaged"):
        uses.joined([uses.read(probe, look.images), uses.read(probe, look.images[:3])])


# ------------------------------------------------------------------ exercises

WRONG = {
    1: (
        "def my_matched(x, summer):\n"
        "    return (x - x.mean()) / x.std() * summer.std() + summer.mean()",
        "quantile",
    ),
    2: (
        "def my_corrected(p, before, after):\n    return p * after / before",
        "new share|on the line",
    ),
    3: ("def my_share(said, found, alarms):\n    return said", "for a share of"),
    4: (
        "def my_errors(spread, noise):\n"
        "    return 2 * [normal_below(-1 / math.sqrt(spread**2 + noise**2)).item()]",
        "noise 1",
    ),
}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_exercise(number):
    names = dict(vars(uses), math=math, torch=torch, check_close=check_close, answered=answered)
    exercise_works("05e_training_with_alignment", number, names, *WRONG[number])

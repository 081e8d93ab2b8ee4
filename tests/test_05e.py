"""Notebook 05e, with its own definitions: the line in closed form, the draws, and the exercises."""

import json
import math
import re
import subprocess

import pytest
import torch
from conftest import ROOT, exercise_works
from torch.nn import functional as F

from tools import slides
from utils import data
from utils.checks import answered, check_close, check_unseen
from utils.notebooks import definitions
from utils.results import recorded

uses = definitions("05e_training_with_alignment")


def numbers(*values):
    return [torch.tensor(value, dtype=torch.float64) for value in values]


WORLDS = [(2.0, 1.0, 0.5), (0.5, 0.4, 0.2), (3.0, 0.7, 0.9)]


@pytest.mark.parametrize("world", WORLDS)
def test_error_on_the_line_is_that_of_points(world):
    shift, spread, prior = world
    generator = torch.Generator().manual_seed(0)
    second = torch.rand(200_000, generator=generator) < prior
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
    shift, spread, prior = world
    middle = uses.winter_median(*world)
    low, high = (uses.normal_below((middle - shift + side) / spread) for side in (1, -1))
    check_close((1 - prior) * low + prior * high, 0.5, tolerance=1e-6)


@pytest.mark.parametrize("prior", [0.1, 0.3, 0.6])
def test_narrow_classes_pay_the_difference_of_the_class_priors(prior):
    """A perfect match moves |prior - 1/2| of all points over the border."""
    world = numbers(1.0, 0.05, prior)
    crossed = uses.line_error(uses.winter_median(*world), *world)
    check_close(crossed, abs(prior - 0.5), tolerance=1e-3)


def test_live_line_agrees_with_the_formulas():
    live = uses.LineWorlds()
    for world in WORLDS:
        shift, spread, prior = world
        shown = live(torch.tensor([[shift, prior, spread]]))
        borders = [0.0, uses.winter_median(*numbers(*world)), uses.best_border(*numbers(*world))]
        truth = [100 * uses.line_error(torch.tensor(float(b)), *world) for b in borders]
        check_close(shown["errors"], torch.stack(truth), tolerance=1e-3)
        check_close(shown["match"][0, 0, 0], borders[1], tolerance=1e-4)
        for name, mass in (("winter_one", 1 - prior), ("winter_two", prior)):
            x, density = shown[name].double().T
            mean = torch.trapezoid(x * density, x) / torch.trapezoid(density, x)
            check_close(mean, shift + (1 if name == "winter_two" else -1), tolerance=2e-2)
            check_close(torch.trapezoid(density, x), mass, tolerance=2e-2)


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


def test_teaching_is_that_of_05c_on_changed_pictures(look):
    """The same weights, to the last digit, as 05c's loop on pictures changed by hand."""
    draw = uses.labelled(look.images, look.factors)

    def changed(count):
        x, factors = draw(count)
        return uses.jittered(x, 0.05), factors

    found = []
    for loop in (
        lambda: uses.teach(draw, steps=8),
        lambda: uses.translation.teach(changed, steps=8),
    ):
        torch.manual_seed(3)
        found.append(torch.nn.utils.parameters_to_vector(loop()[0].parameters()))
    assert torch.equal(*found)


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


def test_a_colour_that_never_changes_is_not_matched():
    x = torch.rand(4, 3, 8, 8)
    flat = x.clone()
    flat[:, 1] = 0.5
    with pytest.raises(ValueError, match="colour 1 is the same everywhere"):
        uses.histogram_matched(x, flat, x)


def test_scores_and_alarms_of_known_answers(look):
    trees = F.one_hot(look.factors.trees, 4).float()
    truth = uses.Reading(look.factors.house.float(), trees, look.factors.horizon)
    check_close(uses.scores(truth, look.factors), (100.0, 100.0, 0.0))
    wrong = uses.Reading(1 - truth.house, trees.roll(1, 1), truth.horizon - 2 / 32)
    check_close(uses.scores(wrong, look.factors), (0.0, 0.0, 2.0), tolerance=1e-4)
    said = torch.tensor([0.9, 0.1, 0.2, 0.6, 0.4])
    house = torch.tensor([False, False, True, True, True])
    reading = uses.Reading(said, said, said)
    check_close(uses.alarms_of(reading, house), (50.0, 100 / 3), tolerance=1e-5)
    halves = [uses.Reading(v, v[:, None], v) for v in (torch.zeros(2), torch.ones(2))]
    for part in uses.joined(halves):
        check_close(part.flatten(), torch.full((2,), 0.5))


def test_a_student_never_sees_a_true_label(look):
    """Garbage in the true factors changes nothing in the student, to the last digit."""
    torch.manual_seed(0)
    said = uses.read(uses.translation.Probe(), look.images)
    factors = look.factors._replace(house=look.factors.house.clone())
    check_unseen(
        lambda: uses.self_trained(look.images, factors, said, steps=3)[0],
        [factors.house, factors.trees, factors.horizon], seen=[look.images, said.trees],
    )  # fmt: skip


def test_each_approach_asks_its_own_detector(look):
    """Approach 1 reads what the generator made, approach 2 the picture; both is their mean."""

    class Dark:
        translate = staticmethod(torch.zeros_like)

    torch.manual_seed(1)
    one, two = uses.translation.Probe(), uses.translation.Probe()
    found = uses.both_ways(one, two, Dark, look.images)
    for name, truth in [
        ("first", uses.read(one, 0 * look.images)),
        ("second", uses.read(two, look.images)),
        ("both", uses.joined([found["first"], found["second"]])),
    ]:
        for ours, expected in zip(found[name], truth):
            check_close(ours, expected)


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
    assert len(gains) >= 5 and sum(gains) / len(gains) > 0
    assert sum(gain > 0 for gain in gains) > len(gains) / 2


def test_most_runs_say_what_the_text_says():
    def mostly(holds):
        assert sum(map(holds, RUNS)) > len(RUNS) / 2

    for task in TASKS:
        mostly(lambda run, t=task: run[f"{t}_student_percent"] > run[f"{t}_both_percent"])
    mostly(lambda run: run["horizon_student_pixels"] > run["horizon_both_pixels"])
    mostly(lambda run: run["house_second_percent"] > run["house_first_percent"])
    mostly(lambda run: run["trees_colours_percent"] < run["trees_none_percent"])


# ------------------------------------------------------------------ what the slides say

NOTEBOOKS = sorted({path.stem for path in ROOT.glob("results/05*.json")})
SLIDES = (ROOT / "lecture/05_alignment.md").read_text(encoding="utf-8").split("\n---\n")[1:]
ONE_RUN = ("matching", "ways", "cipher_length", "uses_accuracy", "uses_amount", "uses_prior",
           "digits_none", "digits_students")  # fmt: skip
FROM_SEEDS = re.compile(r"\{\{\s*(05\w+)\.(\w+)\s*:\s*(\d)( range)?\s*\}\}")


def seen_of(slide):
    """A slide's text without its notes."""
    return re.sub(r"<!--.*?-->", "", slide, flags=re.S)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_what_is_shown_is_what_the_run_of_the_figures_recorded(notebook):
    runs = recorded(notebook)
    for key, value in runs["0"].items():
        if key.startswith("shown_"):
            assert value == runs["0"][key.removeprefix("shown_")], key
    assert not any(
        key.startswith("shown_") for seed, run in runs.items() if seed != "0" for key in run
    )


@pytest.mark.parametrize("figure", ONE_RUN)
def test_a_number_beside_the_figure_of_one_run_is_of_this_run(figure):
    """Or of all seeds, as a range; what is the same in all seeds may stand as it is."""
    [slide] = [seen_of(s) for s in SLIDES if f"05_alignment/{figure}.svg" in s]
    assert re.search(r"one run|this run", slide)
    found = FROM_SEEDS.findall(slide)
    assert any(key.startswith("shown_") for _, key, _, _ in found)
    for notebook, key, _, span in found:
        values = {run[key] for run in recorded(notebook).values() if key in run}
        assert key.startswith("shown_") or span or len(values) == 1, key


@pytest.mark.parametrize("title", ["What the answer costs", "Reading a page without labels"])
def test_numbers_in_a_table_are_means_of_all_seeds(title):
    """Not those of the first seed: what the engine writes is recomputed here."""
    [slide] = [s for s in SLIDES if f"# {title}" in s]
    asked = [match.group() for match in FROM_SEEDS.finditer(seen_of(slide))]
    script = (
        "const {fillResults} = await import(process.argv[1]);"
        "console.log(JSON.stringify(JSON.parse(process.argv[2]).map(fillResults)))"
    )
    engine = (ROOT / "lecture/engine.mjs").as_uri()
    told = subprocess.run(
        [slides._node(), "--input-type=module", "-e", script, engine, json.dumps(asked)],
        cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True,
    ).stdout  # fmt: skip
    assert len(asked) > 3
    for question, answer in zip(asked, json.loads(told)):
        notebook, key, digits, _ = FROM_SEEDS.fullmatch(question).groups()
        values = [run[key] for run in recorded(notebook).values() if key in run]
        assert abs(float(answer) - sum(values) / len(values)) <= 0.501 * 10 ** -int(digits), key


# ------------------------------------------------------------------ faults


def test_wrong_input_is_named(look):
    probe = uses.translation.Probe()
    with pytest.raises(ValueError, match="pictures"):
        uses.read(probe, torch.zeros(2, 3, 30, 31))
    with pytest.raises(ValueError, match="cannot be averaged"):
        uses.joined([uses.read(probe, look.images), uses.read(probe, look.images[:3])])


# ------------------------------------------------------------------ exercises

WRONG = {
    2: (
        "def my_matched(x, summer):\n"
        "    return (x - x.mean()) / x.std() * summer.std() + summer.mean()",
        "quantile",
    ),
    4: (
        "def my_corrected(p, before, after):\n    return p * after / before",
        r"new prior|on the line",
    ),
    5: ("def my_prior(p, before):\n    return p.mean()", "trained with prior"),
}


def names():
    return dict(
        vars(uses), math=math, torch=torch, check_close=check_close, answered=answered
    )  # fmt: skip


@pytest.mark.parametrize("number", [2, 4, 5])
def test_exercise(number):
    exercise_works("05e_training_with_alignment", number, names(), *WRONG[number])


NEARLY = [
    (2, "def my_matched(x, summer):\n    return summer.sort().values[: len(x)]", "order"),
    (2, "def my_matched(x, summer):\n    return summer", "the shape is"),
    (2, "def my_matched(x, summer):\n"
        "    return -summer.neg().quantile((x.argsort().argsort() + 0.5) / len(x))", "order"),
    (4, "def my_corrected(p, before, after):\n"
        "    second = p * before / after\n"
        "    return second / (second + (1 - p) * (1 - before) / (1 - after))", "new prior"),
    (5, "def my_prior(p, before):\n"
        "    second = p * p.mean() / before\n"
        "    first = (1 - p) * (1 - p.mean()) / (1 - before)\n"
        "    return (second / (second + first)).mean()", "trained with prior"),
    (5, "def my_prior(p, before):\n    return (p > 0.5).float().mean()", "trained with prior"),
]  # fmt: skip


@pytest.mark.parametrize("number, code, message", NEARLY)
def test_nearly_right_answers_fail(number, code, message):
    """The order lost, priors exchanged, one step of EM instead of many, counted answers."""
    exercise_works("05e_training_with_alignment", number, names(), code, message)

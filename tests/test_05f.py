"""Notebook 05f, with its own definitions: counted ink, generators and classifiers, the exercises."""

import pytest
import torch
from conftest import exercise_works
from torch.nn import functional as F

from utils import data
from utils.checks import answered, check_close
from utils.notebooks import definitions
from utils.results import recorded

digits = definitions("05f_printed_digits")


def test_counting_undoes_place_and_size():
    """The same letter, small in a corner or large in the middle, counts as the same ink."""
    large = torch.zeros(2, 64, 64)
    large[0, 8:56, 20:44] = 1.0
    large[0, 16:48, 28:36] = 0.0
    large[1, 2:26, 40:52] = 1.0
    large[1, 6:22, 44:48] = 0.0
    first, second = digits.counted(large)
    check_close(first, second, tolerance=0.07)  # a dot of 16 may fall to the other side
    ring = first.view(8, 8)
    assert ring[4, 4] < ring[4, 2] == ring[0, 4] == 1  # hollow, as high as the picture
    check_close(ring[:, [0, 1, 6, 7]], torch.zeros(8, 4))  # centred


def test_counted_prints_look_like_counted_handwriting():
    glyphs = data.glyphs(
        500, characters="0123456789", size=64, noise=0.0, generator=torch.Generator().manual_seed(0)
    )
    ink = digits.counted(glyphs.x)
    assert ink.shape == (500, 64) and ink.min() == 0 and ink.max() == 1
    check_close(16 * ink, (16 * ink).round(), tolerance=1e-4)  # blocks of 16 dots
    assert (ink.view(-1, 8, 8)[:, [0, 7]].amax(2) > 0).all()  # the height is filled


def test_a_fresh_generator_changes_little():
    torch.manual_seed(0)
    x = torch.rand(20, 64)
    net = digits.DigitGenerator()
    made = net.translate(x)
    assert made.shape == x.shape and (made - x).abs().mean() < 0.1
    assert not made.requires_grad and net(x).requires_grad
    assert digits.DigitDiscriminator()(x).shape == (20, 1)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="without ink"):
        digits.counted(torch.zeros(2, 16, 16))
    with pytest.raises(ValueError, match=r"\(B, 64\)"):
        digits.DigitGenerator()(torch.zeros(3, 1, 8, 8))


def test_ink_in_another_unit_is_refused():
    """Grey levels to 16 or 255, negative ones, none at all, a digit without an example."""
    x, y = torch.rand(20, 64), torch.arange(20) % 10
    classifier = digits.trained(x, y)
    for ink in (16 * x, x - 0.5, x[:0], x[:, :60]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            digits.votes(classifier, ink)
        with pytest.raises(ValueError, match="from 0 to 1"):
            digits.trained(ink, y[: len(ink)])
    for drawings in (255 * torch.rand(2, 16, 16), torch.zeros(0, 16, 16)):
        with pytest.raises(ValueError, match="from 0 to 1"):
            digits.counted(drawings)
    with pytest.raises(ValueError, match=r"show \[9\]"):
        digits.trained(x[:9], y[:9])


def test_votes_are_of_the_digits_in_order():
    """Ten well separated classes: the highest score stands at the digit, and counts as right."""
    torch.manual_seed(0)
    y = torch.arange(10).repeat(20)
    x = (0.2 + 0.6 * F.one_hot(y, 64) + 0.02 * torch.randn(200, 64)).clamp(0, 1)
    said = digits.votes(digits.trained(x, y), x)
    assert said.shape == (200, 10)
    check_close(digits.percent_right(said, y), 100.0)
    check_close(digits.percent_right(said, (y + 1) % 10), 0.0)
    check_close(digits.percent_right(said[:4], torch.tensor([0, 1, 5, 5])), 50.0)


@pytest.mark.parametrize("run", recorded("05f_printed_digits").values())
def test_every_run_says_what_the_text_says(run):
    """Adding scores does not help; students without a generator gain a few points and stop."""
    assert run["second_itself_percent"] > run["both_itself_percent"]
    assert 0 < run["alone_fifth_percent"] - run["none_percent"] < 10
    assert run["steps_400_percent"] > max(run["steps_800_percent"], run["steps_1600_percent"])
    assert run["labels_100_percent"] > run["both_fifth_percent"] > run["labels_20_percent"]


WRONG = {
    2: (
        "def my_confusion(truth, said):\n"
        "    table = torch.zeros(10, 10).index_put_((truth, said), torch.ones(len(said)), accumulate=True)\n"
        "    return 100 * table / len(said)",
        "of the zeros",
    ),
    4: ("def my_surest(votes, K):\n    return votes.amax(1).argsort()[:K]", "position"),
    5: ("def my_majority(p, n):\n    return p**n", "of three teachers"),
}


@pytest.mark.parametrize("number", WRONG)
def test_exercise(number):
    names = dict(vars(digits), torch=torch, check_close=check_close, answered=answered)
    exercise_works("05f_printed_digits", number, names, *WRONG[number])

"""Notebook 06c, with its own definitions: the limit, scores, treatments, wrong input, exercises."""

import itertools

import numpy as np
import pytest
import torch
from conftest import exercise_works
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from utils.checks import answered, check_close
from utils.notebooks import definitions

forensics = definitions("06c_forensics")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def law(count):
    p = torch.rand(count).double()
    return p / p.sum()


def test_no_rule_passes_the_limit_and_one_reaches_it():
    for _ in range(5):
        p, q = law(6), law(6)
        limit = (1 + forensics.total_variation(p, q)) / 2
        rules = [torch.tensor(r) for r in itertools.product([False, True], repeat=6)]
        found = [forensics.exact_accuracy(rule, p, q) for rule in rules]
        check_close(max(found), limit, tolerance=1e-12)
        check_close(forensics.exact_accuracy(q > p, p, q), limit, tolerance=1e-12)
        check_close(forensics.exact_accuracy(q < p, p, q), 1 - limit, tolerance=1e-12)
    assert forensics.total_variation(p, p) == 0
    disjoint = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert forensics.total_variation(*disjoint) == 1


def test_scores_are_those_of_scikit_learn():
    for ties in (1, 3, 1000):
        real = (torch.randn(50) * ties).round() / ties
        fake = (torch.randn(31) * ties + 0.5 * ties).round() / ties
        label, both = np.repeat([0, 1], [50, 31]), torch.cat([real, fake]).numpy()
        check_close(forensics.auc(real, fake), roc_auc_score(label, both))
        check_close(forensics.average_precision(real, fake), average_precision_score(label, both))
        for threshold in (-1.0, 0.0, 0.5):
            known = balanced_accuracy_score(label, both > threshold)
            check_close(forensics.accuracy(real, fake, threshold), known)
        check_close(forensics.auc(real, fake) + forensics.auc(fake, real), 1.0)


def test_best_threshold_is_the_best_of_all():
    for _ in range(20):
        real, fake = torch.randn(17).round(decimals=1), torch.randn(5).round(decimals=1) + 0.7
        cuts = torch.linspace(-5, 5, 2001)
        best = max(forensics.accuracy(real, fake, cut) for cut in cuts)
        found = forensics.best_threshold(real, fake)
        check_close(forensics.accuracy(real, fake, found), best)


def test_parts_are_disjoint_shuffled_and_always_the_same():
    levels = torch.arange(1000)[:, None, None].expand(-1, 2, 2)
    found = forensics.parts(levels, 1000)
    assert [len(x) for x in found] == [500, 200, 300]
    order = (torch.cat(found)[:, 0, 0, 0] * 1000).round()
    assert sorted(order.tolist()) == list(range(1000)) and order[:5].tolist() != [0, 1, 2, 3, 4]
    assert all(torch.equal(a, b) for a, b in zip(found, forensics.parts(levels, 1000)))


def test_treatments():
    x = (torch.rand(6, 1, 28, 28) * 255).round() / 255
    for how in ("untouched", "blur", "noise", "JPEG", "cleaned"):
        found = forensics.treated(x, how, 255)
        assert torch.equal(found, x) == (how == "untouched")
        check_close(found * 255, (found * 255).round(), tolerance=1e-4)
    assert not ((forensics.treated(x, "cleaned", 255) > 0) & (x < 1 / 8)).any()
    check_close(forensics.blurred(x).mean((2, 3)), x.mean((2, 3)), tolerance=0.02)
    check_close(forensics.blurred(x, 0.0), x)
    one = torch.full((1, 1, 8, 8), 0.5)
    check_close(forensics.jpeg(one, [50]), one, tolerance=0.01)
    far = [(forensics.jpeg(x, [q] * 6) - x).abs().mean() for q in (5, 50, 95)]
    assert far[0] > far[1] > far[2]
    small = (torch.rand(40, 1, 8, 8) * 16).round() / 16
    found = forensics.augmented(small, 16)
    assert found.shape == small.shape and found.min() >= 0 and found.max() <= 1
    check_close(found * 16, (found * 16).round(), tolerance=1e-4)
    same = (found == small).flatten(1).all(1).float().mean()
    assert 0 < same < 0.6


def test_spectrum_finds_a_wave():
    wave = 0.5 + 0.5 * torch.cos(2 * torch.pi * 5 * torch.arange(28) / 28)
    across = forensics.spectrum(wave.expand(1, 1, 28, 28)).reshape(28, 15)
    down = forensics.spectrum(wave[:, None].expand(1, 1, 28, 28)).reshape(28, 15)
    assert across[0].topk(2).indices.tolist() == [0, 5]
    assert sorted(down[:, 0].topk(3).indices.tolist()) == [0, 5, 23]


@pytest.mark.parametrize("loop", ["fit_plain", "fit"])
def test_detector_gives_fakes_the_high_scores(loop):
    real = torch.rand(80, 1, 8, 8)
    fake = torch.rand(80, 1, 8, 8) * 0.5
    detector = getattr(forensics, loop)(real[:50], fake[:50], steps=60)
    with torch.no_grad():
        scores = detector(real[50:]), detector(fake[50:])
    assert forensics.auc(*scores) > 0.9 and not detector.training


def test_augmentation_is_what_the_network_sees():
    seen = []
    real, fake = torch.zeros(20, 1, 8, 8), torch.ones(20, 1, 8, 8)

    def half(x):
        seen.append(x)
        return x / 2

    forensics.fit(real, fake, half, steps=3, batch=16)
    assert [len(x) for x in seen] == [16] * 3
    assert {0.0, 1.0} == set(torch.cat(seen).flatten().tolist())


def test_missing_samples_are_named():
    kept = {"04a_gan": {"digits_gan": 1}}
    found = forensics.read_samples({"GAN": ("04a_gan", "digits_gan")}, kept.__getitem__)
    assert found == {"GAN": 1}

    def read(notebook):
        if notebook not in kept:
            raise FileNotFoundError(notebook)
        return kept[notebook]

    wanted = {"a": ("04a_gan", "digits_gan"), "b": ("04a_gan", "ring"), "c": ("09a_x", "y")}
    with pytest.raises(FileNotFoundError, match="ring of 04a_gan, y of 09a_x"):
        forensics.read_samples(wanted, read)


def test_wrong_input_is_named():
    good = torch.rand(4, 1, 8, 8)
    for x, told in [(good[:, 0], "pictures are"), (good * 2 - 1, "0 to 1"),
                    (good.expand(-1, 3, -1, -1), "pictures are"), (good * torch.nan, "0 to 1")]:  # fmt: skip
        with pytest.raises(ValueError, match=told):
            forensics.Detector()(x)
    with pytest.raises(ValueError, match="whole numbers"):
        forensics.parts(torch.rand(1000, 8, 8), 16)
    with pytest.raises(ValueError, match="whole numbers"):
        forensics.parts(17 * torch.ones(1000, 8, 8), 16)
    with pytest.raises(ValueError, match="1000 grey"):
        forensics.parts(torch.ones(10, 8, 8), 16)
    with pytest.raises(ValueError, match="choose untouched"):
        forensics.treated(good, "sharp", 16)
    with pytest.raises(ValueError, match="sum to one"):
        forensics.total_variation(torch.ones(3), law(3))
    with pytest.raises(ValueError, match="cannot be compared"):
        forensics.total_variation(law(3), law(4))
    for score in (forensics.accuracy, forensics.auc, forensics.average_precision):
        with pytest.raises(ValueError, match="one set is empty"):
            score(torch.ones(0), torch.ones(2))
        with pytest.raises(ValueError, match="not finite"):
            score(torch.ones(3), torch.tensor([torch.inf]))


NAMES = {"torch": torch, "itertools": itertools, "answered": answered, "check_close": check_close}


@pytest.mark.parametrize(
    "number, wrong, where",
    [
        (1, "def my_limit(p, q, share):\n    return 0.5 + 0.25 * (p - q).abs().sum()", "share of"),
        (2, "def my_limit_of_many(p, q, n):\n    return 1 - (0.35) ** n", "2 pictures"),
        (3, "def my_auc(real, fake):\n    return (fake[:, None] > real).double().mean()", "equal"),
        (5, "def my_threshold(real, alarms):\n    return real.quantile(1 - alarms)", "threshold"),
    ],
)
def test_exercises(number, wrong, where):
    exercise_works("06c_forensics", number, NAMES | {"auc": forensics.auc}, wrong, where)

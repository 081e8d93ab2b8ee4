"""Notebook 06e, with its own definitions: records, the bias of the distance, sorting, exercises."""

import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from scipy import stats
from torch.nn import functional as F

from utils import data, results, yardstick
from utils.checks import answered, check_close, check_monte_carlo
from utils.notebooks import definitions

NAME = "06e_one_table"
table = definitions(NAME)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


# ------------------------------------------------------------------ what was recorded


def every_row():
    return [*table.DIGITS, *table.BARS, *table.RING, *table.MNIST]


@pytest.mark.parametrize("row", every_row(), ids=lambda row: f"{row.notebook[:3]} {row.name}")
def test_every_cell_is_recorded_or_none(row):
    for key in ("valid", "test", "closer", "binary", "seconds", "sampling"):
        value = table.number(row.notebook, getattr(row, key))
        assert math.isnan(value) == (not getattr(row, key))
    if row.samples:
        world = row.samples.split("_")[0]
        kept = table.drawn(row.notebook, row.samples)
        assert kept.shape == (1000, *results.WORLDS[world][0])
    assert row.score in ("exact", "bound", "estimate", "none")


def test_valid_and_test_are_not_mixed():
    """Valid digits are dearer than test digits for every model: a swapped pair shows."""
    for row in table.DIGITS:
        for key, word in (("valid", "test"), ("test", "valid"), ("closer", "valid")):
            assert word not in getattr(row, key), f"{row.name}: {key}"
        valid, test = (table.number(row.notebook, getattr(row, k)) for k in ("valid", "test"))
        assert math.isnan(valid) or 1 < valid - test < 5, row.name
        closer = table.number(row.notebook, row.closer)
        assert math.isnan(closer) or closer < test, row.name
        assert not row.valid.startswith("binary") and row.binary[:6] in ("", "binary")


def test_a_bound_is_not_called_exact():
    bounds = {row.name for row in table.DIGITS if row.score == "bound"}
    assert bounds == {"flow", "VAE", "diffusion"}
    assert {row.name for row in table.DIGITS if row.closer} <= bounds
    for row in table.DIGITS:
        assert (row.score == "none") == (not row.test and not row.binary), row.name


def test_at_least_twelve_families():
    assert len(table.DIGITS) + 5 >= 15
    assert len({row.samples for row in every_row() if row.samples}) == sum(
        bool(row.samples) for row in every_row()
    )


def test_what_is_missing_names_the_notebook():
    with pytest.raises(ValueError, match=r"03a_vae recorded no gone .* ONLY=03a"):
        table.number("03a_vae", "gone")
    with pytest.raises(ValueError, match=r"no numbers of 00z_none.* ONLY=00z"):
        table.number("00z_none", "gone")
    with pytest.raises(ValueError, match=r"03a_vae kept no samples called digits_x.* ONLY=03a"):
        table.drawn("03a_vae", "digits_x")
    with pytest.raises(FileNotFoundError, match="00z_none"):
        table.drawn("00z_none", "digits_x")
    assert math.isnan(table.number("04a_gan", ""))


def test_a_number_is_the_mean_of_all_seeds():
    runs = results.recorded("03a_vae")
    assert len(runs) == 3
    expected = sum(run["test_elbo_nats"] for run in runs.values()) / 3
    check_close(table.number("03a_vae", "test_elbo_nats"), expected)


# ------------------------------------------------------------------ the distance


def test_chance_by_hand_and_by_simulation():
    check_close(table.by_chance(torch.tensor([4.0]), 100, 100), 3 * 4 / 100, what="1-D")
    check_close(table.by_chance(torch.ones(10), 50, 50), 10 * 15 / 100, what="round")
    check_close(table.by_chance(torch.ones(10), 50, 10**12), 10 * 15 / 200, what="one set")
    a = torch.tensor([1.0, 25.0, 0.04, 0.0])
    found = [
        yardstick.frechet(
            torch.randn(500, 4).double() * a.sqrt(), torch.randn(2000, 4).double() * a.sqrt()
        )
        for _ in range(800)
    ]
    check_monte_carlo(found, table.by_chance(a, 500, 2000), errors=5)
    with pytest.raises(ValueError, match="at least two"):
        table.by_chance(a, 1, 100)
    with pytest.raises(ValueError, match="not negative"):
        table.by_chance(-a, 10, 100)


def test_scores_know_copies_and_noise():
    train, valid, test = data.digits()
    copies = table.measured(train.x, train.x, test.x)
    assert copies["Fréchet to train"] < 1e-3 and copies["nearest"] == 0
    real = table.measured(valid.x, train.x, test.x)
    check_close(real["Fréchet to test"], yardstick.frechet(valid.x, test.x))
    both = yardstick.precision_recall(test.x[:350], valid.x)
    check_close([real["precision"], real["recall"]], list(both))
    noise = torch.randint(0, 17, (1000, 64)).float()
    found = table.measured(noise, train.x, test.x)
    for name in ("Fréchet to train", "Fréchet to test", "features", "nearest"):
        assert found[name] > 3 * real[name]
    assert found["precision"] < 0.05
    for bad in (train.x[:349], train.x.reshape(-1, 8, 8)):
        with pytest.raises(ValueError, match="samples are"):
            table.measured(bad, train.x, test.x)


def test_enlarged_digits_can_be_read():
    test = data.digits().test
    large = table.enlarged(test.x)
    assert large.shape == (447, 1, 28, 28) and large.min() >= 0 and large.max() <= 1
    assert (yardstick.read_digits(large).label == test.y).double().mean() > 0.75
    check_close(large.flatten(1).sum(1) / (20 / 8) ** 2, test.x.sum(1) / 16, tolerance=0.06)


# ------------------------------------------------------------------ baselines


def test_noisy_memory_is_a_distribution():
    train = torch.tensor([[0, 1, 2], [2, 2, 2], [0, 0, 1]]).float()
    tables = definitions("02c_image_flows").pixel_tables(train, levels=3)
    check_close(tables.sum(1), [1, 1, 1])
    check_close(tables[0], [3 / 6, 1 / 6, 2 / 6])
    everything = torch.cartesian_prod(*[torch.arange(3)] * 3)
    for share in (0.2, 0.7, 1.0):
        total = table.noisy_memory(everything, train, tables, share).exp().sum()
        check_close(total, 1.0, what=f"the sum over all images, share {share}")
    log_p = table.noisy_memory(everything, train, tables, 0.0)
    assert log_p.isneginf().sum() == 24
    check_close(log_p[~log_p.isneginf()], [-math.log(3)] * 3)
    with pytest.raises(ValueError, match="from 0 to 1"):
        table.noisy_memory(everything, train, tables, 1.2)


# ------------------------------------------------------------------ the table


def test_sorting():
    rows = [
        {"family": "b", "test": 2.0, "recall": 0.1},
        {"family": "c", "recall": 0.5},
        {"family": "a", "test": math.inf, "recall": math.nan},
        {"family": "d", "test": 1.0, "recall": 0.3},
    ]

    def order(column):
        return "".join(row["family"] for row in table.ranked(rows, column))

    assert order("test") == "dbac", "fewer nats are better, infinitely many are a number"
    assert order("recall") == "cdba", "more recall is better, none stands last"
    assert order("family") == "abcd"
    with pytest.raises(ValueError, match="no column 'nats'; there are family"):
        table.ranked(rows, "nats")


def test_agreement_minds_the_direction_and_counts_the_rows():
    rows = [{"test": float(i), "recall": -i / 10, "few": math.nan} for i in range(6)]
    assert table.agreement(rows, "test", "recall") == (1.0, 6)
    assert table.agreement(rows, "test", "recall", ()) == (-1.0, 6)
    rows.append({"test": math.inf, "recall": 0.9, "few": 1.0})
    value, count = table.agreement(rows, "test", "recall")
    assert count == 7 and value < 1
    assert math.isnan(table.agreement(rows, "test", "few")[0])
    assert table.agreement(rows, "test", "few")[1] == 1


def test_chooser_shows_the_family_and_its_row():
    samples = torch.randint(0, 17, (3, 32, 8, 8))
    strips = torch.zeros(3, 30, 960)
    for i in range(3):
        strips[i, 10, : 100 * (i + 1)] = 255
    head, order = torch.zeros(2, 30, 960), torch.tensor([[0, 1, 2], [2, 0, 1]])
    live = table.Chooser(samples, head, strips, order)
    for family in range(3):
        for column in range(2):
            found = live(torch.tensor([[family, column]]).float())
            image = found["image"][0, 0]
            assert image.shape == (120 + 30 * 4, 960)
            assert found["chosen"].tolist() == [[float(i == family) for i in range(3)]]
            check_close(image[2:58, 902:958][::7, ::7], samples[family, 15] / 16)
            check_close(image[62:118, 2:58][::7, ::7], samples[family, 16] / 16)
            lines = image[150:].unflatten(0, (3, 30))
            check_close((lines[:, 10] == 1).sum(1), 100 * (order[column] + 1))
            assert (lines[:, 0, 0] > 0).tolist() == (order[column] == family).tolist()
    with pytest.raises(ValueError, match="one strip for each family"):
        table.Chooser(samples, head, strips[:2], order)


# ------------------------------------------------------------------ bars and stripes


def test_patterns_are_counted():
    assert table.PATTERNS.shape == (30, 16)
    x = torch.cat([table.PATTERNS[[3, 3, 7]], 1 - torch.eye(16).long()[:2]])
    counts = table.counted(x)
    assert counts.sum() == 3 and counts[3] == 2 and counts[7] == 1
    with pytest.raises(ValueError, match="flatten"):
        table.counted(x.reshape(-1, 4, 4))


# ------------------------------------------------------------------ exercises

NAMES = {
    "torch": torch, "np": np, "math": math, "F": F, "stats": stats, "answered": answered,
    "check_close": check_close, "yardstick": yardstick,
}  # fmt: skip
WRONG = {
    2: ("def my_frechet(mean_a, a, mean_b, b):\n"
        "    return (mean_a - mean_b).square().sum() + (a - b).square().sum()", "twice the width"),
    5: ("def my_rank_correlation(a, b):\n"
        "    return torch.corrcoef(torch.stack([a, b]).double())[0, 1]", "exponential"),
    6: ("def my_gaussian_bound(x, mean, covariance):\n"
        "    law = torch.distributions.MultivariateNormal(mean, covariance)\n"
        "    return -law.log_prob(x + 0.5)", "one dimension"),
    7: ("def my_total_variation(counts, total):\n"
        "    return 0.5 * (counts / total - 1 / len(counts)).abs().sum()", "half of the samples"),
}  # fmt: skip


@pytest.mark.parametrize("number", WRONG)
def test_exercise(number):
    wrong, where = WRONG[number]
    exercise_works(NAME, number, NAMES, wrong, where)

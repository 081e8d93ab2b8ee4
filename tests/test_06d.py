"""Notebook 06d, with its own definitions: probe, losses, tables, neighbours, and the exercises."""

import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from scipy import stats
from sklearn.linear_model import Ridge
from torch.nn import functional as F

from utils import data
from utils.checks import answered, check_close
from utils.notebooks import definitions

transfer = definitions("06d_transfer")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def some_digits(seeds=2, count=24):
    x = data.digits().train.x[: seeds * count]
    return x.view(seeds, count, 64)


# ------------------------------------------------------------------ statistics and the probe


def test_the_paired_interval_is_that_of_scipy():
    a, b = torch.randn(6).double(), torch.randn(6).double()
    for level in (0.9, 0.95):
        known = stats.ttest_rel(a.numpy(), b.numpy()).confidence_interval(level)
        mean, low, high = transfer.paired(a, b, level)
        check_close([low, high], [known.low, known.high], what="the interval")
        check_close(mean, (a - b).mean(), what="with it less without it")


def test_pairs_need_the_same_seeds():
    for a, b in [([1.0], [2.0]), ([1.0, 2.0], [1.0, 2.0, 3.0]), ([[1.0, 2.0]], [[1.0, 2.0]])]:
        with pytest.raises(ValueError, match="the same seeds"):
            transfer.paired(a, b)


@pytest.mark.parametrize("width", [5, 80])
def test_the_probe_is_ridge_regression_in_both_forms(width):
    f, y = torch.randn(3, 40, width), torch.arange(40) % 10
    slopes, offset = transfer.ridge(f, y.expand(3, -1), 2.5)
    target = (2 * F.one_hot(y, 10) - 1).numpy()
    for each in range(3):
        peer = Ridge(alpha=2.5).fit(f[each].numpy(), target)
        check_close(slopes[each].T, peer.coef_, tolerance=1e-3, what="slopes")
        check_close(offset[each, 0], peer.intercept_, tolerance=1e-3, what="offsets")


def test_the_probe_names_wrong_input():
    f, y = torch.randn(20, 4), torch.arange(20) % 10
    for features, labels, strength, told in [
        (f, y[:10], 1.0, "do not fit"),
        (f * math.nan, y, 1.0, "finite"),
        (f, y, 0.0, "above zero"),
        (f, y % 9, 1.0, "no labelled digit"),
    ]:
        with pytest.raises(ValueError, match=told):
            transfer.ridge(features, labels, strength)


def test_units_are_those_of_the_unlabelled_digits_alone():
    f = torch.randn(2, 30, 3) * 5 + 7
    f[:, 20:] += 100  # held-out digits must not count
    found = transfer.standard(f, of=20)
    check_close(found[:, :20].mean(1), torch.zeros(2, 3), tolerance=1e-4, what="means")
    check_close(found[:, :20].std(1), torch.ones(2, 3), tolerance=1e-2, what="spreads")


# ------------------------------------------------------------------ tasks


def test_five_networks_side_by_side_do_not_touch_each_other():
    x = some_digits() / 16
    trunk = transfer.Trunk(2)
    before = trunk(x)
    changed = x.clone()
    changed[0] = changed[0].flip(0)
    after = trunk(changed)
    assert before[0].shape == (2, 24, 128) and len(before) == 2
    assert torch.equal(before[1][1], after[1][1])
    assert not torch.equal(before[1][0], after[1][0])


def test_info_nce_is_a_cross_entropy_both_ways():
    head = transfer.Contrastive(1, heat=0.3)
    u, v = (F.normalize(torch.randn(1, 7, 5), dim=-1) for _ in range(2))
    head.views = lambda trunk, x: [u, v]
    alike, own = u[0] @ v[0].T / 0.3, torch.arange(7)
    known = 0.5 * (F.cross_entropy(alike, own) + F.cross_entropy(alike.T, own))
    check_close(head.loss(None, None).mean(), known, what="InfoNCE")
    placebo = transfer.Contrastive(1, heat=0.3, mismatch=True)
    placebo.views = lambda trunk, x: [u, v]
    wrong = 0.5 * (F.cross_entropy(alike, (own - 1) % 7) + F.cross_entropy(alike.T, (own + 1) % 7))
    check_close(placebo.loss(None, None).mean(), wrong, what="with another partner")


def test_views_are_warps_of_one_digit_and_of_length_one():
    x = some_digits()
    u, v = transfer.Agree(2).views(transfer.Trunk(2), x)
    assert u.shape == (2, 24, 32) and not torch.equal(u, v)
    check_close(u.norm(dim=-1), torch.ones(2, 24), what="lengths")
    check_close(transfer.warp(x, 0.0, 0.0, 0.0), x, what="a warp by nothing")
    moved = transfer.warp(x, 0.0, 2.0, 0.0)
    assert not torch.equal(moved, x) and moved.min() >= 0 and moved.max() <= 16


def test_both_vaes_pay_kl_and_reconstruction():
    trunk, vae, x = transfer.Trunk(2), transfer.VAE(2), some_digits(count=4)
    conditional = transfer.ConditionalVAE(2)
    classes = F.one_hot(torch.arange(4), 10).float().expand(2, -1, -1)
    inputs = torch.cat([x / 8 - 1, classes], -1)
    codes = [vae.to_code(trunk(x / 16)[-1]), conditional.encoder(inputs)]
    losses = [lambda: vae.loss(trunk, x), lambda: conditional.loss(x, classes)]
    decoders = [vae.decode, lambda z: conditional.decode(z, classes)]
    for code, loss, decode in zip(codes, losses, decoders):
        mu, log_var = code.chunk(2, -1)
        q, prior = torch.distributions.Normal(mu, (0.5 * log_var).exp()), torch.zeros_like(mu)
        prior = torch.distributions.Normal(prior, torch.ones_like(mu))
        kl = torch.distributions.kl_divergence(q, prior).sum(-1)
        torch.manual_seed(5)
        found = loss()
        torch.manual_seed(5)
        z = mu + q.stddev * torch.randn_like(mu)
        known = transfer.counts.log_beta_binomial(x, *decode(z)).sum(-1)
        check_close(found, kl - known, tolerance=1e-4, what="-ELBO")
    made = vae.sample(trunk, 3)
    assert made.shape == (2, 3, 64) and torch.equal(made, made.round()) and made.max() <= 16


def test_the_masked_task_pays_for_hidden_pixels_only():
    head, x = transfer.Masked(2), some_digits()
    seen = []
    del head.decoder
    head.decoder = lambda h: seen.append(h) or torch.zeros(2, 24, 64)
    loss = head.loss(lambda x: [x], x)
    shown = seen[0]
    assert 0.3 < (shown[x > 0] > 0).float().mean() < 0.7
    hidden = torch.where(shown == 0, x / 16, torch.zeros(()))
    check_close(loss, hidden.square().sum(-1), what="squared error of the hidden pixels")


def test_loops_take_ink_dots_and_say_so():
    x = data.digits().train.x[:50]
    for work in (
        lambda x: transfer.pretrain(transfer.Trunk(2), transfer.Masked(2), x, steps=1, batch=4),
        lambda x: transfer.play(transfer.Trunk(2), transfer.Generator(2), x, steps=1, batch=4),
    ):
        work(x)
        with pytest.raises(ValueError, match="divided by 16"):
            work(x / 16)


def test_paired_runs_see_the_same_batches():
    seen = []

    class Listen(transfer.Masked):
        def loss(self, trunk, x):
            seen.append(x.clone())
            return super().loss(trunk, x)

    x = data.digits().train.x[:50]
    for _ in range(2):
        transfer.pretrain(transfer.Trunk(2), Listen(2), x, steps=2, batch=4)
    assert torch.equal(seen[0], seen[2]) and torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0][0], seen[0][1])


# ------------------------------------------------------------------ the generative model


def test_tables_are_a_law_of_each_class():
    x = torch.tensor([[0.0] * 64, [3.0] * 64, [3.0] * 64])
    share = F.one_hot(torch.tensor([2, 5, 5]), 10).float()
    tables = transfer.pixel_tables(x, share, smooth=0.5)
    check_close(tables.exp().sum(-1), torch.ones(10, 64), what="sums")
    check_close(tables[5, 7, 3].exp(), 2.5 / (2 + 17 * 0.5), what="P of class 5")
    check_close(tables[0].exp(), torch.full((64, 17), 1 / 17), what="a class without digits")
    found = transfer.class_log_prob(x, tables)
    check_close(found[1, 2], 64 * math.log(0.5 / (1 + 17 * 0.5)), what="log p(x | 2)")
    many = transfer.pixel_tables(x, share.expand(4, 3, -1, -1))
    assert transfer.class_log_prob(x, many).shape == (4, 3, 3, 10)


def test_tables_name_wrong_input():
    x, share = torch.zeros(3, 64), torch.ones(3, 10)
    with pytest.raises(ValueError, match="divided by 16"):
        transfer.pixel_tables(x + 0.5, share)
    for wrong in (torch.ones(2, 10), -share, torch.ones(3, 9)):
        with pytest.raises(ValueError, match="shares are"):
            transfer.pixel_tables(x, wrong)


def test_the_conditional_vae_uses_its_class():
    vae, x = transfer.ConditionalVAE(2), some_digits(count=4)
    z = torch.randn(2, 4, 6)
    classes = F.one_hot(torch.arange(4), 10).float().expand(2, -1, -1)
    assert vae.loss(x, classes).shape == (2, 4)
    assert not torch.equal(vae.decode(z, classes)[0], vae.decode(z, classes.flip(1))[0])


def test_neighbours_move_a_digit_and_count_its_class():
    digits = data.digits().train
    x, y = digits.x[:10] / 16, digits.y[:10]
    pool, names = digits.x[10:60] / 16, digits.y[10:60]
    layers = [[(torch.randn(64, 6), torch.zeros(1, 6)), (torch.randn(6, 5), torch.zeros(1, 5))]]
    scales = [(torch.zeros(n), torch.ones(n)) for n in (64, 5, 3)]
    near = transfer.Neighbours(
        x, y, pool, names, layers, (torch.randn(5, 3), torch.zeros(3)), scales
    )
    out = near(torch.tensor([[4.0, 0.0, 0.0, 0.0, 0.0]]))
    check_close(out["image"][0, 0].flatten(), x[4], what="the digit itself")
    alike = F.normalize(pool, dim=1) @ F.normalize(x[4], dim=0)
    order = alike.topk(20).indices
    check_close(out["image"][1, 0].flatten(), pool[order[0]], what="its nearest neighbour")
    check_close(out["numbers"], [(names[order] == y[4]).sum(), y[4]], what="the caption")
    turned = near.moved(x[4], torch.tensor(90.0), torch.zeros(()), torch.zeros(()))
    check_close(turned.view(8, 8), x[4].view(8, 8).rot90(-1), what="rotated by 90 degrees")


# ------------------------------------------------------------------ exercises

NAMES = {"torch": torch, "np": np, "math": math, "F": F, "stats": stats}
NAMES |= {"answered": answered, "check_close": check_close}


@pytest.mark.parametrize(
    "number, wrong, where",
    [
        (
            2,
            "def my_unpaired_width(a, b):\n    return 2.776 * (a - b).std() / len(a) ** 0.5",
            "half",
        ),
        (
            4,
            "def my_info_nce(u, v, heat):\n    return -((u * v).sum(1) / heat).mean()",
            "collapsed",
        ),
        (3, "def my_alarms(m):\n    return 0.05 * m, 1 - 0.05 / m", "chance"),
        (6, "def my_label_cost(p, confusion):\n    return -confusion.diag().log().mean()", "cost"),
    ],
)
def test_exercises(number, wrong, where):
    exercise_works("06d_transfer", number, dict(NAMES), wrong, where)

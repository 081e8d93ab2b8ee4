"""Notebook 03b, with its own definitions: what holds for any weights, leaks, and the exercises."""

import math

import numpy as np
import pytest
import torch
from conftest import exercise_works
from scipy.stats import betabinom
from sklearn.cluster import KMeans
from torch.nn import functional as F

from utils import data
from utils.checks import answered, check_close, check_unseen
from utils.notebooks import definitions

vq = definitions("03b_vqvae")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def a_prior(**options):
    """A small prior whose probabilities differ clearly, since its weights are large."""
    prior = vq.Prior(**({"codes": 3, "length": 4, "classes": 2, "width": 16} | options)).eval()
    with torch.no_grad():
        for weight in prior.parameters():
            weight.mul_(1.5)
    return prior


def all_codes(codes, length):
    return torch.cartesian_prod(*length * [torch.arange(codes)])


# ------------------------------------------------------------------ codebook


def test_nearest_is_the_nearest():
    h, vectors = torch.randn(6, 5, 3), torch.randn(9, 3)
    by_hand = [[min(range(9), key=lambda k: (v - vectors[k]).norm()) for v in row] for row in h]
    assert vq.nearest(h, vectors).tolist() == by_hand


def test_full_batches_without_memory_are_kmeans():
    h = torch.randn(300, 2) * torch.tensor([3.0, 1.0])
    book = vq.Codebook(6, 2, decay=0.0)
    book.start(h)
    begin = book.vectors.numpy().copy()
    assert torch.cdist(book.vectors, h).min(1).values.max() < 1e-6, "codes start on data"
    for _ in range(15):
        book.update(h, vq.nearest(h, book.vectors))
    theirs = KMeans(6, init=begin, n_init=1, max_iter=15, tol=0).fit(h.numpy())
    check_close(book.vectors, theirs.cluster_centers_, tolerance=1e-3)


def test_moving_averages_in_closed_form():
    """The same two vectors for ever: the code goes to their mean, the old weight is decay^n."""
    book = vq.Codebook(2, 1, decay=0.9)
    book.put(slice(None), torch.tensor([[0.0], [100.0]]), 1.0)
    h = torch.tensor([[1.0], [3.0]])
    for _ in range(5):
        book.update(h, torch.tensor([0, 0]))
    kept = 0.9**5
    check_close(book.counts, [kept + 2 * (1 - kept), kept])
    check_close(book.vectors[0], [4 * (1 - kept) / (kept + 2 * (1 - kept))], tolerance=1e-5)
    check_close(book.vectors[1], [100.0], tolerance=1e-5, what="a code that nobody chose")


def test_dead_codes_are_revived_on_the_batch_and_no_others():
    book = vq.Codebook(4, 2)
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [50.0, 50.0], [-50.0, 9.0]])
    book.put(slice(None), vectors, 1.0)
    book.counts[2:] = 1e-3
    h = torch.randn(40, 2)
    assert book.revive(h) == 2 and torch.equal(book.vectors[:2], vectors[:2])
    assert torch.cdist(book.vectors[2:], h).min(1).values.max() < 1e-6
    assert book.revive(h) == 0
    before = book.vectors.clone()
    book.counts[:3] = 1e-3  # three dead codes, and a batch of one vector
    assert book.revive(h[:1]) == 1 and (book.vectors != before).any(1).sum() <= 1


def test_straight_through_has_the_values_of_one_and_the_gradient_of_the_other():
    h = torch.randn(5, 2, requires_grad=True)
    chosen = torch.randn(5, 2, requires_grad=True)
    out = vq.straight_through(h, chosen)
    check_close(out, chosen)
    out.square().sum().backward()
    check_close(h.grad, 2 * chosen.detach(), tolerance=1e-5)
    assert chosen.grad is None, "codes follow their means, not a gradient"


def test_perplexity():
    assert abs(vq.perplexity(torch.tensor([[0, 1], [2, 3]]), 9) - 4) < 1e-6
    assert abs(vq.perplexity(torch.zeros(7, 2, dtype=torch.int64), 9) - 1) < 1e-6
    for codes in (2, 5, 30):
        z = torch.randint(codes, (40, 3))
        share = np.bincount(z.flatten(), minlength=codes) / 120
        entropy = -sum(p * math.log(p) for p in share if p)
        assert abs(vq.perplexity(z, codes) - math.exp(entropy)) < 1e-6
        assert vq.perplexity(z, codes) <= codes + 1e-9


# ------------------------------------------------------------------ prior


def test_attention_is_torchs_and_a_loops():
    q, k, v = torch.randn(3, 2, 6, 4)
    check_close(
        vq.attend(q, k, v),
        F.scaled_dot_product_attention(q, k, v, is_causal=True),
        tolerance=1e-5,
    )
    weights = (k[1, :3] @ q[1, 2] / 2).softmax(0)
    check_close(vq.attend(q, k, v)[1, 2], weights @ v[1, :3], tolerance=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_heads_are_torchs(heads):
    ours = vq.Attention(8, heads)
    theirs = torch.nn.MultiheadAttention(8, heads, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(3, 5, 8)
    future = torch.ones(5, 5, dtype=torch.bool).triu(1)
    check_close(ours(x), theirs(x, x, x, attn_mask=future)[0], tolerance=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_prior_sums_to_one_for_each_class(classes):
    prior, z = a_prior(classes=classes), all_codes(3, 4)
    for y in range(classes):
        log_p = prior.log_prob(z, torch.full((len(z),), y)).double()
        check_close(log_p.exp().sum(), 1.0, tolerance=1e-5)
        assert log_p.std() > 0.3, "the check would say little"


def test_prior_for_a_grid_sums_to_one_and_is_causal():
    prior, z = vq.GridPrior(2, 9, row=3, width=16).eval(), all_codes(2, 9)
    log_p = prior.log_prob(z, torch.zeros(len(z), dtype=torch.int64))
    check_close(log_p.double().exp().sum(), 1.0, tolerance=1e-5)
    first, second = prior(z[:1], torch.zeros(1, dtype=torch.int64)), z[:1].clone()
    second[0, 4] = 1 - second[0, 4]
    differs = (prior(second, torch.zeros(1, dtype=torch.int64)) != first).any(-1)[0]
    assert differs.tolist() == [False] * 5 + [True] * 4


def test_prior_is_causal_and_hears_the_class():
    prior = a_prior(length=6)
    z, y = torch.randint(3, (1, 6)), torch.zeros(1, dtype=torch.int64)
    jacobian = torch.autograd.functional.jacobian(prior.blocks, prior.embed(z, y))
    size = jacobian[0, :, :, 0].abs().sum((1, 3))
    assert (size.triu(1) == 0).all() and (size.tril()[size.tril() > 0]).numel() == 21
    last = z.clone()
    last[0, -1] = (z[0, -1] + 1) % 3
    assert torch.equal(prior(last, y), prior(z, y)), "the last symbol is read by nobody"
    assert (prior(z, y) != prior(z, y + 1)).any(-1).all()


def test_samples_follow_the_prior_and_its_temperature():
    prior, z = a_prior(length=3), all_codes(3, 3)
    y = torch.ones(30_000, dtype=torch.int64)
    p = prior.log_prob(z, y[: len(z)]).exp().detach()
    number = torch.tensor([9, 3, 1])
    drawn = prior.sample(y) @ number
    error = (p * (1 - p) / len(y)).sqrt()
    share = torch.bincount(drawn, minlength=27) / len(y)
    assert ((share - p).abs() <= 5 * error + 1e-4).all() and (p > 0.02).sum() > 5
    cold = prior.sample(y[:300], temperature=1e-4)
    assert len(cold.unique(dim=0)) == 1
    first = prior(cold[:1], y[:1])[0, 0].detach()
    assert cold[0, 0] == first.argmax()
    half = (first / 0.5).softmax(-1)
    found = prior.sample(y, temperature=0.5)[:, 0]
    check_close(torch.bincount(found, minlength=3) / len(y), half, tolerance=0.01)


def test_dropout_is_off_when_it_is_measured_and_the_best_weights_are_kept():
    z, y = torch.randint(4, (60, 3)), torch.zeros(60, dtype=torch.int64)
    prior = vq.Prior(4, 3, width=32, dropout=0.3)
    measured = []
    plain = vq.Prior.log_prob

    def watched(self, codes, classes):
        found = plain(self, codes, classes)
        if not self.training:
            measured.append(-found.mean().item())
        return found

    vq.Prior.log_prob = watched
    try:
        vq.fit_prior(prior, z[:20], y[:20], z[20:], y[20:], steps=400)
    finally:
        vq.Prior.log_prob = plain
    assert not prior.training and len(measured) == 8
    check_close(-prior.log_prob(z[20:], y[20:]).mean(), min(measured), tolerance=1e-5)
    assert measured[-1] > min(measured) + 0.05, "twenty codes are learned by heart"


# ------------------------------------------------------------------ likelihoods


def test_table_of_counts_is_scipys():
    alpha, beta = torch.rand(2, 5, dtype=torch.float32) * 6 + 0.02
    table = vq.count_table(alpha, beta)
    for row, a, b in zip(table, alpha.tolist(), beta.tolist()):
        check_close(row, betabinom.logpmf(np.arange(17), 16, a, b), tolerance=1e-4)
    check_close(table.double().exp().sum(1), torch.ones(5), tolerance=1e-5)


def test_sum_over_all_codes_against_a_loop():
    model, prior = vq.DigitCodes(places=3, codes=4, hidden=16).eval(), a_prior(codes=4, length=3)
    z = all_codes(4, 3)
    y = torch.zeros(len(z), dtype=torch.int64)
    x = data.digits().test.x[:3]
    with torch.no_grad():
        log_p = prior.log_prob(z, y)
        loop = [[(model.log_likelihood(i[None], c[None])[0] + p).item() for c, p in zip(z, log_p)]
                for i in x]  # fmt: skip
        found = torch.cat(list(vq.log_joint_of_all(model, z, log_p, x)), 1)
        check_close(found, loop, tolerance=1e-4)
        own = model.encode(x)
        bound = model.log_likelihood(x, own) + prior.log_prob(own, y[:3])
    posterior = found.log_softmax(1).gather(1, (own @ torch.tensor([16, 4, 1]))[:, None])[:, 0]
    check_close(found.logsumexp(1) - bound, -posterior, tolerance=1e-4, what="gap")


def test_the_slope_of_the_loops_reaches_the_encoder_and_not_the_codebook():
    model, x = vq.DigitCodes().eval(), data.digits().train.x[:8]
    h = model.hidden(x)
    chosen = model.codebook.vectors[model.encode(x)]
    model.loss(x, model.restore(vq.straight_through(h, chosen))).mean().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters())
    assert not model.codebook.vectors.requires_grad


def test_shapes_and_losses_of_pictures():
    digits, scenes = vq.HandwritingCodes().eval(), vq.SceneCodes().eval()
    x, views = torch.rand(3, 1, 28, 28), torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        z, grid = digits.encode(x), scenes.encode(views)
        assert z.shape == (3, 12) and grid.shape == (3, 64)
        image, out = digits.image(z), scenes.decode(grid)
        assert image.shape == x.shape and 0 <= image.min() <= image.max() <= 1
        by_hand = -(x * image.log() + (1 - x) * (1 - image).log()).sum((1, 2, 3))
        check_close(digits.loss(x, digits.decode(z)), by_hand, tolerance=1e-4)
        check_close(scenes.loss(views, views - 0.5), torch.zeros(3))
        check_close(scenes.loss(views, views - 0.4), torch.full((3,), 3072 / 2), tolerance=1e-4)
        check_close(scenes.image(grid), (out + 0.5).clamp(0, 1))


def test_a_place_of_the_grid_stands_for_a_place_of_the_scene():
    scenes = vq.SceneCodes().eval()
    views = torch.full((1, 3, 32, 32), 0.5)
    spot = views.clone()
    spot[:, :, 4:8, 28:32] = 1.0  # second row, last column
    with torch.no_grad():
        moved = (scenes.hidden(spot) - scenes.hidden(views)).norm(dim=-1)[0].reshape(8, 8)
    assert moved[1, 7] == moved.max() and (moved[4:] == 0).all() and (moved[:, :5] == 0).all()


# ------------------------------------------------------------------ bad input and leaks


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="16 codes cannot start on 10 vectors"):
        vq.Codebook(16, 3).start(torch.randn(5, 2, 3))
    with pytest.raises(ValueError, match="1000 codes cannot start"):
        vq.fit_codes(vq.DigitCodes(codes=1000), data.digits().train.x[:100], steps=1)
    x = data.digits().train.x[:2]
    for wrong in (x / 16, x - 1, x[:, :63], x.long()):
        with pytest.raises(ValueError):
            vq.DigitCodes().encode(wrong)
    pictures = torch.rand(2, 1, 28, 28)
    for wrong in (pictures * 2 - 1, pictures[..., :27], pictures * torch.nan):
        with pytest.raises(ValueError, match=r"pictures have to be|pixels have to lie"):
            vq.HandwritingCodes().encode(wrong)
    with pytest.raises(ValueError, match="pictures have to be"):
        vq.SceneCodes().encode(pictures)
    prior, z = a_prior(), torch.zeros(2, 4, dtype=torch.int64)
    for wrong in (torch.tensor([0, 2]), torch.tensor([-1, 0]), torch.tensor([0.0, 1.0])):
        with pytest.raises(ValueError, match="classes"):
            prior.log_prob(z, wrong)
        with pytest.raises(ValueError, match="classes"):
            prior.sample(wrong)
    for temperature in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature"):
            prior.sample(torch.tensor([0, 1]), temperature)


def test_loops_see_what_they_are_given_only():
    train, valid, test = data.digits()

    def work():
        model = vq.DigitCodes()
        vq.fit_codes(model, train.x, steps=2, noise=0.3)
        return model

    check_unseen(work, hidden=[valid.x, test.x], seen=[train.x])


def test_swap_changes_one_symbol_and_tells_what_both_cost():
    model, prior = vq.HandwritingCodes(codes=5).eval(), vq.Prior(5, 12, 10).eval()
    codes = torch.randint(5, (10, 12))
    with torch.no_grad():
        out = vq.SwapOne(model, prior, codes)(torch.tensor([[3.0, 12.0, 4.0]]))
        changed = codes[3:4].clone()
        changed[0, 11] = 4
        both, y = torch.cat([codes[3:4], changed]), torch.tensor([3, 3])
        check_close(out["image"], model.image(both), tolerance=1e-5)
        check_close(out["nats"][0], -prior.log_prob(both, y), tolerance=1e-4)


# ------------------------------------------------------------------ exercises

NAMES = vars(vq) | {"answered": answered, "check_close": check_close}


@pytest.mark.parametrize(
    "number, wrong, where",
    [
        (2, "def my_perplexity(z, codes): return len(z.unique())", "3/4 and 1/4"),
        (3, "def my_tempered(p, temperature): return p ** temperature", "probability"),
        (
            4,
            "def my_attend(q, k, v): return (q @ k.T / q.shape[1] ** 0.5).softmax(1) @ v",
            "5 places",
        ),
        (
            5,
            "def my_step(attention, newest, keys, values):\n"
            "    return attention(newest), keys, values",
            "the store has shape|at place 1",
        ),
    ],
)
def test_exercise(number, wrong, where):
    exercise_works("03b_vqvae", number, dict(NAMES), wrong, where)

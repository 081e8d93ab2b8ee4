"""Notebook 04e, with its own definitions: what holds for any weights, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works
from sklearn.metrics import mutual_info_score
from torch.nn import functional as F

from utils.checks import answered, check_close
from utils.notebooks import cells, definitions, source

info = definitions("04e_infogan")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def taken_from(start, **more):
    """The notebook's functions in the cell that begins so, with the names they need."""
    names = dict(vars(info)) | more
    exec(next(source(c) for c in cells("04e_infogan") if source(c).startswith(start)), names)
    return names


def small(seeds=3, **code):
    return info.Infogans(seeds, 6, hidden=8, **code or {"kinds": 4, "numbers": 2, "latent": 3})


# ------------------------------------------------------------------ codes and the bound


def test_code_is_one_hot_and_numbers():
    z, c = small().draw(4000)
    assert z.shape == (3, 4000, 3) and c.shape == (3, 4000, 6)
    kind, number = c[..., :4], c[..., 4:]
    assert ((kind == 0) | (kind == 1)).all() and (kind.sum(-1) == 1).all()
    check_close(kind.mean((0, 1)), torch.full((4,), 0.25), tolerance=0.02)
    assert number.min() < -0.99 and number.max() > 0.99 and number.abs().max() <= 1
    check_close(number.var((0, 1)), torch.full((2,), 1 / 3), tolerance=0.02)
    assert not torch.equal(c[0], c[1]) and not torch.equal(z[0], z[1])


def test_log_q_is_a_softmax_and_a_gaussian():
    gan = small()
    with torch.no_grad():
        gan.log_sd.uniform_(-1, 0.5)
    z, c = gan.draw(5)
    x, other = gan(z, c), torch.randn(3, 5, 6)
    answers, warped = gan.recogniser(x), gan.recogniser(other)
    expected = torch.zeros(3, 5)
    for s in range(3):
        for b in range(5):
            expected[s, b] = warped[s, b, :4].log_softmax(0)[c[s, b, :4].argmax()]
            for k in (0, 1):
                sd = gan.log_sd[s, 0, k].exp()
                off = (c[s, b, 4 + k] - answers[s, b, 4 + k]) / sd
                expected[s, b] += -(off**2) / 2 - sd.log() - math.log(2 * math.pi) / 2
    check_close(info.log_q(gan, c, x, other), expected)
    check_close(info.code_entropy(gan), math.log(4) + 2 * math.log(2))


def test_bound_of_random_recognisers_never_exceeds_the_entropy():
    for seed in range(5):
        torch.manual_seed(seed)
        gan = small(kinds=4)
        z, c = gan.draw(3000)
        with torch.no_grad():
            assert (info.log_q(gan, c, gan(z, c)).mean(1) < 0).all()


def test_seeds_do_not_feel_each_other():
    gan = small()
    z, c = gan.draw(7)
    loss = info.log_q(gan, c, gan(z, c))[1].mean() + gan.discriminator(gan(z, c))[1].mean()
    loss.backward()
    for weight in gan.parameters():
        assert (weight.grad[[0, 2]] == 0).all() and weight.grad[1].abs().sum() > 0


def test_linears_are_linear_layers_of_their_own():
    layers, x = info.Linears(3, 4, 2), torch.randn(3, 6, 4)
    with torch.no_grad():
        layers.bias.normal_()
    for s in range(3):
        check_close(layers(x)[s], F.linear(x[s], layers.weight[s].T, layers.bias[s, 0]))


# ------------------------------------------------------------------ factors and MIG


def test_painter_puts_the_disc_where_the_factors_say():
    v = torch.tensor([[0.0, 0, 0], [0.8, 0, 0], [0, 0.8, 0], [0, 0, 0.8]])
    ink = (info.paint(v).reshape(4, 12, 12) + 1) / 2
    at = (torch.arange(12) + 0.5) / 6 - 1
    total = ink.sum((1, 2))
    across = (ink * at).sum((1, 2)) / total
    down = (ink * at[:, None]).sum((1, 2)) / total
    check_close(across, [0, 0.52 * 0.8, 0, 0], tolerance=0.04)
    check_close(down, [0, 0, 0.2 * 0.8, 0], tolerance=0.04)
    assert total[3] > 1.5 * total[0] and abs(total[2] / total[0] - 1) < 0.02


def test_search_finds_what_was_painted():
    known = info.paintings((13, 13, 13))
    picked = torch.randint(len(known[0]), (40,))
    factors, gap = info.read_factors(known[1][picked], known)
    check_close(factors, known[0][picked])
    assert gap.max() < 2e-3
    noisy = known[1][picked] + 0.1 * torch.randn(40, 144)
    check_close(info.read_factors(noisy, known)[1].mean(), 0.1, tolerance=0.02)


def test_information_is_scikit_learns():
    c, v = torch.rand(700, 2), torch.rand(700, 3)
    v[:, 0] = c[:, 1] + 0.2 * v[:, 0]
    table = info.information_table(c, v)
    a, b = info.in_bins(c), info.in_bins(v)
    wanted = [[mutual_info_score(a[:, i], b[:, j]) for j in range(3)] for i in range(2)]
    check_close(table, wanted)
    assert table[1, 0] > 0.5 > table[0, 0]


def test_mig_of_truth_permuted_and_shuffled():
    v = torch.rand(5000, 3)
    check_close(info.mig(v, v), 1.0, tolerance=0.02)
    check_close(info.mig(-(v[:, [2, 0, 1]] ** 3), v), 1.0, tolerance=0.02)
    assert info.mig(torch.stack([v[:, 0], v[:, 0], v[:, 1], v[:, 2]], 1), v) < 0.7
    assert info.mig(v[torch.randperm(5000)], v) < 0.01
    bias = info.information_table(torch.rand(5000, 20), torch.rand(5000, 20)).mean()
    check_close(bias, 81 / 10000, tolerance=5e-4)


def test_warp_moves_ink_and_keeps_paper():
    x = torch.full((2, 30, 64), -1.0)
    check_close(info.warp(x), x)
    x[..., 27] = 1
    check_close(info.warp(x, 0.0), x)
    moved = info.warp(x)
    ratio = (moved + 1).sum(-1).mean() / 2
    assert 0.8 < ratio < 1.2 and not torch.equal(moved[0, 0], moved[0, 1])


def test_agreement_is_the_best_of_all_matchings():
    from itertools import permutations

    found, labels = torch.randint(4, (60,)).numpy(), torch.randint(4, (60,)).numpy()
    best = max(
        sum(order[f] == y for f, y in zip(found, labels)) for order in permutations(range(4))
    )
    check_close(info.agreement(found, labels, kinds=4), best / 60)


# ------------------------------------------------------------------ the loops


def somewhere(seeds, count):
    return torch.tensor([1.0, -1, 1, -1, 1, -1]).expand(seeds, count, 6) * 0.8


@pytest.mark.parametrize("loop", ["play", "play_plain"])
def test_one_step_serves_each_player(loop):
    """A step lowers D's loss, raises the bound, and leaves no gradient switched off."""
    gan = small(kinds=4, latent=2)
    z, c = gan.draw(256)
    before = {name: w.clone() for name, w in gan.named_parameters()}

    def bound(generator_of):
        with torch.no_grad():
            return info.log_q(gan, c, gan(z, c)).mean().item()

    def d_loss():
        with torch.no_grad():
            real, made = gan.discriminator(somewhere(3, 9)), gan.discriminator(gan(z, c))
            return (F.softplus(-real).mean() + F.softplus(made).mean()).item()

    start = bound(gan), d_loss()
    getattr(info, loop)(gan, somewhere, 6, **({"noise": (0, 0)} if loop == "play" else {}))
    assert bound(gan) > start[0]
    assert d_loss() < start[1]
    assert all(w.requires_grad for w in gan.parameters())
    moved = [name for name, w in gan.named_parameters() if not torch.equal(w, before[name])]
    assert {name.split(".")[0] for name in moved} >= {"generator", "discriminator", "recogniser"}


def test_recogniser_reads_the_kind_from_the_warped_image():
    seen = []

    def warp(x):
        seen.append(x)
        return torch.zeros_like(x)

    gan = small(kinds=4)
    gan.recogniser[-1].bias.data.normal_()
    _, run = info.play(gan, somewhere, 3, warp=warp, noise=(0.0, 0.0), lr=0.0)
    constant = gan.recogniser(torch.zeros(3, 1, 6)).log_softmax(-1)
    assert len(seen) == 3 and seen[0].shape == (3, 64, 6)
    low, high = constant.min() + math.log(4), constant.max() + math.log(4)
    assert low <= run.history["bound"][0] <= high


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_average_is_exact_at_both_ends(keep):
    gan = small()
    start = [w.clone() for w in gan.parameters()]
    average, _ = info.play(gan, somewhere, 2, keep=keep)
    wanted = start if keep else gan.parameters()
    assert all(torch.equal(a, b) for a, b in zip(average.parameters(), wanted))


def test_r1_is_the_slope_by_differences():
    gan, x = small(), torch.randn(3, 2, 6, dtype=torch.float64)
    D = gan.discriminator.double()
    slope = info.squared_slope(D, x)
    h, wanted = 1e-5, torch.zeros(3, 2, dtype=torch.float64)
    for k in range(6):
        e = h * torch.eye(6, dtype=torch.float64)[k]
        wanted += ((D(x + e) - D(x - e)) / (2 * h)).squeeze(-1).detach() ** 2
    check_close(slope, wanted, tolerance=1e-4)


def test_r1_is_paid_at_real_images_every_fourth_step(monkeypatch):
    seen, honest = [], info.squared_slope
    monkeypatch.setitem(
        info.play.__globals__, "squared_slope", lambda d, x: seen.append(x) or honest(d, x)
    )
    info.play(small(), somewhere, 9, batch=5)
    assert len(seen) == 3 and all(torch.equal(x, somewhere(3, 5)) for x in seen)


# ------------------------------------------------------------------ bad input


def test_wrong_input_is_named():
    gan = small()
    z, c = gan.draw(2)
    half, far = c.clone(), c.clone()
    half[..., :4] = 0.25
    far[..., 5] = 1.5
    for code, told in [(half, "one of 4 kinds"), (far, "from -1 to 1"), (c[..., :5], "not 5")]:
        with pytest.raises(ValueError, match=told):
            gan(z, code)
    nan = c.clone()
    nan[..., 5] = math.nan
    with pytest.raises(ValueError, match="from -1 to 1"):
        gan(z, nan)
    with pytest.raises(ValueError, match=r"\(3, B, 6\)"):
        gan.recogniser(torch.zeros(2, 5, 6))
    with pytest.raises(ValueError, match="at least two kinds"):
        info.Infogans(2, 6)
    with pytest.raises(ValueError, match="labels run from 0 to 9"):
        info.agreement([1, 2], [3, 10])
    with pytest.raises(ValueError, match="categories run"):
        info.agreement([-1, 2], [3, 1])
    with pytest.raises(ValueError, match="one category an image"):
        info.agreement([1, 2, 3], [3, 1])
    with pytest.raises(ValueError, match="three factors"):
        info.paint(torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"\(N, 144\)"):
        info.read_factors(torch.zeros(4, 12, 12), info.paintings((3, 3, 3)))
    with pytest.raises(ValueError, match="at least two codes"):
        info.mig(torch.rand(500, 1), torch.rand(500, 3))
    with pytest.raises(ValueError, match="at least 100"):
        info.mig(torch.rand(50, 3), torch.rand(50, 3))
    with pytest.raises(ValueError, match=r"\(S, B, 64\)"):
        info.warp(torch.zeros(5, 64))


# ------------------------------------------------------------------ explorer and exercises


def test_live_model_shows_the_seed_that_was_asked_for():
    gan = info.Infogans(4, 144, numbers=3, hidden=8)
    live = info.LiveDiscs(gan.generator, info.paintings((5, 5, 5)))
    c = torch.tensor([0.3, -0.8, 0.1])
    x = gan(torch.zeros(4, 1, 0), c.expand(4, 1, 3))
    for s in range(4):
        out = live(torch.cat([torch.tensor([s + 1.0]), c])[None])
        check_close(out["image"][0].flatten(), (x[s, 0] + 1) / 2)
        check_close(out["image"][1].flatten(), (info.paint(out["factors"]) + 1) / 2)


WRONG = {
    2: (
        "def my_bound(logits, c, prior):\n"
        "    return math.log(len(prior)) - F.cross_entropy(logits, c)",
        "uneven prior",
    ),
    3: (
        "def my_mig(table, entropies):\n"
        "    best = table.topk(2, 1).values\n"
        "    return ((best[:, 0] - best[:, 1])[: len(entropies)] / entropies).mean()",
        "three codes",
    ),
    5: (
        "def my_turned_bound(a, s, theta):\n"
        "    return 0.5 * sum(math.log(1 + (v / s) ** 2) for v in torch.tensor(a))",
        "45 degrees",
    ),
}


@pytest.mark.parametrize("number", sorted(WRONG))
def test_exercise(number):
    names = dict(vars(info), math=math, check_close=check_close, answered=answered, F=F)
    exercise_works("04e_infogan", number, names, *WRONG[number])


def test_turned_bound_is_the_mean_of_the_best_gaussians():
    """By samples: regress each code on x alone; the residual variances give the bound."""
    text = next(source(c) for c in cells("04e_infogan") if source(c).startswith("def turned("))
    names = {"math": math, "torch": torch}
    exec(text.split("\n\n\n")[0], names)
    theta, a = 0.6, (3.0, 1.0)
    c = torch.randn(400_000, 2, dtype=torch.float64)
    R = torch.tensor([[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]])
    x = c @ R.double().T * torch.tensor(a).double() + torch.randn_like(c)
    left = c - x @ torch.linalg.lstsq(x, c).solution
    check_close(names["turned"](a, 1.0, theta)[0], -left.var(0).log().sum() / 2, tolerance=0.01)

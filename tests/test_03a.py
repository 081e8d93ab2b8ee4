"""Notebook 03a, with its own definitions: what holds for any weights, leaks, and the exercises."""

import ast
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import exercise_works
from matplotlib import pyplot as plt
from scipy.stats import betabinom
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from torch import nn

from utils import data, train
from utils.checks import answered, check_close, check_monte_carlo, check_unseen
from utils.notebooks import cells, definitions, source
from utils.results import recorded

vae = definitions("03a_vae")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return vae.VAE(latent=3, hidden=32).eval()


def only_straight(latent, weight, pixels=64):
    """A VAE whose pixels have logits `weight` (pixels, latent) @ z, and alpha + beta = 2."""
    model = vae.VAE(latent=latent, hidden=8).eval()
    for part in (*model.decoder[-1].parameters(), *model.straight.parameters()):
        nn.init.zeros_(part)
    with torch.no_grad():
        model.straight.weight[:pixels] = weight
        model.straight.bias[64:] = math.log(2)
    return model


# ------------------------------------------------------------------ the likelihood and the bound


def test_likelihood_is_a_distribution_and_scipys():
    levels = torch.arange(17.0)
    for logit, log_total in [(-3.0, -2.0), (0.0, 0.0), (2.0, 4.0), (8.0, -6.0)]:
        alpha, beta = vae.beta_binomial(torch.tensor(logit), torch.tensor(log_total))
        ours = vae.log_beta_binomial(levels.double(), alpha.double(), beta.double())
        check_close(ours.exp().sum(), 1.0, tolerance=1e-6)
        check_close(ours, betabinom.logpmf(levels, 16, alpha.item(), beta.item()), tolerance=1e-5)


def test_likelihood_stays_finite_at_the_edges():
    alpha, beta = vae.beta_binomial(torch.tensor([-60.0, 60.0]), torch.tensor([-9.0, 9.0]))
    for x in (0.0, 16.0):
        assert vae.log_beta_binomial(torch.full((2,), x), alpha, beta).isfinite().all()


def test_kl_is_torchs():
    mu, log_var = torch.randn(2, 50, 4)
    q = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    truth = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    check_close(vae.kl_to_prior(mu, log_var), truth)


def test_what_is_no_count_is_refused(model):
    x = data.digits().test.x[:3]
    for wrong in (x / 16, x + 0.5, x - 20, x * torch.nan, x.long(), x[:, :63]):
        for ask in (model.elbo, model.log_prob, lambda images: vae.evaluate(model, images)):
            with pytest.raises(ValueError):
                ask(wrong)


def test_bound_and_weights_against_the_exact_density():
    """Two numbers in a code, so that a grid gives log p(x); untrained, so the weights are light."""
    torch.manual_seed(0)
    model = vae.VAE(latent=2, hidden=16).eval()
    x = data.digits().test.x[:4]
    line = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(line, line)
    log_prior = torch.distributions.Normal(0, 1).log_prob(grid).sum(1) + 2 * math.log(12 / 240)
    with torch.no_grad():
        exact = torch.stack([(model.log_likelihood(i, grid) + log_prior).logsumexp(0) for i in x])
        lower = torch.stack([model.elbo(x) for _ in range(300)]).mean(0)
    ratios = (model.log_weights(x, 20_000) - exact).exp()
    for ratio in ratios.T:
        assert ratio.sum() ** 2 / ratio.square().sum() > 1000
        check_monte_carlo(ratio, 1.0, what="mean weight over p(x)")
    check_close(model.log_prob(x, 20_000), exact, tolerance=1e-3)
    assert (lower < exact).all()


def test_gradient_reaches_the_encoder(model):
    model.elbo(data.digits().train.x[:8]).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


# ------------------------------------------------------------------ drawing and measuring


def test_samples_are_counts_with_the_models_own_frequencies():
    """Each pixel's frequencies against an integral over its code; and pixels that share a code."""
    torch.manual_seed(0)
    weight = torch.zeros(64, 2)
    weight[0, 0], weight[1, 0], weight[2, 1] = 2.0, -2.0, 0.7
    model = only_straight(2, weight)
    images = model.sample(20_000)
    assert images.shape == (20_000, 64)
    assert torch.equal(images, images.round()) and images.min() >= 0 and images.max() <= 16

    z = torch.linspace(-6, 6, 1201)
    mass = torch.distributions.Normal(0, 1).log_prob(z).exp() * 0.01
    for pixel, slope in ((0, 2.0), (1, -2.0), (2, 0.7), (3, 0.0)):
        alpha, beta = vae.beta_binomial(slope * z, torch.tensor(math.log(2)))
        for level in (0, 1, 8, 15, 16):
            p = vae.log_beta_binomial(torch.tensor(float(level)), alpha, beta).exp() @ mass
            check_monte_carlo((images[:, pixel] == level).double(), p, errors=4.5)
    shared, other = torch.corrcoef(images[:, :3].T)[0, 1:]
    assert shared < -0.3 and abs(other) < 0.04


def test_measuring_with_dropout_is_refused(model):
    x = data.digits().test.x[:5]
    model.train()
    with pytest.raises(AssertionError, match="dropout"):
        vae.evaluate(model, x)


def test_evaluate_on_a_known_model():
    """The means of q are (2, 0), its variances (1, e): KL 2 and (e - 2) / 2."""
    model = only_straight(2, torch.zeros(64, 2))
    for part in model.encoder[-1].parameters():
        nn.init.zeros_(part)
    with torch.no_grad():
        model.encoder[-1].bias[:] = torch.tensor([2.0, 0.0, 0.0, 1.0])
    x = data.digits().valid.x
    loss, rate, by_number = vae.evaluate(model, x, repeats=2)
    check_close(loss, 64 * math.log(17), tolerance=1e-4)  # alpha = beta = 1: all levels alike
    check_close(by_number, [2.0, (math.e - 2) / 2])
    check_close(rate, by_number.sum())
    assert vae.active_units(torch.tensor([0.0, 0.04, 0.06, 3.0])) == 2


def test_explorer_decodes_the_code_of_its_sliders():
    """Slider i moves number order[i]; the class probabilities are scikit-learn's."""
    digits = data.digits()
    classifier = LogisticRegression(C=0.02, max_iter=2000).fit(digits.train.x, digits.train.y)
    torch.manual_seed(0)
    model = only_straight(4, torch.randn(64, 4))
    order = torch.tensor([2, 0, 3, 1])
    decoder = vae.DecoderWithClassifier(model, classifier, order)
    z, u = torch.randn(1, 4), torch.zeros(1, 4)
    for i in range(4):
        u[0, i] = z[0, order[i]]
    with torch.no_grad():
        shown, ink = decoder(u), model.mean_image(z)
    check_close(shown["image"].flatten(), ink.flatten() / 16)
    check_close(shown["class"], classifier.predict_proba(ink.numpy()), tolerance=1e-4)


# ------------------------------------------------------------------ training


def test_loss_follows_the_weight_and_the_rate_falls_to_zero(monkeypatch):
    """With steps that change nothing, each loss can be computed from the draws that were made."""
    x = data.digits().train.x
    rates = []
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, *_: rates.append(self.param_groups[0]["lr"])
    )
    model = vae.VAE(latent=2, hidden=8)
    for kl_weight, warm_up, weights in ((3.0, 0, 4 * [3.0]), (1.0, 2, [1 / 3, 2 / 3, 1.0, 1.0])):
        rates.clear()
        torch.manual_seed(0)
        run = vae.fit_vae(model, x, steps=4, kl_weight=kl_weight, warm_up=warm_up)
        assert not model.training
        model.train()
        torch.manual_seed(0)
        for weight, loss in zip(weights, run.history["loss"], strict=True):
            reconstruction, kl = model.bound(vae.batch(x))
            check_close(loss, (weight * kl.sum(1) - reconstruction).mean(), tolerance=1e-5)
        half = 1 + math.cos(math.pi / 2)
        check_close(
            np.array(rates) / rates[0], [1, (1 + 0.5**0.5) / 2, half / 2, (1 - 0.5**0.5) / 2]
        )


class Short(train.Training):
    """Two steps of a training, however many are asked for."""

    def __init__(self, *models, steps, **options):
        super().__init__(*models, steps=min(steps, 2), **options)


class _Quiet(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)


def rehearsed(digits, monkeypatch):
    """The notebook's open cells with two steps a training and without its checks: what they define."""
    monkeypatch.setattr(train, "Training", Short)
    monkeypatch.setattr(data, "digits", lambda: digits)
    silent = (
        "say",
        "record",
        "predict",
        "exercise",
        "check_close",
        "check_monte_carlo",
        "check_unseen",
    )
    names = {"__name__": "rehearsal"}
    for cell in cells("03a_vae"):
        text = source(cell)
        tags = cell["metadata"].get("tags", [])
        folded = cell["metadata"].get("jupyter", {}).get("source_hidden")
        needed = not folded or "model" in tags or text.startswith(("import ", "def independent"))
        if cell["cell_type"] != "code" or not needed or "explore.Explorer" in text:
            continue
        if text.startswith("line = "):
            continue  # the sum over a grid trains nothing
        exec(compile(_Quiet().visit(ast.parse(text)), "<03a>", "exec"), names)
        names |= {name: lambda *_, **__: None for name in silent if name in names}
    plt.close("all")
    return names


def everything(value):
    """All models inside a value: modules, and what scikit-learn fitted."""
    if isinstance(value, (list, tuple)):
        return [model for part in value for model in everything(part)]
    if isinstance(value, dict):
        return everything(list(value.values()))
    return [value] if isinstance(value, (nn.Module, BaseEstimator)) else []


def learned(names, kinds):
    """The numbers that models of these kinds learned."""
    found = []
    for model in everything([names[name] for name in sorted(names) if not name.startswith("_")]):
        if isinstance(model, nn.Module):
            assert not model.training, "a model was left in training mode"
            found += [model.state_dict()] if isinstance(model, kinds) else []
        elif isinstance(model, kinds):
            found += [v for _, v in sorted(vars(model).items()) if isinstance(v, np.ndarray)]
    assert len(found) > 5
    return found


def test_training_never_sees_test_digits_nor_labels(monkeypatch):
    """Every model of the notebook, to the last digit; what it chooses may see validation digits."""
    digits = data.digits()

    def models():
        names = rehearsed(digits, monkeypatch)
        del names["best"]  # chosen among the others
        return learned(names, (nn.Module, BaseEstimator))

    def choices():
        names = rehearsed(digits, monkeypatch)
        best = names["best"]
        chosen = [best["ridge regression"].alpha, best["nearest neighbours"].n_neighbors]
        return [names["free_steps"], *chosen], learned(names, nn.Module)

    check_unseen(models, [digits.test.x, digits.valid.x], seen=[digits.train.x], what="training")
    check_unseen(choices, [digits.test.x, digits.train.y], seen=[digits.valid.x], what="choosing")


# ------------------------------------------------------------------ exercises


def scope():
    """What the checkers see: the notebook's definitions and a stand-in for its trained model."""
    digits = data.digits()
    pixels = (digits.train.x / 8 - 1).numpy()
    _, _, axes = np.linalg.svd(pixels, full_matrices=False)
    axes = torch.tensor(axes[:10])

    class Linear:
        def encode(self, x):
            return (x / 8 - 1) @ axes.T, None

        def mean_image(self, z):
            return 8 * (z @ axes + 1)

    classifier = LogisticRegression(C=0.02, max_iter=2000).fit(digits.train.x, digits.train.y)
    names = dict(vars(vae), check_close=check_close, answered=answered, np=np, say=lambda _: None)
    return names | {
        "vae": Linear(), "classifier": classifier, "train": digits.train, "valid": digits.valid,
        "device": torch.device("cpu"),
    }  # fmt: skip


WRONG = {
    2: (
        "def my_weight(pixels, numbers):\n    return numbers / pixels",
        "with 64 pixels and 2 numbers",
    ),
    3: (
        "def my_log_mean_exp(log_weight):\n"
        "    m = log_weight.max()\n    return m + (log_weight - m).exp().mean(0).log()",
        "with weights of very different size",
    ),
    4: (
        "def my_charge(kl, free=0.3):\n    return kl.clamp(min=free).mean(0).sum()",
        "the charge for mean KLs",
    ),
    5: (
        "def my_codes_of(digit, codes, labels):\n    return codes[labels == digit][:1].repeat(200, 1)",
        "training digits",
    ),
}


@pytest.mark.parametrize("number", sorted(WRONG))
def test_exercise(number):
    torch.manual_seed(0)
    exercise_works("03a_vae", number, scope(), *WRONG[number])


def test_definitions_stand_on_their_own():
    assert isinstance(vae, SimpleNamespace) and vae.__name__ == "03a_vae"


def test_the_recorded_runs_agree_with_what_the_slides_say():
    for run in recorded("03a_vae").values():
        assert run["seconds_vae"] < 30
        assert run["plain_valid_nats"] > run["plain_best_nats"] + 1
        assert run["train_elbo_nats"] < run["test_elbo_nats"] < run["valid_elbo_nats"]

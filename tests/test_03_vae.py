"""Notebook 03a, with its own definitions: what holds for any weights, and the exercises."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import exercise_works
from scipy.stats import betabinom
from sklearn.linear_model import LogisticRegression

from utils import data
from utils.checks import answered, check_close
from utils.notebooks import definitions
from utils.results import recorded

vae = definitions("03a_vae")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return vae.VAE(latent=3, hidden=32).eval()


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


def test_bound_is_below_the_exact_density(model):
    """Two code dimensions, so that a grid gives log p(x)."""
    torch.manual_seed(0)
    model = vae.VAE(latent=2, hidden=16).eval()
    x = data.digits().test.x[:4]
    line = torch.linspace(-6, 6, 241)
    grid = torch.cartesian_prod(line, line)
    log_prior = torch.distributions.Normal(0, 1).log_prob(grid).sum(1) + 2 * math.log(12 / 240)
    with torch.no_grad():
        exact = torch.stack([(model.log_likelihood(i, grid) + log_prior).logsumexp(0) for i in x])
        check_close(model.log_prob(x, 20_000), exact, tolerance=2e-3)
        lower = torch.stack([model.elbo(x) for _ in range(300)]).mean(0)
    assert (lower < exact).all()


def test_samples_are_counts(model):
    images = model.sample(20)
    assert images.shape == (20, 64)
    assert torch.equal(images, images.round()) and images.min() >= 0 and images.max() <= 16


def test_gradient_reaches_the_encoder(model):
    model.elbo(data.digits().train.x[:8]).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.encoder.parameters())


# ------------------------------------------------------------------ exercises


def scope():
    """What the checkers see: the notebook's definitions and a stand-in for its trained model."""
    train = data.digits().train
    pixels = (train.x / 8 - 1).numpy()
    _, _, axes = np.linalg.svd(pixels, full_matrices=False)
    axes = torch.tensor(axes[:10])

    class Linear:
        def encode(self, x):
            return (x / 8 - 1) @ axes.T, None

        def mean_image(self, z):
            return 8 * (z @ axes + 1)

    reader = LogisticRegression(C=0.02, max_iter=2000).fit(train.x, train.y)
    names = dict(vars(vae), check_close=check_close, answered=answered, train=train, np=np)
    return names | {"vae": Linear(), "reader": reader}


WRONG = {
    1: ("def my_kl(mu, log_var, m, log_s2):\n    return (mu - m).square().sum(1)", "the KL of row"),
    2: (
        "def my_log_mean_exp(log_weight):\n    return log_weight.exp().mean(0).log()",
        "with tiny weights",
    ),
    3: (
        "def my_free_bits(kl, free=0.3):\n    return kl.clamp(min=free).mean(0).sum()",
        "the charge",
    ),
    4: (
        "def my_codes_of(digit, codes, labels):\n    return codes[labels == digit][:1].repeat(200, 1)",
        "training digits",
    ),
}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_exercise(number):
    exercise_works("03a_vae", number, scope(), *WRONG[number])


def test_definitions_stand_on_their_own():
    assert isinstance(vae, SimpleNamespace) and vae.__name__ == "03a_vae"


def test_the_vae_trains_in_half_a_minute():
    assert all(run["seconds_vae"] < 30 for run in recorded("03a_vae").values())

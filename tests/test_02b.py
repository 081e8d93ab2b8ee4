"""Notebook 02b, with its own definitions: what holds for any weights, and the exercises."""

import math

import pytest
import torch
from conftest import exercise_works

from utils.checks import answered, check_close, check_integrates_to_one
from utils.notebooks import cells, definitions, source

nvp = definitions("02b_realnvp", "model", "check")


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("kind", [nvp.AffineCoupling, nvp.SplineCoupling])
@pytest.mark.parametrize("dim", [2, 6])
def test_coupling_inverts_and_its_log_det_is_autograds(kind, dim, flip):
    torch.manual_seed(dim)
    layer = nvp.randomise(kind(dim=dim, flip=flip, hidden=16), 0.5).double()
    x = 2 * torch.randn(64, dim, dtype=torch.float64)
    z, log_abs_det = layer(x)
    check_close(layer.inverse(z), x, tolerance=1e-8)
    check_close(
        log_abs_det, torch.linalg.slogdet(nvp.jacobians(layer, x)).logabsdet, tolerance=1e-8
    )
    kept = slice(dim // 2, None) if flip else slice(None, dim // 2)
    assert torch.equal(z[:, kept], x[:, kept]) and (z != x).any()


@pytest.mark.parametrize("make", [nvp.real_nvp, nvp.spline_flow])
def test_flow_is_a_density_whatever_the_weights(make):
    torch.manual_seed(1)
    flow = nvp.randomise(make(torch.randn(500, 2) * 2 + 1, layers=3, hidden=16), 0.6)
    check_integrates_to_one(flow.log_prob, 2 * [(-40, 40)], nodes=1200)
    z, _ = flow(flow.sample(1000))
    assert abs(z.square().sum(1).mean().item() - 2) < 0.3


def test_untrained_flow_is_the_gaussian_of_the_data():
    x = torch.randn(4000, 2) * torch.tensor([2.0, 0.5]) + torch.tensor([1.0, -3.0])
    truth = torch.distributions.Normal(x.mean(0), x.std(0)).log_prob(x).sum(1)
    for make in (nvp.real_nvp, nvp.spline_flow):
        check_close(make(x).log_prob(x), truth, tolerance=5e-3)


def test_orthogonal_step_keeps_the_singular_vectors_and_evens_the_values():
    generator = torch.Generator().manual_seed(0)
    u, _ = torch.linalg.qr(torch.randn(2, 24, 24, generator=generator, dtype=torch.float64))
    v, _ = torch.linalg.qr(torch.randn(2, 24, 24, generator=generator, dtype=torch.float64))
    values = torch.logspace(-1, 2, 24, dtype=torch.float64).expand(2, 24)
    size = torch.tensor([1.0, 1e4])[:, None, None]  # each matrix is scaled by itself
    inner = u.mT @ nvp.orthogonal(size * (u @ torch.diag_embed(values) @ v.mT)) @ v
    after = inner.diagonal(dim1=1, dim2=2)
    check_close(inner, torch.diag_embed(after), tolerance=1e-6)
    large = values > 0.01 * values.norm(dim=1, keepdim=True)
    assert after[large].min() > 0.6 and after[large].max() < 1.3


def test_muon_goes_down_along_nesterov_momentum_by_its_rate():
    """Beside an independent loop, with U V^T by the singular value decomposition."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(2, 16, 16, generator=generator, dtype=torch.float64)
    gradients = torch.randn(3, 2, 16, 16, generator=generator, dtype=torch.float64)
    weights = [torch.nn.Parameter(w.clone()) for w in start]
    muon, mean = nvp.Muon(weights, lr=0.1, momentum=0.5), torch.zeros_like(start)
    for step in gradients:
        for weight, gradient in zip(weights, step):
            weight.grad = gradient
        before = torch.stack([w.detach().clone() for w in weights])
        muon.step()
        mean = 0.5 * mean + step
        u, _, vh = torch.linalg.svd(step + 0.5 * mean)
        moved = torch.stack([w.detach() for w in weights]) - before
        along = u.mT @ (moved / -0.1) @ vh.mT
        inside = along.diagonal(dim1=1, dim2=2)
        check_close(along, torch.diag_embed(inside), tolerance=1e-6)
        assert inside.median() > 0.6 and inside.max() < 1.3


def test_first_layer_bends_inside_the_data():
    torch.manual_seed(0)
    first = nvp.mlp(1, 4000, 2)[0]
    places = -first.bias / first.weight[:, 0]
    assert places.abs().max() <= 2.001 and abs(places.std().item() - 4 / 12**0.5) < 0.05
    check_close(first.weight.abs().max(), 3.0, tolerance=0.01)


def test_spline_meets_the_identity_smoothly_at_its_bound():
    layer = nvp.randomise(nvp.SplineCoupling(bins=8, bound=3.0), 1.0).double()
    inside = torch.tensor([[0.0, -3 + 1e-6], [0.0, 3 - 1e-6]], dtype=torch.float64)
    check_close(
        layer(inside)[1], torch.zeros(2), tolerance=1e-4, what="log slope inside the border"
    )


def test_spline_is_the_identity_beyond_its_bound_and_increases():
    layer = nvp.randomise(nvp.SplineCoupling(bins=8, bound=3.0), 1.0)
    line = torch.stack([torch.zeros(400), torch.linspace(-5, 5, 400)], 1)
    z, log_slope = layer(line)
    outside = line[:, 1].abs() >= 3
    assert torch.equal(z[outside], line[outside]) and (log_slope[outside] == 0).all()
    assert (z[1:, 1] > z[:-1, 1]).all()


@pytest.mark.parametrize(
    "bad, why",
    [
        (torch.zeros(3), r"shape \(B, 2\)"),
        (torch.zeros(3, 4), r"shape \(B, 2\)"),
        (torch.tensor([[0.0, float("nan")]]), "NaN"),
        (torch.tensor([[0.0, float("inf")]]), "infinity"),
    ],
)
def test_bad_points_are_refused_in_words(bad, why):
    with pytest.raises(ValueError, match=why):
        nvp.real_nvp(torch.randn(100, 2)).log_prob(bad)


def test_cells_that_define_may_run_twice_and_in_any_place():
    """Fault 19: the model cells need nothing from the cells around them."""
    scope = {}
    for cell in 2 * cells("02b_realnvp", "model"):
        exec(source(cell), scope)
    assert scope["real_nvp"](torch.randn(10, 2)).sample(3).shape == (3, 2)


@pytest.mark.parametrize("make", [nvp.real_nvp, nvp.spline_flow])
def test_data_without_a_density_are_named(make):
    """Fault 25: a constant column, an odd number of columns, one point."""
    constant = torch.randn(100, 2)
    constant[:, 1] = 3.0
    with pytest.raises(ValueError, match=r"column 1 is constant \(3\): leave it out"):
        make(constant)
    for dim in (1, 3):
        with pytest.raises(ValueError, match=f"even number of columns, not {dim}"):
            make(torch.randn(100, dim))
    for bad in (torch.randn(1, 2), torch.full((9, 2), float("nan")), torch.randn(9)):
        with pytest.raises(ValueError, match="at least two finite points"):
            make(bad)


@pytest.mark.parametrize("unit", [1e-4, 1e6])
def test_a_flow_does_not_depend_on_the_unit(unit):
    x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    flow = nvp.real_nvp(x, layers=2, hidden=8)
    torch.manual_seed(0)
    other = nvp.real_nvp(unit * x, layers=2, hidden=8)
    expected = flow.log_prob(x) - 2 * math.log(unit)
    check_close(other.log_prob(unit * x), expected, tolerance=1e-4, what="log p in another unit")


NAMES = {
    "answered": answered,
    "check_close": check_close,
    "check_integrates_to_one": check_integrates_to_one,
    **vars(nvp),
}
WRONG = {
    1: (
        "def my_additive_coupling(net):\n"
        "    def forward(x):\n"
        "        kept, moved = x.chunk(2, dim=1)\n"
        "        return torch.cat([kept, moved + net(kept)], 1), net(kept).sum(1)\n"
        "    return forward, forward",
        "only shifts",
    ),
    2: ("def my_dependence(layers):\n    return torch.ones(4, 4)", "after 0 layers"),
    3: (
        "def my_log_abs_det_lu(lower, upper):\n    return upper.diagonal().prod().abs().log()",
        "D = 500: not finite",
    ),
    6: (
        "def my_mixture_curve(weight, mean, scale):\n"
        "    def forward(x):\n"
        "        part = ((x[:, None] - mean) / scale).sigmoid()\n"
        "        F = (weight * part).sum(1)\n"
        "        return F.logit(), (weight * part * (1 - part) / scale).sum(1).log()\n"
        "    return forward, lambda y: y",
        "log dy/dx",
    ),
    7: (
        "def my_tempered_log_prob(flow, x, tau):\n    return flow.log_prob(x) / tau",
        "integrates to",
    ),
}


@pytest.mark.parametrize("number", WRONG)
def test_exercise(number):
    exercise_works("02b_realnvp", number, NAMES, *WRONG[number])


def test_a_steep_spline_stays_finite_where_rounding_leaves_its_piece():
    """Slopes of a thousand, and a place one rounding error beyond the end of the piece."""
    x = torch.tensor([0.0, 1.0]) + torch.tensor([-1e-6, 1e-6])
    y, log_slope = nvp.rational_quadratic(x, *torch.tensor([0.0, 1.0, 0.0, 1e-3, 1e3, 1e3]))
    assert y.isfinite().all() and log_slope.isfinite().all()
    check_close(y, torch.tensor([0.0, 1e-3]))

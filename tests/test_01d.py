"""Notebook 01d, with its own definitions: energies, chains, gradients, log Z."""

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import exercise_works

from utils.checks import answered, check_close, check_monte_carlo, exercise
from utils.notebooks import cells, definitions, source

bm = definitions("01d_boltzmann")
NAME = "01d_boltzmann"


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def machine_of(V, H, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = ((V, H), (V,), (H,))
    return bm.RBM(
        *(scale * torch.randn(s, dtype=torch.float64, generator=generator) for s in parts)
    )


def by_loops(machine, x, h):
    """The energy of one state, one term after the other."""
    W, b, c = (weight.tolist() for weight in machine.weights())
    total = 0.0
    for i, x_i in enumerate(x):
        total -= b[i] * x_i
        for j, h_j in enumerate(h):
            total -= x_i * W[i][j] * h_j
    return total - sum(c_j * h_j for c_j, h_j in zip(c, h))


# ------------------------------------------------------------------ states and energies


def test_all_states_are_the_binary_numbers():
    assert bm.all_states(3).tolist() == [
        list(map(float, s)) for s in itertools.product((0, 1), repeat=3)
    ]


@pytest.mark.parametrize("side, count", [(2, 6), (3, 14), (4, 30), (5, 62)])
def test_bars_and_stripes_are_what_they_are_called(side, count):
    x = bm.bars_and_stripes(side).reshape(-1, side, side)
    assert len(x) == count == len({tuple(image.flatten().tolist()) for image in x})
    for image in x:
        bars = all((row == row[0]).all() for row in image)
        stripes = all((column == column[0]).all() for column in image.T)
        assert bars or stripes


def test_visible_energy_and_boltzmann_law_by_loops():
    w = torch.randn(4, 4).double().triu(1)
    w, b = w + w.T, torch.randn(4).double()
    x = bm.all_states(4)
    right = [
        -sum(w[i, j] * s[i] * s[j] for i in range(4) for j in range(i + 1, 4)) - s @ b for s in x
    ]
    energies = bm.visible_energy(x, w, b)
    check_close(energies, torch.stack(right), tolerance=1e-12)
    weights = np.exp(-energies.numpy() / 0.7)
    log_p, log_z = bm.boltzmann(energies, 0.7)
    check_close(log_z, np.log(weights.sum()), tolerance=1e-12)
    check_close(log_p.exp(), weights / weights.sum(), tolerance=1e-12)


@pytest.mark.parametrize("V, H", [(4, 2), (2, 4), (3, 3)])
def test_rbm_against_its_joint_table(V, H):
    machine = machine_of(V, H)
    table = np.array(
        [
            [math.exp(-by_loops(machine, x, h)) for h in bm.all_states(H).tolist()]
            for x in bm.all_states(V).tolist()
        ]
    )
    check_close(machine.log_z(), math.log(table.sum()), tolerance=1e-10)
    check_close(
        machine.log_prob(bm.all_states(V)).exp(), table.sum(1) / table.sum(), tolerance=1e-10
    )
    p_h = (table / table.sum(1, keepdims=True)) @ bm.all_states(H).numpy()
    check_close(machine.p_hidden(bm.all_states(V)), p_h, tolerance=1e-10)
    p_x = (table / table.sum(0)).T @ bm.all_states(V).numpy()
    check_close(machine.p_visible(bm.all_states(H)), p_x, tolerance=1e-10)
    up, down = bm.conditionals(machine)
    check_close(up, table / table.sum(1, keepdims=True), tolerance=1e-10)
    check_close(down, (table / table.sum(0)).T, tolerance=1e-10)


def test_exact_gradient_by_finite_differences():
    machine, x = machine_of(4, 3), bm.all_states(4)[[1, 3, 3, 12]]
    for number, gradient in enumerate(bm.exact_gradient(machine, x)):
        found = torch.zeros_like(gradient)
        for place in itertools.product(*map(range, gradient.shape)):
            ends = []
            for step in (1e-5, -1e-5):
                weights = [weight.clone() for weight in machine.weights()]
                weights[number][place] += step
                ends.append(bm.RBM(*weights).log_prob(x).mean())
            found[place] = (ends[0] - ends[1]) / 2e-5
        check_close(gradient, found, tolerance=1e-7)


# ------------------------------------------------------------------ chains


def test_gibbs_draws_what_the_matrix_says():
    machine = machine_of(3, 2)
    P = bm.gibbs_matrix(machine)
    start = torch.tensor([[1.0, 0.0, 1.0]]).double().expand(40_000, -1)
    for steps in (1, 2):
        x = bm.gibbs(machine, start, steps)
        index = (x @ torch.tensor([4.0, 2.0, 1.0]).double()).long()
        law = torch.linalg.matrix_power(P, steps)[5]
        for state in range(8):
            check_monte_carlo((index == state).double(), law[state], errors=5)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_stationary_law_and_second_eigenvalue(scale):
    machine = machine_of(5, 4, scale)
    P, law = bm.gibbs_matrix(machine), machine.log_prob(bm.all_states(5)).exp()
    check_close(law @ P, law, tolerance=1e-12)
    values = np.sort(np.linalg.eigvals(P.numpy()).real)
    check_close(bm.second_eigenvalue(machine), values[-2], tolerance=1e-9)
    assert bm.relaxation_time(machine) == pytest.approx(-1 / math.log(values[-2]), rel=1e-4)


def test_tempered_chains_keep_the_boltzmann_law():
    """Chains that start at exact samples of each temperature stay there."""
    machine, betas = machine_of(4, 3, 2.0), torch.tensor([0.0, 0.3, 1.0])
    states = bm.all_states(4)
    laws = [machine.copy(beta.item()).log_prob(states).exp() for beta in betas]
    x = torch.stack([states[torch.multinomial(law, 20_000, True)] for law in laws])
    for step in range(4):
        x, accepted = bm.tempered_step(machine, x, betas.double(), step % 2)
        assert 0 < accepted < 1
    for here, law in zip(x, laws):
        index = (here @ torch.tensor([8.0, 4.0, 2.0, 1.0]).double()).long()
        for state in range(16):
            check_monte_carlo((index == state).double(), law[state], errors=5)


def test_expected_cd_is_the_mean_of_cd():
    machine, x = machine_of(3, 2), torch.tensor([[1.0, 0, 1], [0, 0, 1]]).double()
    expected = bm.expected_cd(machine, x, [1, 4, 5000])
    draws = x.repeat(20_000, 1)
    for k in (1, 4):
        made = bm.gibbs(machine, draws, k)
        change = draws[:, 0] * machine.p_hidden(draws)[:, 1]
        change = change - made[:, 0] * machine.p_hidden(made)[:, 1]
        check_monte_carlo(change, expected[k][0][0, 1], errors=5)
        check_monte_carlo(draws[:, 2] - made[:, 2], expected[k][1][2], errors=5)
    for far, right in zip(expected[5000], bm.exact_gradient(machine, x)):
        check_close(far, right, tolerance=1e-9)


def test_angle():
    one, other = [torch.tensor([1.0, 0.0])], [torch.tensor([1.0, 1.0])]
    assert bm.angle(one, other) == pytest.approx(45, abs=1e-3)
    assert bm.angle(one, [-one[0]]) == pytest.approx(180, abs=1e-3)


def test_centred_gradient_does_not_see_the_names():
    """Flip visible or hidden units, step, flip back: the centred step is the same."""
    machine, x = machine_of(4, 3), bm.all_states(4)[[1, 3, 7, 7]]
    states = bm.all_states(4)

    def stepped(machine, x, centred):
        p = machine.log_prob(states).exp()
        data, model = bm.moments(machine, x), bm.moments(machine, states, p)
        slopes = (
            bm.centred(machine, data, model) if centred else [d - m for d, m in zip(data, model)]
        )
        return bm.RBM(*(w + 0.3 * g for w, g in zip(machine.weights(), slopes)))

    W, b, c = machine.weights()
    visible = bm.RBM(-W, -b, c + W.sum(0))
    hidden = bm.RBM(-W, b + W.sum(1), -c)
    right = stepped(machine, x, True).log_prob(states)
    check_close(stepped(visible, 1 - x, True).log_prob(1 - states), right, tolerance=1e-10)
    check_close(stepped(hidden, x, True).log_prob(states), right, tolerance=1e-10)
    plain = stepped(machine, x, False).log_prob(states)
    assert (stepped(visible, 1 - x, False).log_prob(1 - states) - plain).abs().max() > 0.01


def test_centred_gradient_is_uphill():
    machine, x = machine_of(4, 3), bm.all_states(4)[[1, 3, 7, 7]]
    p = machine.log_prob(bm.all_states(4)).exp()
    data, model = bm.moments(machine, x), bm.moments(machine, bm.all_states(4), p)
    slopes = bm.centred(machine, data, model)
    exact = bm.exact_gradient(machine, x)
    assert sum((a * b).sum() for a, b in zip(slopes, exact)) > 0
    moved = bm.RBM(*(w + 1e-3 * g for w, g in zip(machine.weights(), slopes)))
    assert moved.log_prob(x).mean() > machine.log_prob(x).mean()


def test_pseudo_log_likelihood_of_independent_units_is_the_likelihood():
    machine = machine_of(4, 3)
    machine.W.zero_()
    x = bm.all_states(4)
    check_close(bm.pseudo_log_likelihood(machine, x), machine.log_prob(x).mean(), tolerance=1e-10)
    coupled = machine_of(4, 3, 2.0)
    table = coupled.log_prob(x).exp().reshape(2, 2, 2, 2).numpy()
    for state in x:
        place, right = tuple(state.int().tolist()), 0.0
        for axis in range(4):
            rest = table[tuple(slice(None) if a == axis else p for a, p in enumerate(place))]
            right += math.log(table[place] / rest.sum())
        assert bm.pseudo_log_likelihood(coupled, state[None]).item() == pytest.approx(right)


# ------------------------------------------------------------------ training


def test_fit_visible_finds_a_machine():
    """Weighted data from a known machine, as counts: its means and correlations come back."""
    states = bm.all_states(3)
    x = states[[0, 3, 3, 5, 6, 7, 7, 1]]

    def objective(w, b, x, states):
        w = (w + w.T) * (1 - torch.eye(3))
        log_z = bm.boltzmann(bm.visible_energy(states, w, b))[1]
        return -log_z - bm.visible_energy(x, w, b).mean()

    w, b = bm.fit_visible(x, states, objective, decay=1e-9)
    w = (w + w.T) * (1 - torch.eye(3))
    p = bm.boltzmann(bm.visible_energy(states, w, b))[0].exp()
    check_close(p @ states, x.mean(0), tolerance=1e-4)
    check_close(states.T @ (states * p[:, None]), x.T @ x / len(x), tolerance=1e-4)


def test_tempering_learns_small_bars_and_stripes():
    x = bm.bars_and_stripes(3).float()
    machine, swaps = bm.fit_tempered(x, 8, steps=3000, rate=0.4, chains=50, temperatures=6)
    reached = machine.log_prob(x).sum().item()
    assert 14 * math.log(1 / 14) - 1.5 < reached < 14 * math.log(1 / 14)
    assert 0.2 < swaps < 0.95


@pytest.mark.parametrize(
    "fit, how", [(bm.plain_cd, {}), (bm.plain_cd, {"k": 3}), (bm.fit_persistent, {})]
)
def test_the_plain_loops_learn_at_first(fit, how):
    x = bm.bars_and_stripes(3).float()
    seen = []
    machine = fit(x, 8, steps=1500, rate=0.3, watch=lambda step, machine: seen.append(step), **how)
    assert seen == list(range(1500))
    assert machine.log_prob(x).sum() > 14 * math.log(1 / 512) + 15


def test_digits_loop_beats_independent_pixels_on_a_small_set():
    x = bm.bars_and_stripes(4).float().repeat(10, 1)
    machine = bm.fit_digits(x, hidden=12, steps=800, chains=50, batch=50)
    p = torch.sigmoid(bm.base_rates(x))
    alone = (x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean()
    assert machine.log_prob(x).mean() > alone + 2


def test_weight_decay_shrinks():
    x = bm.bars_and_stripes(3).float()
    sizes = []
    for decay in (0.0, 0.02, 0.2):
        torch.manual_seed(1)
        machine = bm.fit_digits(x, hidden=6, steps=600, decay=decay, chains=30, batch=30)
        sizes.append(machine.W.norm().item())
    assert sizes[0] > 1.1 * sizes[1] > 1.1**2 * sizes[2]


# ------------------------------------------------------------------ annealed importance sampling


def test_the_expected_weight_is_z_for_any_sequence():
    machine, base = machine_of(4, 3, 1.5), torch.tensor([0.3, -1.0, 0.0, 2.0]).double()
    states = bm.all_states(4)
    for shares in ([0.0, 1.0], [0.0, 0.8, 0.1, 1.0], [1.0, 0.4, 0.0]):
        here = bm.between(machine, base, shares[0])
        f, z = here.log_prob(states).exp(), here.log_z()
        for share in shares[1:]:
            there = bm.between(machine, base, share)
            f = (
                f * (here.free_energy(states) - there.free_energy(states)).exp()
            ) @ bm.gibbs_matrix(there)
            here = there
        check_close(f.sum().log(), here.log_z() - z, tolerance=1e-10)


@pytest.mark.parametrize("down", [False, True])
def test_ais_weights_by_sampling(down):
    machine, base = machine_of(4, 3, 1.5), torch.tensor([0.3, -1.0, 0.0, 2.0]).double()
    shares = [0.0, 0.5, 1.0][:: -1 if down else 1]
    first = bm.between(machine, base, shares[0])
    states = bm.all_states(4)
    x = states[torch.multinomial(first.log_prob(states).exp(), 30_000, True)]
    gains, ends = bm.ais(machine, base, shares, x)
    assert gains.shape == (2, 30_000) and ends.shape == x.shape
    ratio = bm.between(machine, base, shares[-1]).log_z() - first.log_z()
    check_monte_carlo(gains.sum(0).exp(), ratio.exp(), errors=5)


def test_log_mean_weight_counts_chains_not_steps():
    gains = torch.randn(7, 12).double()
    check_close(bm.log_mean_weight(gains), gains.sum(0).exp().mean().log()[None], tolerance=1e-10)
    by_runs = bm.log_mean_weight(gains, runs=3)
    right = gains.sum(0).reshape(3, 4).exp().mean(1).log()
    check_close(by_runs, right, tolerance=1e-10)


def test_ais_log_z_from_both_ends():
    machine, base = machine_of(6, 4, 1.0), torch.zeros(6)
    states, exact = bm.all_states(6), machine.log_z()
    up, ends = bm.ais_log_z(machine, base, steps=100, chains=400)
    samples = states[torch.multinomial(machine.log_prob(states).exp(), 400, True)]
    down, _ = bm.ais_log_z(machine, base, steps=100, samples=samples)
    check_close(up, exact[None], tolerance=0.03)
    check_close(down, exact[None], tolerance=0.03)
    assert ends.shape == (400, 6)


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "wrong, told",
    [
        (torch.tensor([[0.0, 0.5, 1.0]]), "unit 1 of state 0 is 0.5.*binarised"),
        (torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, -1.0]]), "unit 2 of state 1 is -1"),
        (torch.tensor([[0.0, math.nan, 1.0]]), "unit 1 of state 0 is nan"),
        (torch.zeros(3), r"\(B, 3\)"),
        (torch.zeros(2, 4), r"\(B, 3\), not \(2, 4\)"),
    ],
)
def test_states_outside_the_alphabet_are_named(wrong, told):
    with pytest.raises(ValueError, match=told):
        machine_of(3, 2).log_prob(wrong)


def test_too_many_units_to_enumerate():
    with pytest.raises(ValueError, match=r"21 units have 2\^21 states.*at most 20.*ais"):
        bm.all_states(21)
    with pytest.raises(ValueError, match="too many to enumerate"):
        machine_of(64, 96).log_z()
    with pytest.raises(ValueError, match=r"too large.*at most 10"):
        bm.gibbs_matrix(machine_of(16, 4))
    assert machine_of(64, 8).log_z().isfinite()


def test_a_temperature_is_positive_and_shapes_agree():
    for wrong in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="temperature is positive"):
            bm.boltzmann(torch.zeros(4), wrong)
    with pytest.raises(ValueError, match=r"W is \(3, 2\), not \(2, 3\)"):
        bm.RBM(torch.zeros(3, 2), torch.zeros(2), torch.zeros(3))


def stuck():
    """Two states, all off and all on, with a wall between them."""
    W = torch.full((6, 3), 40.0).double()
    return bm.RBM(W, -60 * torch.ones(6).double(), -120 * torch.ones(3).double())


def test_a_chain_that_never_mixes_is_told():
    with pytest.raises(ValueError, match=r"does not mix.*eigenvalue.*weight decay.*tempering"):
        bm.relaxation_time(stuck())
    with pytest.raises(ValueError, match=r"stuck: 0\.0%.*weight decay.*tempering"):
        bm.check_moves(stuck(), torch.zeros(50, 6).double())
    assert bm.relaxation_time(machine_of(6, 3, 0.5)) < 10
    assert bm.check_moves(machine_of(6, 3, 0.5), torch.zeros(50, 6).double()) > 0.1
    assert bm.relaxation_time(machine_of(6, 3, 0.0)) < 0.05


def test_a_rate_that_diverges_is_told():
    x = bm.bars_and_stripes(3).float()
    with pytest.raises(ValueError, match=r"diverged.*Lower the rate"):
        bm.fit_tempered(x, 4, steps=2000, rate=500.0, chains=10, temperatures=3)
    with pytest.raises(ValueError, match=r"diverged.*Lower the rate"):
        bm.fit_digits(x, hidden=4, steps=2000, rate=2000.0, chains=10, batch=10)
    machine = machine_of(3, 2)
    machine.W[0, 0] = math.nan
    with pytest.raises(ValueError, match="diverged"):
        bm.check_weights(machine)


# ------------------------------------------------------------------ exercises

WRONG = {
    2: ("def my_free_energy(x, W, b, c):\n    return x @ b - softplus(x @ W + c).sum(1)", "F of"),
    3: (
        "def my_couplings(side, lam):\n"
        "    rows = minors(torch.eye(side**2).double(), side)\n"
        "    q = lam * rows @ rows.T\n"
        "    return q - q.diagonal().diag(), -q.diagonal()",
        "E of state",
    ),
    4: (
        "def my_swap(beta, beta2, energy, energy2):\n"
        "    return ((beta - beta2) * (energy2 - energy)).exp().clamp(max=1)",
        "p of the pair",
    ),
    5: (
        "def my_log_mean(gains):\n    return gains.sum(0).logsumexp(0) - math.log(gains.shape[0])",
        "40 steps and 3 chains",
    ),
}


def notebook_function(name):
    """A function of a cell that is not a model cell."""
    text = next(source(c) for c in cells(NAME) if f"def {name}(" in source(c))
    body = text[text.index(f"def {name}(") :]
    lines = body.splitlines()
    end = next((i for i, line in enumerate(lines[1:], 1) if line and line[0] != " "), len(lines))
    return "\n".join(lines[:end])


@pytest.mark.parametrize("number", sorted(WRONG))
def test_exercises(number):
    names = dict(vars(bm), answered=answered, check_close=check_close, exercise=exercise, math=math)
    exec(notebook_function("minors"), names)
    exercise_works(NAME, number, names, *WRONG[number])


def test_the_free_energy_has_to_be_safe():
    names = dict(vars(bm), answered=answered, check_close=check_close, exercise=exercise)
    unsafe = (
        "def my_free_energy(x, W, b, c):\n    return -x @ b - (1 + (x @ W + c).exp()).log().sum(1)"
    )
    exercise_works(NAME, 2, names, unsafe, "thousand times")


def test_a_swap_that_is_accepted_too_rarely():
    names = dict(vars(bm), answered=answered, check_close=check_close, exercise=exercise)
    lazy = (
        "def my_swap(beta, beta2, energy, energy2):\n"
        "    return 0.5 * ((beta2 - beta) * (energy2 - energy)).exp().clamp(max=1)"
    )
    exercise_works(NAME, 4, names, lazy, "too rarely")


# ------------------------------------------------------------------ without hidden units


def some_pairs(units=5, seed=3):
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(units, units, dtype=torch.float64, generator=generator).triu(1)
    return bm.Pairs(W + W.T, torch.randn(units, dtype=torch.float64, generator=generator))


def test_a_machine_without_hidden_units_has_the_boltzmann_law():
    pairs, states = some_pairs(), bm.all_states(5)
    log_p, log_z = bm.boltzmann(bm.visible_energy(states, pairs.W, pairs.b))
    check_close(pairs.log_prob(states), log_p, tolerance=1e-12)
    check_close(pairs.log_z(), log_z, tolerance=1e-12)


def test_a_sweep_keeps_the_law_and_its_argument():
    pairs, states = some_pairs(), bm.all_states(5)
    torch.manual_seed(0)
    law = pairs.log_prob(states).exp()
    x = states[torch.multinomial(law, 100_000, replacement=True)]
    before = x.clone()
    moved = bm.sweep(pairs, x)
    assert torch.equal(x, before) and (moved != x).double().mean() > 0.1
    places = 2.0 ** torch.arange(4, -1, -1)
    share = torch.bincount((moved @ places.double()).long(), minlength=32) / len(x)
    assert ((share - law).abs() < 5 * (law * (1 - law) / len(x)).sqrt() + 1e-12).all()


def test_ais_by_sweeps_finds_the_normaliser():
    pairs = some_pairs()
    torch.manual_seed(0)
    found, _ = bm.ais_log_z(pairs, 0 * pairs.b, steps=50, chains=500, runs=20, move=bm.sweep)
    check_monte_carlo((found - pairs.log_z()).exp(), 1.0, errors=4)


def test_pseudo_likelihood_finds_the_couplings_of_exact_data():
    pairs, states = some_pairs(), bm.all_states(5)
    W, b = bm.fit_pseudo(states, pairs.log_prob(states).exp(), decay=0.0)
    check_close(W, pairs.W, tolerance=1e-4)
    check_close(b, pairs.b, tolerance=1e-4)

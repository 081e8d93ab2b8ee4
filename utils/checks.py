"""Checks that say where something is wrong, and the frame around an exercise."""

import math

import numpy as np
import torch

from utils.show import say


def check_close(actual, expected, *, tolerance=1e-5, what="value"):
    """Assert that two arrays agree within `tolerance` + `tolerance` * |expected|, entry by entry.

    The message names the first entry that does not, with both numbers.
    """
    actual, expected = _array(actual, what), _array(expected, what)
    assert actual.shape == expected.shape, (
        f"{what}: the shape is {actual.shape}, it should be {expected.shape}"
    )
    assert np.isfinite(actual).all(), f"{what}: not every number is finite"
    assert np.isfinite(expected).all(), f"{what}: what it is compared with is not finite"
    off = np.abs(actual - expected) > tolerance * (1 + np.abs(expected))
    if off.any():
        where = tuple(int(i) for i in np.argwhere(off)[0])
        place = f" at {list(where)}" if where else ""
        raise AssertionError(
            f"{what}{place} is {actual[where]:.6g}, it should be {expected[where]:.6g} "
            f"({off.sum()} of {off.size} entries differ)"
        )


def _array(value, what):
    if torch.is_tensor(value):
        value = value.detach().cpu().numpy()
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise AssertionError(
            f"{what}: numbers are needed, this is {type(value).__name__}"
        ) from None


def monte_carlo(samples):
    """Mean and standard error of a one-dimensional set of samples, as floats."""
    samples = torch.as_tensor(samples).detach().double()
    return samples.mean().item(), (samples.std() / len(samples) ** 0.5).item()


def check_monte_carlo(samples, expected, *, errors=4.0, what="Monte Carlo mean"):
    """Assert that `expected` lies within `errors` standard errors of the samples' mean."""
    mean, error = monte_carlo(samples)
    expected = float(expected)
    assert abs(mean - expected) <= errors * error, (
        f"{what} is {mean:.5g} ± {error:.2g}, it should be {expected:.5g}"
    )


def integral(log_prob, limits, nodes=400, *, pieces=20_000, dtype=torch.float32, device=None):
    """The integral of exp(log_prob) over a box in one or two dimensions, as a float.

    `limits` are (low, high), or ((low, high), (low, high)) in the plane. `log_prob` maps points
    (B, D) to B numbers in nats; -inf is a density of zero. It is called without gradients, on at
    most `pieces` points at a time; one that needs derivatives inside uses torch.enable_grad().

    The midpoint rule with `nodes` nodes a side assumes two things, and checks neither. Mass outside
    the limits is not seen: leave room, or the total is too small. A density should change little
    over one cell, (high - low) / nodes wide: for a Gaussian a cell as wide as its standard
    deviation is exact to 1e-8, one three times as wide is 20 % off, either way. A jump costs up to
    half a cell.
    """
    limits = _box(limits)
    sides = [
        low + (high - low) * (torch.arange(nodes).double() + 0.5) / nodes for low, high in limits
    ]
    cell = math.prod((high - low) / nodes for low, high in limits)
    grid = torch.cartesian_prod(*sides).reshape(-1, len(sides)).to(dtype)
    total = 0.0
    with torch.no_grad():
        for x in grid.split(pieces):
            log_p = torch.as_tensor(log_prob(x.to(device))).detach().cpu().double()
            assert log_p.numel() == len(x), (
                f"log_prob gives {tuple(log_p.shape)} for points {tuple(x.shape)}, one number a "
                "point is needed"
            )
            log_p = log_p.reshape(-1)
            bad = log_p.isnan() | (log_p == math.inf)
            assert not bad.any(), f"log_prob is {log_p[bad][0]} at x = {_short(x[bad][0])}"
            total += log_p.exp().sum().item()
    return total * cell


def check_integrates_to_one(log_prob, limits, tolerance=0.01, nodes=400, *, what="density", **how):
    """Assert that exp(log_prob) integrates to one over a box; return the integral, a float.

    See `integral` for the arguments and for what it assumes. Where it fails, the message says
    whether a finer grid or wider limits would mend it.
    """
    total = integral(log_prob, limits, nodes, **how)
    if abs(total - 1) <= tolerance:
        return total
    finer = integral(log_prob, limits, nodes + nodes // 2, **how)
    wide = [(low - (high - low) / 4, high + (high - low) / 4) for low, high in _box(limits)]
    wider = integral(log_prob, wide, nodes + nodes // 2, **how)
    if abs(finer - total) > tolerance / 2:
        cause = f"a finer grid gives {finer:.4g}: it is too coarse for this density, raise nodes"
    elif abs(wider - total) > tolerance / 2:
        cause = f"wider limits give {wider:.4g}: mass lies outside, widen the limits"
    else:
        cause = "a finer grid and wider limits change nothing, so the formula is wrong"
    raise AssertionError(f"{what} integrates to {total:.4g}, it should be 1; {cause}")


def _box(limits):
    """Limits as a list of one or two (low, high) in order."""
    try:
        box = [tuple(map(float, side)) for side in np.reshape(limits, (-1, 2))]
    except (TypeError, ValueError):
        box = []
    if len(box) not in (1, 2) or not all(-math.inf < low < high < math.inf for low, high in box):
        raise ValueError(f"limits are (low, high) or ((low, high), (low, high)), not {limits!r}")
    return box


def _short(point):
    return [round(value, 3) for value in point.tolist()]


def exercise(name, checker, answer):
    """Run `checker(answer)` and show whether the exercise is open, right or not yet right.

    An open exercise returns `...` or raises NotImplementedError; the notebook goes on in any case.
    Returns True only for a right answer.
    """
    try:
        checker(answer)
    except (Open, NotImplementedError):
        say(f"○ **{name}**: not done yet. Write your answer above and run both cells again.")
        return False
    except AssertionError as error:
        say(f"✗ **{name}**: not yet. {error}.")
        return False
    except Exception as error:
        say(f"✗ **{name}**: your code stopped with {type(error).__name__}: {error}.")
        return False
    say(f"✓ **{name}**: right.")
    return True


class Open(Exception):
    """The exercise has no answer yet."""


def answered(value):
    """Pass a learner's value on; raise Open where it is still the placeholder `...`."""
    if value is ...:
        raise Open
    return value

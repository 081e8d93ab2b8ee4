"""Checks that say where something is wrong, and the frame around an exercise."""

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

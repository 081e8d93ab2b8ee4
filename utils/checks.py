"""Checks that say where something is wrong, and the frame around an exercise."""

import math
import traceback

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


def check_unseen(work, hidden, *, seen=(), what="training"):
    """Assert that `work()` gives the same numbers, to the last digit, whatever `hidden` holds.

    `work` trains or scores on a small scale and returns tensors or modules. `hidden` are the tensors
    it must not look at (test data, twins, labels), `seen` some that it should. Each in turn is
    shuffled in place, `work` runs from the same random state, and all is put back.
    """
    with torch.random.fork_rng():
        kept = _numbers(_from_one_state(work))
        for tensors, may_change in ((hidden, False), (seen, True)):
            for number, tensor in enumerate(tensors):
                before = tensor.clone()
                tensor.copy_(_shuffled(tensor))
                try:
                    found = _numbers(_from_one_state(work))
                finally:
                    tensor.copy_(before)
                if torch.equal(found, kept) == may_change:
                    told = "should depend on what it is given" if may_change else "must not see"
                    raise AssertionError(f"{what} {told}: tensor {number}, {tuple(tensor.shape)}")


def _from_one_state(work):
    torch.manual_seed(7)
    numpy_state = np.random.get_state()
    np.random.seed(7)
    try:
        return work()
    finally:
        np.random.set_state(numpy_state)


def _shuffled(tensor):
    """The same values in another order, so that they are still of the right kind."""
    flat = tensor.flatten()
    order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(7))
    mixed = flat[order.to(flat.device)].view_as(tensor)
    assert not torch.equal(mixed, tensor), "values that are all alike cannot be shuffled"
    return mixed


def _numbers(found):
    """All numbers of tensors and modules, however nested in lists, tuples and dicts."""
    if isinstance(found, torch.nn.Module):
        found = found.state_dict()
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, (list, tuple)):
        return torch.cat([_numbers(part) for part in found])
    return torch.as_tensor(found).detach().cpu().double().reshape(-1)


# ------------------------------------------------------------------ what a reader answers

_predicted = {}


def predict(name, guess):
    """Keep a reader's number under a name, until `compare` shows the answer beside it.

    `...` stands for no guess yet. Raises ValueError for what is no number.
    """
    if guess is ...:
        _predicted.pop(name, None)
        say(f"○ **{name}**: put your number in the place of `...` and run the cell again.")
        return
    try:
        _predicted[name] = float(guess)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: a prediction is one number, not {guess!r}") from None
    say(f"● **{name}**: you say {_predicted[name]:.4g}. The answer follows below.")


def compare(name, value, *, unit=""):
    """Show the answer beside what the reader predicted under this name."""
    unit = f" {unit}" if unit else ""
    guess = _predicted.get(name)
    yours = "no prediction was made" if guess is None else f"you said {guess:.4g}{unit}"
    say(f"**{name}**: {yours}, the answer is **{float(value):.4g}{unit}**.")


def exercise(name, checker, answer, forbidden=()):
    """Run `checker(answer)` and show whether the exercise is open, right or not yet right.

    An open exercise returns `...` or raises NotImplementedError; the notebook goes on in any case.
    `forbidden` are names of functions that the answer may not use. Returns True only for a right
    answer.
    """
    try:
        checker(answer)
        used = sorted(_names_used(answer) & set(forbidden))
        assert not used, f"the numbers are right, but {used[0]} is not allowed here"
    except (Open, NotImplementedError):
        say(f"○ **{name}**: not done yet. Write your answer above and run both cells again.")
        return False
    except AssertionError as error:
        said = str(error) or f"this does not hold: `{_failing_line(error, checker)}`"
        say(f"✗ **{name}**: not yet: {said}.")
        return False
    except Exception as error:
        line = _failing_line(error, answer)
        where = f" in the line `{line}`" if line else ""
        say(f"✗ **{name}**: your code stopped with {type(error).__name__}{where}: {error}.")
        return False
    say(f"✓ **{name}**: right.")
    return True


def _names_used(function):
    """The names of functions and methods that a function's code and those inside it use."""
    code = [getattr(function, "__code__", None)]
    found = set()
    for part in code:
        if part is not None:
            found |= set(part.co_names)
            code += [constant for constant in part.co_consts if hasattr(constant, "co_names")]
    return found


def _failing_line(error, function):
    """The last line of a function's own code that an error passed through; "" if none."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [f.line for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return (lines[-1] or "").strip() if lines else ""


class Open(Exception):
    """The exercise has no answer yet."""


def answered(value):
    """Pass a learner's value on; raise Open where it is still the placeholder `...`."""
    if value is ...:
        raise Open
    return value

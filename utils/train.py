"""Around a visible training loop: seed, device, progress, a clean stop, a guard against NaN."""

import base64
import io
import math
import os
import random
import signal
import threading
import time

import numpy as np
import torch
from IPython import get_ipython
from IPython.display import HTML, display
from matplotlib import pyplot as plt

from utils.style import role

SNAPSHOT_SECONDS = 0.5
BAR_SECONDS, CURVE_SECONDS = 0.3, 1.5
# A page loaded anew shows what was saved last, perhaps in the middle of a run that has ended since:
# what is not updated hides itself.
PROGRESS = """<style>@keyframes lecture-gone {{ to {{ visibility: hidden; height: 0 }} }}</style>
<div class="lecture-progress" style="overflow: hidden; animation: lecture-gone 0s 30s forwards">
<progress value="{done}" max="{steps}" style="width: 20em"></progress>
step {done} of {steps}, about {left:.0f} s left<br>{curve}</div>"""


class Diverged(ArithmeticError):
    """The loss or a weight is not a finite number any more; the last good weights are back."""


def seed_everything(default=0):
    """Seed Python, NumPy and PyTorch from the environment variable SEED; return the seed."""
    seed = int(os.environ.get("SEED", default))
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return seed


def pick_device():
    """The GPU where there is one that can compute, else the CPU; a GPU that cannot is named."""
    if torch.cuda.is_available():
        try:
            one = torch.ones(2, 2, device="cuda")
            (one @ one).sum().item()
            return torch.device("cuda")
        except RuntimeError as error:
            why = str(error).partition("\n")[0]
            print(f"There is a GPU, but torch cannot use it ({why}). The CPU computes instead.")
    return torch.device("cpu")


def quiet():
    """True under tests and `make notebooks`, where progress would only dirty the outputs."""
    return bool(os.environ.get("LECTURE_QUIET"))


def in_notebook():
    """True in a kernel, whose outputs can be replaced; false in a terminal."""
    return hasattr(get_ipython(), "kernel")


class Training:
    """Count the steps of a training loop that the notebook writes out.

        run = Training(model, steps=1000)
        for step in run:
            loss = ...
            run.log(loss=loss)      # before the optimiser's step
            ...

    In a notebook it shows a progress bar and the curve so far, until the loop ends. Interrupting
    the kernel ends the loop after the present step, with the model usable. A loss that is not
    finite raises Diverged, and the models have the weights of the last good snapshot again.

    Attributes: `history` {name: [value per step]}, `seconds`, `stopped` (True after an interrupt).
    """

    def __init__(self, *models, steps, watch="loss"):
        self.models, self.steps, self.watch = models, steps, watch
        self.history, self.seconds, self.stopped = {}, 0.0, False
        self.step = -1
        self._snapshot()

    def __iter__(self):
        self.stopped = False
        numbers = range(self.steps)
        begun = time.perf_counter()
        place = _Place(begun) if in_notebook() and not quiet() else None
        try:
            with _interrupt_as_flag() as interrupted:
                for self.step in numbers:
                    yield self.step
                    self.seconds = time.perf_counter() - begun
                    if interrupted.is_set():
                        self.stopped = True
                        break
                    if place:
                        place.show(self)
            self._snapshot()
        finally:
            if place:
                place.clear()
        if self.stopped:
            print(
                f"Stopped after {self.step + 1} of {self.steps} steps. "
                "The model is usable as it is; run the cell again to start over."
            )

    def log(self, **values):
        """Keep this step's numbers. Raises Diverged if one of them is not finite."""
        for name, value in values.items():
            value = float(value.detach() if torch.is_tensor(value) else value)
            if not math.isfinite(value):
                self._diverged(f"{name} is {value}")
            self.history.setdefault(name, []).append(value)
        if time.perf_counter() - self._taken > SNAPSHOT_SECONDS:
            self._snapshot()

    def _snapshot(self):
        states = [{k: v.clone() for k, v in m.state_dict().items()} for m in self.models]
        for state in states:
            for name, value in state.items():
                if value.is_floating_point() and not value.isfinite().all():
                    self._diverged(f"the weight {name} is not finite")
        self._good, self._good_step = states, self.step
        self._taken = time.perf_counter()

    def _diverged(self, what):
        if not hasattr(self, "_good"):
            raise Diverged(f"before the first step: {what}. Build the model anew.")
        for model, state in zip(self.models, self._good, strict=True):
            model.load_state_dict(state)
        raise Diverged(
            f"step {self.step}: {what}. The weights of step {max(self._good_step, 0)} are back. "
            "Lower the learning rate, or clip the gradient, and run the cell again."
        )

    def smooth(self, name, width=25):
        """The moving mean (over `width` steps) of a logged number, as a NumPy array."""
        values = np.asarray(self.history[name])
        width = max(1, min(width, len(values) // 4))
        return np.convolve(values, np.ones(width) / width, mode="valid")

    def plot(self, *names, ax=None, **style):
        """Draw logged numbers against the step, smoothed; return the axes."""
        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 3.2))
        for name in names or [self.watch]:
            curve = self.smooth(name)
            lag = (len(self.history[name]) - len(curve)) / 2
            ax.plot(np.arange(len(curve)) + lag, curve, label=name, **style)
        ax.set_xlabel("step")
        return ax


class _Place:
    """The place below the cell where a running loop shows how far it is; empty when it has ended."""

    def __init__(self, begun):
        self.begun = self.updated = self.drawn = begun
        self.curve, self.handle = "", None

    def show(self, run):
        now = time.perf_counter()
        if now - self.updated < BAR_SECONDS:
            return
        self.updated = now
        if now - self.drawn > CURVE_SECONDS and run.watch in run.history:
            self.drawn, self.curve = now, _picture(run)
        done = run.step + 1
        left = (now - self.begun) * (run.steps - done) / done
        self._put(PROGRESS.format(done=done, steps=run.steps, left=left, curve=self.curve))

    def clear(self):
        if self.handle:
            self._put("")

    def _put(self, html):
        if self.handle:
            self.handle.update(HTML(html))
        else:
            self.handle = display(HTML(html), display_id=True)


def _picture(run):
    """The curve of what a run watches, as an element of HTML."""
    ax = run.plot(color=role.model)
    ax.set_ylabel(run.watch)
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, format="png", dpi=80)
    plt.close(ax.figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{run.watch} against the step, so far" src="data:image/png;base64,{data}">'


class _interrupt_as_flag:
    """Turn the first interrupt (SIGINT) into an event; a second one interrupts at once."""

    def __enter__(self):
        self.event = threading.Event()
        self.mine = threading.current_thread() is threading.main_thread()
        if self.mine:
            self.before = signal.signal(signal.SIGINT, self._first)
        return self.event

    def _first(self, number, frame):
        self.event.set()
        signal.signal(signal.SIGINT, self.before)

    def __exit__(self, *_):
        if self.mine:
            signal.signal(signal.SIGINT, self.before)

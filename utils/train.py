"""Around a visible training loop: seed, device, progress, a clean stop, a guard against NaN."""

import math
import os
import random
import signal
import threading
import time

import numpy as np
import torch
from IPython.display import HTML, display
from matplotlib import pyplot as plt
from tqdm.auto import tqdm

from utils.style import role

SNAPSHOT_SECONDS = 0.5
REDRAW_SECONDS = 1.5


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
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def quiet():
    """True under tests and `make notebooks`, where progress would only dirty the outputs."""
    return bool(os.environ.get("LECTURE_QUIET"))


class Training:
    """Count the steps of a training loop that the notebook writes out.

        run = Training(model, steps=1000)
        for step in run:
            loss = ...
            run.log(loss=loss)      # before the optimiser's step
            ...

    It shows a progress bar and, in a live session, the curve so far. Interrupting the kernel ends
    the loop after the present step, with the model usable. A loss that is not finite raises
    Diverged, and the models have the weights of the last good snapshot again.

    Attributes: `history` {name: [value per step]}, `seconds`, `stopped` (True after an interrupt).
    """

    def __init__(self, *models, steps, watch="loss"):
        self.models, self.steps, self.watch = models, steps, watch
        self.history, self.seconds, self.stopped = {}, 0.0, False
        self.step = -1
        self._snapshot()

    def __iter__(self):
        self.stopped = False
        begun = self._redrawn = time.perf_counter()
        self._live = None
        bar = tqdm(range(self.steps), disable=quiet(), leave=False, mininterval=0.3)
        with _interrupt_as_flag() as interrupted:
            for self.step in bar:
                yield self.step
                self.seconds = time.perf_counter() - begun
                if interrupted.is_set():
                    self.stopped = True
                    bar.close()
                    print(
                        f"Stopped after {self.step + 1} of {self.steps} steps. "
                        "The model is usable as it is; run the cell again to start over."
                    )
                    break
                self._redraw()
        self._snapshot()
        self._end_redraw()

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
        """The running mean (over `width` steps) of a logged number, as a NumPy array."""
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

    def _redraw(self):
        now = time.perf_counter()
        if quiet() or now - self._redrawn < REDRAW_SECONDS or self.watch not in self.history:
            return
        self._redrawn = now
        ax = self.plot(color=role.model)
        ax.set_ylabel(self.watch)
        ax.set_title(f"step {self.step + 1} of {self.steps}", loc="left")
        if self._live is None:
            self._live = display(ax.figure, display_id=True)
        else:
            self._live.update(ax.figure)
        plt.close(ax.figure)

    def _end_redraw(self):
        if self._live is not None:
            self._live.update(HTML(""))


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

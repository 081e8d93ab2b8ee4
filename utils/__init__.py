"""What the notebooks share: data, progress, style, checks, sliders, and the yardstick for pictures.

No model of the lecture lives here.

Importing this package settles PyTorch's threads. Its default is one per core that spins while it
waits; a small model on a machine with a busy neighbour (a browser is one) then trains ten times
slower. The models of this course are small: one thread trains them as fast as two, and never
waits. Where more pay off (wide convolutions), the threads asked for sleep while they wait.
"""

import os
import pathlib

if not __debug__:
    raise ImportError(
        "Python runs with -O or PYTHONOPTIMIZE, which takes every assertion out: a wrong answer would "
        "be called right. Remove that setting and start Python, or the kernel, once more."
    )

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch is loaded

import torch

ROOT = pathlib.Path(__file__).resolve().parent.parent


def _refuse_another_copy():
    """Of two copies of the course in one environment, the one worked in has to be the one used."""
    places = [pathlib.Path.cwd(), *pathlib.Path.cwd().parents]
    copy = next((place for place in places if (place / "utils/data/digits.py").exists()), ROOT)
    if not copy.samefile(ROOT):
        raise ImportError(
            f"Python takes the course from {ROOT}, but you work in the copy in {copy}. Put {copy} "
            "first in PYTHONPATH, or start by `make lecture` there."
        )


_refuse_another_copy()
torch.set_num_threads(int(os.environ.get("LECTURE_THREADS", "1")))


def output_root():
    """Where figures, results and live models are written: $LECTURE_OUT, or build/live.

    `make notebooks` moves them to the project once the whole notebook has passed. A learner's own
    run leaves the committed files alone.
    """
    return pathlib.Path(os.environ.get("LECTURE_OUT", ROOT / "build" / "live"))


def find_output(name):
    """The path of an output: this session's own, else the project's."""
    own = output_root() / name
    return own if own.exists() else ROOT / name


def source_mark():
    """The hash of the notebook being executed by `make notebooks`; empty in a live session."""
    return os.environ.get("LECTURE_SOURCE", "")

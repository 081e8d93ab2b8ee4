"""How fast EM for a hidden Markov model is: notebook 05b's step beside hmmlearn.

    .venv/bin/python benchmarks/hmm.py [--characters N] [--steps S] [--pieces P ...]

Run it on a quiet machine. All learn start, syntax and emissions of 27 states from the same random
start on the same characters (27 symbols, from the course's own text) with one thread, one after the
other, in three rounds; float64 unless said. Printed are medians of the whole fit divided by the
number of steps. "exact" is the text as one sequence, cut into pieces that exchange messages until
nothing changes; "apart" takes each piece for a sequence of its own. hmmlearn does the work of
"exact", with its faster implementation ("scaling"). The last column is the log-likelihood of the
whole text under the model learned, as hmmlearn computes it for all.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from hmmlearn.hmm import CategoricalHMM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils import data
from utils.notebooks import definitions

STATES = 27
ROUNDS = 3
hmm = definitions("05b_sequence_alignment")


def begin(generator):
    """Random start (K,), move (K, K) and table (K, 27)."""
    shapes = [(STATES,), (STATES, STATES), (STATES, 27)]
    rows = [1 + torch.rand(*s, dtype=torch.float64, generator=generator) for s in shapes]
    return [r / r.sum(-1, keepdim=True) for r in rows]


def rival(parameters, steps):
    model = CategoricalHMM(
        STATES, n_features=27, n_iter=steps, tol=-np.inf, init_params="", implementation="scaling"
    )
    model.startprob_, model.transmat_, model.emissionprob_ = (p.numpy().copy() for p in parameters)
    return model


def ours(x, parameters, steps, pieces, exact, kind=torch.float64):
    """Seconds of the fit, and the parameters."""
    parameters = [p.to(kind) for p in parameters]
    begun = time.perf_counter()
    for _ in range(steps):
        *parameters, _ = hmm.baum_welch(x, *parameters, pieces, exact)
    seconds = time.perf_counter() - begun
    rows = [p.double() for p in parameters]
    return seconds, [r / r.sum(-1, keepdim=True) for r in rows]


def theirs(x, parameters, steps):
    model, column = rival(parameters, steps), x[:, None].numpy()
    begun = time.perf_counter()
    model.fit(column)
    seconds = time.perf_counter() - begun
    assert model.monitor_.iter == steps
    found = model.startprob_, model.transmat_, model.emissionprob_
    return seconds, [torch.tensor(p) for p in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--pieces", type=int, nargs="+", default=[100, 250])
    given = parser.parse_args()
    limits = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1")
    limits["LECTURE_THREADS"] = "1"
    if not limits.items() <= os.environ.items():
        return subprocess.run([sys.executable, *sys.argv], env=os.environ | limits, check=True)
    x = hmm.encode(data.text().train[: given.characters])
    start = begin(torch.Generator().manual_seed(0))
    ways = {"hmmlearn, scaling": lambda: theirs(x, start, given.steps)}
    for pieces in given.pieces:
        for exact in (True, False):
            label = f"ours, {pieces} pieces, {'exact' if exact else 'apart'}"
            ways[label] = lambda p=pieces, e=exact: ours(x, start, given.steps, p, e)
        single = lambda p=pieces: ours(x, start, given.steps, p, False, torch.float32)  # noqa: E731
        ways[f"ours, {pieces} pieces, apart, float32"] = single
    rounds = [{name: way() for name, way in ways.items()} for _ in range(ROUNDS)]
    print(
        f"{given.characters} characters, {STATES} states, {given.steps} steps, medians of {ROUNDS} "
        "rounds\n\n| | ms a step | times as fast | nats a character |\n|---|---|---|---|"
    )
    base = None
    for name in ways:
        ms = 1000 * statistics.median(found[name][0] for found in rounds) / given.steps
        base = base or ms
        score = rival(rounds[0][name][1], 1).score(x[:, None].numpy()) / len(x)
        print(f"| {name} | {ms:.1f} | {base / ms:.2f} | {score:.4f} |")


if __name__ == "__main__":
    main()

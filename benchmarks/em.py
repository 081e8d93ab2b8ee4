"""How fast EM for a mixture of Gaussians is: the matrix products of notebook 01a beside scikit-learn.

    .venv/bin/python benchmarks/em.py [--points N] [--steps S] [--threads T ...]

Run it on a quiet machine. Both do the same steps in float64 from the same start on the same points,
in turn, three times, and both end with one more E-step for the final log-likelihood. Printed are
medians of the whole fit, set-up included, divided by the number of steps. Ours runs with one thread
throughout, as the whole course does: its pieces fit into the cache of one core, and are too small to
share. scikit-learn has one thread, then two, each time in a process of its own. Without our floor
and without its `reg_covar` the two compute the same numbers: the last column should be rounding.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.notebooks import definitions

TURNS = 3
em = definitions("01a_mixtures")


def points(count, D, K, generator):
    """Points of a mixture of K Gaussians whose blobs overlap a little, float64."""
    means = 3 * torch.randn(K, D, dtype=torch.float64, generator=generator)
    sides = torch.randn(K, D, D, dtype=torch.float64, generator=generator) / D**0.5
    eye = torch.eye(D, dtype=torch.float64)
    truth = em.Mixture(torch.full((K,), 1 / K), means, sides @ sides.mT + 0.1 * eye)
    return truth.sample(count, generator)[0]


def ours(x, start, steps):
    """Seconds and the final log-likelihood, nats per point."""
    begun = time.perf_counter()
    fit = em.fit_mixture(x, start, steps, floor=0, step=em.product_step)
    seconds = time.perf_counter() - begun
    assert len(fit.log_likelihood) == steps + 1 and not fit.reseeded
    return seconds, fit.log_likelihood[-1]


def theirs(x, start, steps):
    """The same of scikit-learn, which is given the start and so does no k-means."""
    array = x.numpy()
    model = GaussianMixture(
        len(start.weights), max_iter=steps, tol=0, reg_covar=0, init_params="random",
        weights_init=start.weights.numpy(), means_init=start.means.numpy(),
        precisions_init=torch.cholesky_inverse(start.factors).numpy(),
    )  # fmt: skip
    begun = time.perf_counter()
    model.fit(array)
    seconds = time.perf_counter() - begun
    assert model.n_iter_ == steps
    return seconds, model.score(array)


def table(count, steps):
    """The rows of this process's number of threads."""
    warnings.simplefilter("ignore", ConvergenceWarning)
    for D in (2, 10):
        for K in (8, 50):
            generator = torch.Generator().manual_seed(0)
            x = points(count, D, K, generator)
            start = em.start_mixture(x, K, generator)
            turns = [(ours(x, start, steps), theirs(x, start, steps)) for _ in range(TURNS)]
            a, b = (1000 * statistics.median(t[who][0] for t in turns) / steps for who in (0, 1))
            apart = abs(turns[-1][0][1] - turns[-1][1][1])
            assert torch.get_num_threads() == 1
            row = (
                f"| {os.environ['OMP_NUM_THREADS']} | {D} | {K} | {a:.1f} | {b:.0f} | {b / a:.1f} |"
            )
            print(f"{row} {apart:.0e} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rows:
        return table(given.points, given.steps)
    print(
        f"{given.points} points, {given.steps} steps, medians of {TURNS} turns\n\n"
        "| threads of scikit-learn | D | K | ours, ms a step | scikit-learn, ms a step | ratio | "
        "difference of log-likelihood, nats per point |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    options = ["--rows", "--points", str(given.points), "--steps", str(given.steps)]
    for threads in map(str, given.threads):
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        limits = {"LECTURE_THREADS": "1"} | dict.fromkeys(names, threads)
        subprocess.run([sys.executable, __file__, *options], env=os.environ | limits, check=True)


if __name__ == "__main__":
    main()

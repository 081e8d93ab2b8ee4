"""Our flows beside those of zuko and normflows: milliseconds per step, and KL after 10, 30 and 60 s.

    .venv/bin/pip install -e '.[benchmarks]'
    .venv/bin/python benchmarks/flows.py [--densities moons,grid] [--seeds 0,1] [--only 'zuko NSF']

All see the same eight targets, batches of 512 fresh samples, one thread. The libraries' flows have
their documented settings: zuko's tutorial (3 transforms, 64 x 64 hidden, Adam 1e-3), normflows'
README (32 couplings, 64 x 64 hidden, Adam 5e-4, weight decay 1e-5); each runs once and is judged on
the way. Ours have a learning rate that falls to zero, so each time is a run of its own. Seconds are
those of the processor, so that a busy neighbour does not count. KL is in nats above the exact
entropy, by 100,000 fresh samples; the median over seeds is shown, with the extremes.
"""

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.data import densities
from utils.notebooks import definitions

SECONDS = (10, 30, 60)
BATCH = 512


def peers():
    """{name: (builder, optimiser)} with documented settings."""
    import normflows
    import zuko

    def from_zuko(kind):
        def build(x):
            flow = kind(2, transforms=3, hidden_features=(64, 64))
            return flow, lambda points: flow().log_prob(points)

        return build, lambda parameters: torch.optim.Adam(parameters, lr=1e-3)

    def build_normflows(x):
        layers = []
        for _ in range(32):
            net = normflows.nets.MLP([1, 64, 64, 2], init_zeros=True)
            layers += [
                normflows.flows.AffineCouplingBlock(net), normflows.flows.Permute(2, mode="swap")
            ]  # fmt: skip
        flow = normflows.NormalizingFlow(normflows.distributions.base.DiagGaussian(2), layers)
        return flow, flow.log_prob

    return {
        "zuko RealNVP": from_zuko(zuko.flows.RealNVP),
        "zuko MAF": from_zuko(zuko.flows.MAF),
        "zuko NSF": from_zuko(zuko.flows.NSF),
        "normflows RealNVP": (
            build_normflows, lambda p: torch.optim.Adam(p, lr=5e-4, weight_decay=1e-5)
        ),
    }  # fmt: skip


def ours():
    """{name: builder} of the flows of notebook 02b."""
    realnvp = definitions("02b_realnvp")

    def builder(make):
        def build(x):
            flow = make(x)
            return flow, flow.log_prob

        return build

    return {
        "ours RealNVP": builder(realnvp.real_nvp),
        "ours splines": builder(lambda x: realnvp.spline_flow(x, bins=32)),
    }


@torch.no_grad()
def kl(log_prob, target, count=100_000):
    """KL(target || flow) in nats."""
    x = target.sample(count, torch.Generator().manual_seed(12345))
    gaps = [target.log_prob(part) - log_prob(part).double() for part in x.split(10_000)]
    return torch.cat(gaps).mean().item()


def train(build, target, marks, optimiser=None):
    """KL at each of the marks (processor seconds), and milliseconds per step.

    Without an optimiser: ours, Adam with a cosine from 3e-3 to zero at the last mark.
    """
    flow, log_prob = build(target.sample(5000))
    falling = optimiser is None
    optimizer = (optimiser or (lambda p: torch.optim.Adam(p, lr=3e-3, fused=True)))(
        flow.parameters()
    )
    found, spent, steps = [], 0.0, 0
    while len(found) < len(marks):
        begun = time.process_time()
        if falling:
            part = spent / marks[-1]
            for group in optimizer.param_groups:
                group["lr"] = 3e-3 * min(1, (steps + 1) / 100) * (1 + math.cos(math.pi * part)) / 2
        loss = -log_prob(target.sample(BATCH)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        spent += time.process_time() - begun
        if spent >= marks[len(found)]:
            found.append(kl(log_prob, target))
    return found, 1000 * spent / steps


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--densities", default="all")
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--only", default="", help="names of flows, separated by commas")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    targets = densities()
    names = list(targets) if chosen.densities == "all" else chosen.densities.split(",")
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    print("| target | flow | ms per step | " + " | ".join(f"KL, {s} s" for s in SECONDS) + " |")
    print("|---|---|---|" + "---|" * len(SECONDS), flush=True)
    for name in names:
        results, speed = {}, {}
        for seed in seeds:
            runs = [(label, build, None) for label, build in ours().items()]
            runs += [(label, build, adam) for label, (build, adam) in peers().items()]
            for label, build, adam in runs:
                if chosen.only and label not in chosen.only.split(","):
                    continue
                torch.manual_seed(seed)
                spans = [SECONDS] if adam else [(mark,) for mark in SECONDS]
                parts = [train(build, targets[name], marks, adam) for marks in spans]
                results.setdefault(label, []).append([k for part in parts for k in part[0]])
                speed.setdefault(label, []).append(parts[-1][1])
        for label, rows in results.items():
            cells = []
            for column in zip(*rows):
                cell = f"{statistics.median(column):.4f}"
                cells.append(
                    cell + f" ({min(column):.4f} to {max(column):.4f})" * (len(column) > 1)
                )
            ms = statistics.median(speed[label])
            print(f"| {name} | {label} | {ms:.1f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

"""Notebook 05c's summer and winter through the door for photographs: the twin error, beside 05c's.

    .venv/bin/python benchmarks/photos.py [--seeds 0,1,2] [--devices 1]

The 2000 landscapes of each season are written as files, trained on by `python -m tools.photos` with
the notebook's size, steps and batch, and scored as the notebook scores: mean absolute difference to
the true twins of 500 test pictures, % of full brightness. "Within its spread": inside the lowest and
highest of the recorded seeds, widened by three of their standard deviations on both sides. Two
minutes a seed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("LECTURE_QUIET", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from tools.photos import results, store
from utils import ROOT, data
from utils.notebooks import definitions

cycle = definitions("05c_cyclegan")
SEASONS = ("summer", "winter")
STEPS = 1500


def write_pictures(folder, count, seed):
    for season in SEASONS:
        (folder / season).mkdir()
        for number, image in enumerate(data.scenes(count, season, seed=seed).images):
            (folder / season / f"{number:04d}.png").write_bytes(results.png(image))


def train(folder, seed, devices):
    """The translators that the command line trained, and its seconds."""
    command = [sys.executable, "-m", "tools.photos", *(str(folder / season) for season in SEASONS)]
    batch = cycle.recipe["batch"] // devices
    options = {"size": 32, "steps": STEPS, "batch": batch, "seed": seed, "devices": devices}
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    begun = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "--out", str(folder / "run")], check=True, env=environment, cwd=ROOT,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    generators = torch.nn.ModuleList([cycle.SceneGenerator() for _ in SEASONS])
    generators.load_state_dict(store.read(folder / "run" / "translator.safetensors")[0])
    return generators, time.perf_counter() - begun


def twin_errors(generators, seed):
    """Both twin errors in %, to winter and to summer."""
    found = []
    for net, here, there in zip(generators, SEASONS, SEASONS[::-1], strict=True):
        test = data.scenes(500, here, seed=seed + 100)
        twins = data.twin_for_scoring(test.factors, there)
        found.append(100 * (net.translate(test.images) - twins).abs().mean().item())
    return found


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--devices", type=int, default=1)
    chosen = arguments.parse_args()
    recorded = json.loads((ROOT / "results" / "05c_cyclegan.json").read_text(encoding="utf-8"))
    bounds = []
    for season in ("winter", "summer"):
        values = [run[f"twin_{season}_percent"] for run in recorded.values()]
        room = 3 * statistics.stdev(values)
        bounds.append((min(values) - room, max(values) + room))
        print(f"05c to {season}: {', '.join(f'{v:.2f}' for v in values)} %, "
              f"spread {bounds[-1][0]:.2f} to {bounds[-1][1]:.2f} %")  # fmt: skip
    print(
        "| seed | to winter, % | to summer, % | seconds | within the spread |\n|---|---|---|---|---|"
    )
    for seed in map(int, chosen.seeds.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            write_pictures(Path(folder), 2000, seed)
            generators, seconds = train(Path(folder), seed, chosen.devices)
        errors = twin_errors(generators, seed)
        inside = all(low <= e <= high for e, (low, high) in zip(errors, bounds, strict=True))
        print(f"| {seed} | {errors[0]:.2f} | {errors[1]:.2f} | {seconds:.0f} "
              f"| {'yes' if inside else 'no'} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

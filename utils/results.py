"""What the notebooks measured, and samples of the generators they trained.

The numbers stand in results/<notebook>.json, by seed; slides and README read them. The samples
stand in results/samples/<notebook>.npz; later notebooks read them in the place of training again.
"""

import io
import json
import os

import numpy as np
import torch

from utils import ROOT, find_output, output_root, source_mark
from utils.store import try_write

SAMPLES = 1000
WORLDS = {  # how one sample is kept: shape, type, largest value
    "digits": ((8, 8), "uint8", 16),
    "mnist": ((28, 28), "uint8", 255),
    "scenes": ((3, 32, 32), "uint8", 255),
    "ring": ((2,), "float32", np.inf),
    "bars": ((4, 4), "uint8", 1),
}


def record(notebook, **values):
    """Keep the numbers a notebook found under the present SEED.

    `values` are numbers or lists of numbers; their names carry the unit where there is one
    (`seconds`, `test_elbo_nats`).
    """
    path = output_root() / "results" / f"{notebook}.json"
    try:
        seeds = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        seeds = {}
    seed = os.environ.get("SEED", "0")
    if seeds.get(seed, {}).get("source") != source_mark():
        seeds[seed] = {"source": source_mark()}  # what older code found does not mix with this
    seeds[seed].update({name: _rounded(value) for name, value in values.items()})
    try_write(path, json.dumps(dict(sorted(seeds.items())), indent=1) + "\n")


def recorded(notebook):
    """All seeds' results of a notebook as {seed: {name: value}}."""
    return json.loads((ROOT / "results" / f"{notebook}.json").read_text(encoding="utf-8"))


def _rounded(value):
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return float(f"{float(value):.5g}")


def record_samples(notebook, **draws):
    """Keep 1000 samples of each generator that a notebook trained, for later notebooks to measure.

    The names are <world>_<family>, such as `digits_vae`; the values are functions without
    arguments that draw (1000, ...) whole numbers: digits (8, 8) in 0..16, mnist (28, 28) and
    scenes (3, 32, 32) in 0..255, bars (4, 4) in 0..1; or ring (2,), any float. The draws leave the
    global random numbers as they were.

    Raises ValueError naming what has another world, shape or range.
    """
    kept = {}
    states = torch.get_rng_state(), np.random.get_state()
    try:
        for name, draw in draws.items():
            with torch.no_grad():
                drawn = draw()
            drawn = drawn.detach().cpu().numpy() if isinstance(drawn, torch.Tensor) else drawn
            kept[name] = _as_kept(name, np.asarray(drawn))
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
    buffer = io.BytesIO()
    mark = {"source": os.environ.get("LECTURE_SAMPLES", ""), "seed": os.environ.get("SEED", "0")}
    np.savez_compressed(buffer, **kept, **{key: np.array(value) for key, value in mark.items()})
    try_write(output_root() / "results" / "samples" / f"{notebook}.npz", buffer.getvalue())


def recorded_samples(notebook):
    """{name: array (1000, ...)} of what `record_samples` kept of a notebook, under seed 0.

    Raises FileNotFoundError that says how to make the file.
    """
    path = find_output(f"results/samples/{notebook}.npz")
    if not path.exists():
        raise FileNotFoundError(
            f"no samples of {notebook}: run that notebook to its end, "
            f"or `make notebooks ONLY={notebook[:3]}`"
        )
    with np.load(path) as kept:
        return {name: kept[name] for name in kept.files if name not in ("source", "seed")}


def _as_kept(name, drawn):
    world = name.split("_")[0]
    if world not in WORLDS or world == name:
        raise ValueError(f"{name}: call it <world>_<family>, a world being {', '.join(WORLDS)}")
    shape, kind, largest = WORLDS[world]
    if drawn.shape != (SAMPLES, *shape):
        raise ValueError(f"{name} is {drawn.shape}, expected {(SAMPLES, *shape)}")
    whole = kind == "float32" or (drawn == np.round(drawn)).all()
    if not (np.isfinite(drawn).all() and whole and np.abs(drawn).max() <= largest):
        raise ValueError(f"{name}: expected {kind} numbers up to {largest}, none missing")
    if kind == "uint8" and drawn.min() < 0:
        raise ValueError(f"{name}: {drawn.min()} is below 0")
    return drawn.astype(kind)

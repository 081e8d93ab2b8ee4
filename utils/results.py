"""What the notebooks measured: results/<notebook>.json, by seed. Slides and README read it."""

import json
import os

from utils import ROOT, output_root, source_mark
from utils.store import try_write


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

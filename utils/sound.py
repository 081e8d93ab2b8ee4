"""Explorers that can be heard: their module returns a sound, which explorer/sound.js plays.

`export` writes what `explore.export` writes, and says in it which output is heard:

    from utils import explore, sound
    sound.export("06b_media/tones", Tones(), controls, output="sound", rate=8000, ...)

The widget is that of any other explorer, with a button "listen".
"""

import copy
import json
import numbers

import numpy as np
import torch

from utils import explore, output_root
from utils.store import try_write

__all__ = ["export"]

RATES = (3000, 48000)
LONGEST = 5  # seconds
HIGHEST = 1.001  # 1, and what rounding adds


def export(name, module, controls, *, output="sound", rate=8000, path=(), **seen):
    """Write a module for the browser, as `explore.export`; its reader can also listen to it.

    `output` names what is heard: (1, S) or (S,) float32 numbers in [-1, 1], of which `rate` make a
    second. The browser fades them in and out and never plays them before a button is pressed. The
    other arguments are those of `explore.export`, whose value is returned.
    Raises ValueError, before anything is written, where the rate is none that a browser plays, or
    where the sound has another shape, is too long, not finite or beyond [-1, 1]: at the start, at a
    stop of the path, with all controls at one end, or at random places between.
    """
    if isinstance(rate, bool) or not isinstance(rate, numbers.Integral):
        raise ValueError(f"{name}: the rate {rate!r} is not a whole number of samples a second")
    if not RATES[0] <= rate <= RATES[1]:
        raise ValueError(f"{name}: {rate} samples a second; it takes {RATES[0]} to {RATES[1]}")
    module, path = copy.deepcopy(module).eval().cpu(), list(path)
    for values in [*_places(controls), *path]:
        with torch.no_grad():
            outputs = module(torch.tensor([[float(v) for v in values]]))
        if output not in outputs:
            raise ValueError(f"{name}: no output {output!r} to hear among {', '.join(outputs)}")
        problem = _problem(outputs[output], rate)
        if problem:
            at = ", ".join(f"{v:.3g}" for v in values)
            raise ValueError(f"{name}: the sound {output!r} {problem}, at the values ({at})")
    worst = explore.export(name, module, controls, path=path, **seen)
    file = output_root() / "lecture" / "live" / f"{name}.json"
    if file.exists():  # else `explore.export` has said why not
        spec = json.loads(file.read_text(encoding="utf-8"))
        spec["sound"] = {"output": output, "rate": int(rate)}
        try_write(file, json.dumps(spec, indent=1, ensure_ascii=False) + "\n")
    return worst


def _places(controls, trials=20):
    """Values of the controls: the start, all at one end, and at random between."""
    low = np.concatenate([np.full(np.size(c["value"]), float(c["min"])) for c in controls])
    high = np.concatenate([np.full(np.size(c["value"]), float(c["max"])) for c in controls])
    between = np.random.default_rng(0).random((trials, len(low)))
    return [np.concatenate([np.ravel(c["value"]) for c in controls]), low, high,
            *(low + (high - low) * between)]  # fmt: skip


def _problem(sound, rate):
    """What keeps a tensor from being played, in words, or None."""
    if sound.dtype != torch.float32:
        return f"is {str(sound.dtype).removeprefix('torch.')}, not float32"
    if sound.ndim not in (1, 2) or sound.shape[:-1].numel() != 1:
        return f"is {tuple(sound.shape)}, not (1, S) or (S,)"
    if not 0 < sound.numel() <= LONGEST * rate:
        return f"lasts {sound.numel() / rate:g} s; it takes more than 0 and at most {LONGEST}"
    if not sound.isfinite().all():
        return "holds numbers that are not finite"
    peak = sound.abs().max().item()
    if peak > HIGHEST:
        return f"reaches {peak:.4g}, beyond [-1, 1]"
    return None

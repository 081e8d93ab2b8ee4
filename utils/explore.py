"""Sliders on a model, alive in the browser: notebook, slide and static page show the same files.

`export` turns a module into lecture/live/<name>.onnx and .json. `Explorer` is the widget that shows
them in a notebook, in a cell of its own that needs nothing else:

    from utils import explore
    explore.Explorer("03_vae/plane")

The model runs in the browser, so a drag never waits for the kernel.
"""

import base64
import copy
import io
import json
import logging
import warnings

import anywidget
import numpy as np
import onnxruntime
import torch
import traitlets
from ipywidgets import Widget, widget_serialization
from matplotlib import pyplot as plt

from utils import ROOT, find_output, output_root, source_mark
from utils.panels import layer, panel, start_picture, values_shown
from utils.show import described, small_png
from utils.store import try_write

__all__ = ["Explorer", "drawing", "export", "layer", "pad", "panel", "slider", "state"]

BUNDLE = ROOT / "build" / "explorer"


def pad(labels, *, limit, background=None, value=(0.0, 0.0), step=0.05):
    """Two entries of the code as one square pad, each from -limit to limit.

    `background` is a matplotlib figure whose single axes fill it and cover the same square.
    """
    control = {"kind": "pad", "labels": list(labels), "min": -limit, "max": limit, "step": step}
    control |= {"value": [_decimal(v) for v in value], "random": "normal"}
    if background is not None:
        control["background"] = _png_of_figure(background)
    return control


def slider(label, *, low, high, value=0.0, step=0.05, random="normal", names=None):
    """One entry of the code as a slider. `names` are shown in place of whole numbers."""
    control = {"kind": "slider", "label": label, "min": low, "max": high, "step": step}
    control |= {"value": _decimal(value), "random": random}
    if names is not None:
        control["names"] = list(names)
    return control


def state(values, *, low, high):
    """Entries of the code without a slider; they change when a step is taken (see `export`)."""
    return {"kind": "state", "value": [float(v) for v in values], "min": low, "max": high}


def drawing(label, values, *, low, high, panel=0, presets):
    """Entries of the code that the reader draws with the mouse on a panel.

    They stand evenly spaced over its xlim, their heights on its ylim. `presets` {name: values} are
    buttons, for the keyboard.
    """
    control = {"kind": "drawing", "label": label, "min": low, "max": high, "panel": panel}
    presets = {name: [float(v) for v in curve] for name, curve in presets.items()}
    return control | {"value": [float(v) for v in values], "presets": presets}


def export(
    name, module, controls, *, title, picture, still, hint=None, path=(), caption=None,
    panels=None, labels=None, steps=None,
):  # fmt: skip
    """Write a module for the browser, and return the greatest difference from torch found:
    absolute for numbers up to one, relative beyond.

    `module` maps u (1, K), the values of all controls in order, to a dict with "image"
    (N, C, H, W) in [0, 1], or what `panels` draw, and whatever `caption` names. `labels` are the
    words above the N images of a batch. `title` says what moves, `picture` describes what is seen
    to those who do not see it, `hint` is what to do first, one sentence shown after "Try: ". The
    figure `still`, saved before, stands where nothing can move. `path` is the list of values that
    the play button walks. `caption` = {output, text, labels} names the largest entry of an output
    below the picture; without labels it puts the numbers of the output into the places {0}, {1} ...
    of the text, with two decimals, or {0:1} with as many as stand there. `steps` [(label, output)]
    are buttons that put an output (1, K) in the place of all values; the play button then takes
    them in turn.
    Raises ValueError where labels and images differ in number.
    """
    module = copy.deepcopy(module).eval().cpu()
    start = torch.tensor([[v for c in controls for v in np.ravel(c["value"])]], dtype=torch.float32)
    with torch.no_grad():
        outputs = module(start)
    if labels is not None and len(labels) != len(outputs["image"]):
        raise ValueError(f"{name}: {len(labels)} labels for {len(outputs['image'])} images")
    onnx = _onnx_bytes(module, start, list(outputs))
    spec = {
        "name": name, "title": title, "picture": picture, "hint": hint,
        "still": still, "still_alt": described(find_output(f"figures/{still}"))[0],
        "controls": controls, "caption": caption, "panels": panels, "labels": labels,
        "steps": [{"label": text, "output": output} for text, output in steps] if steps else None,
        "path": [[round(float(v), 3) for v in values] for values in path],
        "source": source_mark(),
    }  # fmt: skip
    spec["first"] = _png_of_figure(start_picture(spec, outputs))
    folder = output_root() / "lecture" / "live"
    try_write(folder / f"{name}.onnx", onnx)
    try_write(folder / f"{name}.json", json.dumps(spec, indent=1, ensure_ascii=False) + "\n")
    return _difference(onnx, module, controls)


def _onnx_bytes(module, start, names):
    noisy = logging.getLogger("torch.onnx")
    level, noisy.level = noisy.level, logging.ERROR
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                torch.nn.Sequential(module),  # so that a buffer may be called as an output is
                (start,),
                input_names=["u"],
                output_names=names,
                dynamo=True,
                verbose=False,
            )
    finally:
        noisy.level = level
    model = program.model_proto
    del model.metadata_props[:]
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        del node.metadata_props[:]  # stack traces, with paths of this machine
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    return model.SerializeToString()


def _difference(onnx, module, controls, trials=50):
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    low = torch.tensor([c["min"] for c in controls for _ in np.ravel(c["value"])])
    high = torch.tensor([c["max"] for c in controls for _ in np.ravel(c["value"])])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for _ in range(trials):
        u = (low + (high - low) * torch.rand(1, len(low), generator=generator)).float()
        with torch.no_grad():
            expected = module(u)
        for value, name in zip(session.run(None, {"u": u.numpy()}), expected, strict=True):
            wanted = expected[name].numpy()
            worst = max(worst, (np.abs(value - wanted) / np.maximum(1, np.abs(wanted))).max())
    return float(worst)


def _decimal(value):
    """A number as written: single precision makes -0.69 of it -0.68999999761."""
    return round(float(value), 6)


def _png_of_figure(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(small_png(buffer.getvalue())).decode()


class _Runtime(Widget):
    """The browser's inference engine, sent once for all explorers of a notebook."""

    wasm = traitlets.Bytes().tag(sync=True)


_runtime = None


def _shared_runtime():
    global _runtime
    if _runtime is None or _runtime.comm is None:
        _runtime = _Runtime(wasm=(BUNDLE / "ort.wasm.gz").read_bytes())
    return _runtime


class _Widget(anywidget.AnyWidget):
    _esm = BUNDLE / "widget.js" if (BUNDLE / "widget.js").exists() else "export default {}"
    spec = traitlets.Dict().tag(sync=True)
    onnx = traitlets.Bytes().tag(sync=True)
    runtime = traitlets.Instance(Widget).tag(sync=True, **widget_serialization)
    values = traitlets.List(traitlets.Float()).tag(sync=True)


class Explorer:
    """The explorer `name` as a widget; `values` follows the sliders and moves them.

    Where widgets do not run, a picture of its start stands in its place.
    """

    def __init__(self, name):
        self.name = name
        files = [find_output(f"lecture/live/{name}.{kind}") for kind in ("json", "onnx")]
        try:
            self.spec = json.loads(files[0].read_text(encoding="utf-8"))
            onnx = files[1].read_bytes()
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"the live model {name} is not there ({error.filename}). "
                "Run the cell above that exports it, or: make notebooks"
            ) from None
        self.widget = None
        if not (BUNDLE / "widget.js").exists():
            print("The live picture needs the browser part of the course. Build it: make lecture")
            return
        start = [float(v) for c in self.spec["controls"] for v in np.ravel(c["value"])]
        self.widget = _Widget(spec=self.spec, onnx=onnx, runtime=_shared_runtime(), values=start)

    @property
    def values(self):
        return self._live().values

    @values.setter
    def values(self, values):
        self._live().values = [float(value) for value in values]

    def _live(self):
        if self.widget is None:
            raise RuntimeError(
                "the sliders are not alive here. Build the browser part: make lecture"
            )
        return self.widget

    def __repr__(self):
        return f"Explorer('{self.name}')"

    def _repr_mimebundle_(self, **_):
        bundle = {"text/plain": repr(self), "image/png": self.spec["first"].split(",")[1]}
        values = values_shown(self.spec["controls"])
        alt = ". ".join(part for part in (self.spec["title"], self.spec["picture"], values) if part)
        if self.widget is not None:
            widget = self.widget._repr_mimebundle_()
            data = widget[0] if isinstance(widget, tuple) else widget
            bundle |= {kind: value for kind, value in data.items() if "widget" in kind}
        return bundle, {"image/png": {"alt": alt}}

"""Sliders on a model, alive in the browser: notebook, slide and static page show the same files.

`export` turns a module into lecture/live/<name>.onnx and .json. `Explorer` is the widget that shows
them in a notebook. The model runs in the browser, so a drag never waits for the kernel.
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
from PIL import Image

from utils import ROOT, find_output, output_root, source_mark
from utils.show import described, small_png
from utils.store import try_write
from utils.style import density_map, role

KINDS = ("points", "lines", "polygon", "area", "arrows", "density")
BUNDLE = ROOT / "build" / "explorer"


def pad(labels, *, limit, background=None, value=(0.0, 0.0), step=0.05):
    """Two entries of the code as one square pad, each from -limit to limit.

    `background` is a matplotlib figure whose single axes fill it and cover the same square.
    """
    control = {"kind": "pad", "labels": list(labels), "min": -limit, "max": limit, "step": step}
    control |= {"value": list(value), "random": "normal"}
    if background is not None:
        control["background"] = _png_of_figure(background)
    return control


def slider(label, *, low, high, value=0.0, step=0.05, random="normal", names=None):
    """One entry of the code as a slider. `names` are shown in place of whole numbers."""
    control = {"kind": "slider", "label": label, "min": low, "max": high, "step": step}
    control |= {"value": value, "random": random}
    if names is not None:
        control["names"] = list(names)
    return control


def layer(output, kind, colour, *, size=3.0, alpha=1.0):
    """One output of the module, drawn in a panel in the colour of a role.

    `kind`: "points" (N, 2); "lines" (L, P, 2); "polygon" (P, 2), filled; "area" (P, 2), a curve
    filled down to the bottom; "arrows" (N, 4), place and step; "density" (H, W) in [0, 1], the
    first row at the top, over the whole panel. `size` is a radius or a width, in pixels of 560.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind}: a layer is one of {', '.join(KINDS)}")
    return {"output": output, "kind": kind, "role": colour, "size": size, "alpha": alpha}


def panel(*, xlim, ylim, layers, title="", xlabel="", ylabel="", aspect=1.0):
    """Axes in the browser; `aspect` is their height over their width."""
    return {
        "xlim": list(xlim), "ylim": list(ylim), "layers": list(layers), "title": title,
        "xlabel": xlabel, "ylabel": ylabel, "aspect": aspect,
    }  # fmt: skip


def export(name, module, controls, *, title, picture, still, path, caption=None, panels=None):
    """Write a module for the browser, and return the greatest difference from torch found.

    `module` maps u (1, K), the values of all controls in order, to a dict with "image"
    (N, C, H, W) in [0, 1], or what `panels` draw, and whatever `caption` names. `picture`
    describes what is seen to those who do not see it; the figure `still`, saved before, stands
    where nothing can move. `path` is the list of values that the play button walks. `caption` =
    {output, text, labels} names the largest entry of an output below the picture; without labels
    it puts the numbers of the output into the places {0}, {1} ... of the text.
    """
    module = copy.deepcopy(module).eval().cpu()
    start = torch.tensor([[v for c in controls for v in np.ravel(c["value"])]], dtype=torch.float32)
    outputs = module(start)
    onnx = _onnx_bytes(module, start, list(outputs))
    spec = {
        "name": name, "title": title, "picture": picture,
        "still": still, "still_alt": described(find_output(f"figures/{still}"))[0],
        "first": _png_of_panels(outputs, panels) if panels else _png_of_image(outputs["image"]),
        "controls": controls, "caption": caption, "panels": panels,
        "path": [[round(float(v), 3) for v in values] for values in path],
        "source": source_mark(),
    }  # fmt: skip
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
                module, (start,), input_names=["u"], output_names=names, dynamo=True, verbose=False
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
            worst = max(worst, np.abs(value - expected[name].numpy()).max())
    return float(worst)


def _uri(png):
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _png_of_figure(figure):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return _uri(small_png(buffer.getvalue()))


def _png_of_image(tensor):
    image = tensor[0].detach().clamp(0, 1).permute(1, 2, 0).numpy()
    if image.shape[2] == 1:
        paper, ink = (
            np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (role.paper, role.ink)
        )
        image = (paper + (ink - paper) * image) / 255
    buffer = io.BytesIO()
    Image.fromarray((255 * image).round().astype(np.uint8)).save(buffer, format="png")
    return _uri(buffer.getvalue())


def _png_of_panels(outputs, panels):
    """The first picture of a plot, as explorer/plot.js draws it."""
    tallest = max(p["aspect"] for p in panels)
    size = (6.24 * len(panels), 5.6 * tallest + 0.8)
    figure, axes = plt.subplots(1, len(panels), figsize=size, squeeze=False)
    for ax, shown in zip(axes[0], panels, strict=True):
        ax.set(xlim=shown["xlim"], ylim=shown["ylim"], title=shown["title"])
        ax.set(xlabel=shown["xlabel"], ylabel=shown["ylabel"], box_aspect=shown["aspect"])
        for part in shown["layers"]:
            values = outputs[part["output"]].detach().numpy()
            _draw(ax, values, part, getattr(role, part["role"]))
    uri = _png_of_figure(figure)
    plt.close(figure)
    return uri


def _draw(ax, values, part, colour):
    kind, look = part["kind"], {"color": colour, "alpha": part["alpha"]}
    if kind == "points":
        ax.scatter(*values.T, s=part["size"] ** 2, linewidth=0, **look)
    elif kind == "lines":
        ax.plot(*values.transpose(2, 1, 0), linewidth=0.6 * part["size"], **look)
    elif kind == "area":
        ax.fill_between(*values.T, y2=ax.get_ylim()[0], linewidth=0, **look)
    elif kind == "polygon":
        ax.fill(*values.T, linewidth=0, **look)
    elif kind == "arrows":
        ax.quiver(*values.T, angles="xy", scale_units="xy", scale=1, **look)
    else:
        extent = (*ax.get_xlim(), *ax.get_ylim())
        ax.imshow(
            values, cmap=density_map(colour), vmin=0, vmax=1, extent=extent, aspect="auto",
            alpha=part["alpha"],
        )  # fmt: skip


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

    Where widgets do not run, the still figure is shown in its place.
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
        bundle = {"text/plain": repr(self)}
        still = find_output("figures/" + self.spec["still"])
        if still.exists():
            bundle["image/png"] = base64.b64encode(still.read_bytes()).decode()
        if self.widget is not None:
            widget = self.widget._repr_mimebundle_()
            data = widget[0] if isinstance(widget, tuple) else widget
            bundle |= {kind: value for kind, value in data.items() if "widget" in kind}
        return bundle

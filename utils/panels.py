"""Plots that move: panels of points and curves, drawn in the browser by explorer/plot.js, and the
picture of an explorer at its start, drawn here for where nothing can move."""

import base64
import io
import re
import textwrap
from decimal import Decimal

from matplotlib import pyplot as plt

from utils.style import density_map, role

VIEW_INCHES = 3.2
NOT_ALIVE = "Run this cell to move it."
KINDS = ("points", "lines", "polygon", "area", "arrows", "density")


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


def start_picture(spec, outputs):
    """What the browser shows first, as a figure: pictures or panels, pads, values, caption."""
    images, panels = outputs.get("image"), spec["panels"]
    pads = [control for control in spec["controls"] if control["kind"] == "pad"]
    views = panels or list(images)
    shapes = [p["aspect"] if panels else p.shape[1] / p.shape[2] for p in views]
    stacked = not panels and shapes[0] <= 0.5
    names, beside = [f"view {i}" for i in range(len(views))], [f"pad {i}" for i in range(len(pads))]
    mosaic = [[name, *beside] for name in names] if stacked else [names + beside]
    height = VIEW_INCHES * (shapes[0] * 2 * len(views) if stacked else 1)
    widths = [2 * VIEW_INCHES] if stacked else [VIEW_INCHES / shape for shape in shapes]
    widths += [VIEW_INCHES] * len(pads)
    margin = 0.75 if panels else 0.1
    width = max(sum(widths) + margin * len(widths), 4.5)
    lines = [values_shown(spec["controls"])]
    if spec["caption"]:
        lines.append(caption_shown(outputs[spec["caption"]["output"]], spec["caption"]))
    lines = [part for line in lines for part in textwrap.wrap(line, round(11 * width))]
    lines.append(NOT_ALIVE)
    figure = plt.figure(figsize=(width, height + margin + 0.55 + 0.22 * len(lines)))
    axes = figure.subplot_mosaic(mosaic, width_ratios=widths)
    for i, (name, view) in enumerate(zip(names, views)):
        if panels:
            _draw_panel(axes[name], view, outputs)
        else:
            _draw_image(axes[name], view, spec["labels"][i] if spec["labels"] else "")
    for name, control in zip(beside, pads):
        _draw_pad(axes[name], control)
    figure.suptitle(spec["title"], fontsize=14)
    figure.supxlabel("\n".join(lines), fontsize=11)
    return figure


def values_shown(controls):
    """The start values of pads and sliders in words."""
    shown = []
    for control in controls:
        if control["kind"] == "pad":
            pairs = zip(control["labels"], control["value"])
            shown += [f"{label} = {_number(value, control['step'])}" for label, value in pairs]
        elif control["kind"] == "slider":
            value, names = control["value"], control.get("names")
            text = (
                names[round(value - control["min"])] if names else _number(value, control["step"])
            )
            shown.append(f"{control['label']} = {text}")
    return ", ".join(shown)


def caption_shown(output, caption):
    """The line below the picture, as explorer/view.js writes it."""
    values = output.flatten().tolist()
    if caption.get("labels"):
        best = max(range(len(values)), key=values.__getitem__)
        text = caption["text"].replace("{label}", caption["labels"][best])
        return text.replace("{percent}", f"{100 * values[best]:.0f}")
    return re.sub(
        r"\{(\d)(?::(\d))?\}",
        lambda place: _fixed(values[int(place[1])], int(place[2] or 2)),
        caption["text"],
    )


def _fixed(value, digits):
    """So many decimals, a real minus; what rounds to zero has no sign."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "" if float(text) == 0 else "\N{MINUS SIGN}")


def _number(value, step):
    """With the decimals of the step."""
    return _fixed(value, max(0, -Decimal(str(step)).normalize().as_tuple().exponent))


def _draw_image(ax, image, label):
    values = image.detach().clamp(0, 1).permute(1, 2, 0).numpy()
    ax.imshow(values, cmap="ink", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()
    ax.set_title(label)


def _draw_pad(ax, control):
    low, high = control["min"], control["max"]
    if "background" in control:
        png = base64.b64decode(control["background"].split(",")[1])
        ax.imshow(plt.imread(io.BytesIO(png)), extent=(low, high, low, high))
    ax.plot(*control["value"], "o", markersize=14, fillstyle="none", mew=3, color=role.latent)
    ax.set(xlim=(low, high), ylim=(low, high), xticks=[], yticks=[], box_aspect=1)
    ax.spines[:].set_visible(True)
    ax.set(xlabel=control["labels"][0], ylabel=control["labels"][1])


def _draw_panel(ax, panel, outputs):
    ax.set(
        xlim=panel["xlim"], ylim=panel["ylim"], title="\n".join(textwrap.wrap(panel["title"], 30))
    )
    ax.set(xlabel=panel["xlabel"], ylabel=panel["ylabel"], box_aspect=panel["aspect"])
    for part in panel["layers"]:
        values = outputs[part["output"]].detach().numpy()
        _draw(ax, values, part, getattr(role, part["role"]))


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

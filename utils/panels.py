"""Plots that move: panels of points and curves, drawn in the browser by explorer/plot.js."""

from matplotlib import pyplot as plt

from utils.style import density_map, role

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


def picture_of(outputs, panels):
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
    return figure


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

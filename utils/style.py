"""One palette for figures, slides and sliders; colour means role."""

import json
import pathlib
from types import SimpleNamespace

import matplotlib as mpl
from matplotlib.colors import LinearSegmentedColormap

PALETTE = json.loads(pathlib.Path(__file__).with_name("palette.json").read_text(encoding="utf-8"))

#: Colours by role: `role.data`, `role.model`, `role.latent`, `role.noise`, `role.discriminator`.
role = SimpleNamespace(**PALETTE["light"])

#: Ten colours for ten classes: at least 3 : 1 on light and dark paper, told apart by the
#: colour-blind as well as ten can be (found by search; tests/test_slides.py measures both).
classes = PALETTE["classes"]

#: From paper to ink: grey images are drawn as ink on paper.
ink_map = LinearSegmentedColormap.from_list("ink", [role.paper, role.ink])


def density_map(colour):
    """A colour map from paper to one role's colour, for densities."""
    return LinearSegmentedColormap.from_list("density", [role.paper, colour])


def use_style():
    """Set matplotlib to the look of the course, whatever a matplotlibrc asks for."""
    mpl.rcdefaults()
    mpl.rcParams.update(
        {
            "figure.dpi": 90,
            "savefig.dpi": 150,
            "figure.constrained_layout.use": True,
            "figure.facecolor": role.paper,
            "font.family": "DejaVu Sans",
            "font.size": 13,
            "axes.titlesize": 14,
            "axes.labelsize": 13,
            "xtick.labelsize": 11,
            "ytick.labelsize": 11,
            "legend.fontsize": 12,
            "legend.frameon": False,
            "axes.edgecolor": role.muted,
            "axes.labelcolor": role.ink,
            "axes.titlecolor": role.ink,
            "text.color": role.ink,
            "xtick.color": role.muted,
            "ytick.color": role.muted,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "grid.color": role.line,
            "lines.linewidth": 2.2,
            "axes.prop_cycle": mpl.cycler(
                color=[role.data, role.model, role.latent, role.noise, role.discriminator]
            ),
            "image.cmap": "ink",
            "svg.fonttype": "path",
            "svg.hashsalt": "lecture",
        }
    )


if "ink" not in mpl.colormaps:
    mpl.colormaps.register(ink_map, name="ink")
use_style()

"""Pictures and sentences that a notebook shows, and the figures it gives to the slides."""

import base64
import html
import io
import re

import numpy as np
from IPython.display import HTML, Markdown, display
from matplotlib import pyplot as plt
from PIL import Image

from utils import output_root, source_mark
from utils.store import try_write
from utils.style import role

EXIF_DESCRIPTION, EXIF_SOFTWARE = 270, 305


def save_figure(name, fig, *, alt):
    """Write figures/<name> for the slides; svg unless the name ends in .png.

    `alt` says in a sentence what the picture shows; it travels inside the file, with the
    notebook's source mark, and the slide has to carry it too.
    """
    if not alt.strip():
        raise ValueError(f"figure {name}: say in `alt` what the picture shows")
    if not name.endswith((".svg", ".png")):
        name += ".svg"
    buffer = io.BytesIO()
    kind = name.rsplit(".", 1)[1]
    metadata = {"Title": name, "Description": alt, "Source": source_mark()}
    if kind == "svg":
        metadata["Date"] = None
    else:
        metadata["Software"] = None
    fig.savefig(buffer, format=kind, metadata=metadata)
    try_write(output_root() / "figures" / name, buffer.getvalue())


def save_animation(name, frames, *, alt, milliseconds=80):
    """Write figures/<name>.webp from figures, repeated for ever, and show it; close the figures.

    The first frame, which is all a printed slide shows, and the last one stand still for a while.
    """
    pictures = []
    for fig in frames:
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=80)
        plt.close(fig)
        pictures.append(Image.open(buffer).convert("RGB"))
    rest = 12 * milliseconds
    times = [rest] + [milliseconds] * (len(pictures) - 2) + [rest]
    exif = Image.Exif()
    exif[EXIF_DESCRIPTION], exif[EXIF_SOFTWARE] = alt, source_mark()
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, format="webp", save_all=True, append_images=pictures[1:],
        duration=times, loop=0, quality=40, method=6, exif=exif,
    )  # fmt: skip
    try_write(output_root() / "figures" / f"{name}.webp", buffer.getvalue())
    data = base64.b64encode(buffer.getvalue()).decode()
    width = pictures[0].width
    display(
        HTML(f'<img alt="{html.escape(alt)}" width="{width}" src="data:image/webp;base64,{data}">')
    )


def show_figure(fig, *, alt):
    """Show a figure that no slide needs, with its alt text, and close it."""
    display(fig, metadata={"image/png": {"alt": alt}})
    plt.close(fig)


def described(path):
    """(alt text, source mark) of a figure that `save_figure` wrote; ("", "") where none is."""
    if path.suffix == ".webp":
        with Image.open(path) as picture:
            exif = picture.getexif()
            return exif.get(EXIF_DESCRIPTION, ""), exif.get(EXIF_SOFTWARE, "")
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return picture.info.get("Description", ""), picture.info.get("Source", "")
    head = path.read_text(encoding="utf-8")[:4000]
    found = []
    for tag in ("description", "source"):
        match = re.search(rf"<dc:{tag}>(.*?)</dc:{tag}>", head, re.S)
        found.append(html.unescape(match.group(1)) if match else "")
    return tuple(found)


def small_png(png):
    """A PNG (bytes) with at most 256 colours on white: a third of the size, alike to the eye."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    paper = Image.new("RGBA", picture.size, "white")
    buffer = io.BytesIO()
    reduced = Image.alpha_composite(paper, picture).convert("RGB").quantize(256, dither=0)
    reduced.save(buffer, format="png", optimize=True)
    return min(png, buffer.getvalue(), key=len)


def image_grid(images, *, columns=None, title=None, ax=None, scale=0.55, vmax=1.0):
    """Draw grey images (N, H, W) or colour images (N, 3, H, W), (N, H, W, 3); return the axes.

    Colours beyond [0, 1] are cut.
    """
    images = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if images.ndim == 4:
        images = np.clip(np.moveaxis(images, 1, 3) if images.shape[1] == 3 else images, 0, 1)
    count, height, width = images.shape[:3]
    columns = columns or count
    rows = -(-count // columns)
    gap = max(1, round(height / 8))
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:]), np.nan
    )
    for i, image in enumerate(images):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    if ax is None:
        size = (columns * scale, rows * scale + (0.35 if title else 0))
        _, ax = plt.subplots(figsize=size)
    ax.imshow(sheet, vmin=0, vmax=vmax, interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, loc="left")
    return ax


def ellipse(mean, covariance, *, radius=1.0, points=60):
    """The outline (points, 2) of the Gaussian's ellipse at `radius` standard deviations."""
    angle = np.linspace(0, 2 * np.pi, points)
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    return np.asarray(mean) + radius * circle @ np.linalg.cholesky(np.asarray(covariance)).T


def box(ax, x, y, text, colour, width=1.5, height=0.9):
    """A box of a diagram, centred at (x, y), with its text."""
    corner = (x - width / 2, y - height / 2)
    ax.add_patch(
        plt.Rectangle(corner, width, height, facecolor=role.paper, edgecolor=colour, linewidth=2.4)
    )
    ax.text(x, y, text, ha="center", va="center", fontsize=15, color=role.ink)


def arrow(ax, start, end, colour=role.muted):
    """An arrow of a diagram."""
    ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "linewidth": 2, "color": colour})


def say(text):
    """Show a sentence computed in the cell, so that its numbers are those of this run."""
    display(Markdown(text))

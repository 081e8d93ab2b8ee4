"""What a run shows for itself: pictures on the way, and at the end translations and an explorer."""

import io
import os
from collections import Counter

import torch
from matplotlib import pyplot as plt
from PIL import Image

from tools.photos import store
from utils import data, explore
from utils.data import folders
from utils.notebooks import definitions
from utils.show import image_grid, save_figure
from utils.store import SaveError, atomic_write

COLUMNS = 6  # pictures of each domain in a grid
SCENES = 3  # pictures of each domain in the explorer
CHUNK = 16  # pictures translated at once
EXPLORER = "05_alignment/photos"


def spread(pictures, count):
    """At most `count` of the pictures (N, 3, H, W), evenly spaced."""
    places = torch.linspace(0, len(pictures) - 1, min(count, len(pictures))).round().long()
    return pictures[places.to(pictures.device)]


def png(image):
    """A picture (3, H, W) in [0, 1] as the bytes of a PNG."""
    pixels = (255 * image).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def translated(generator, pictures):
    """Pictures (N, 3, H, W) translated, a few at a time."""
    return torch.cat([generator.translate(part) for part in pictures.split(CHUNK)])


def middle(size, place):
    """Where the middle of the picture in that row or column of an `image_grid` lies, in pixels."""
    return (size + max(1, round(size / 8))) * place + size / 2


def before_and_after(generators, domains, names, path):
    """Write a grid of some pictures, translated and back again, both ways."""
    fig, axes = plt.subplots(2, 1, figsize=(1.4 * COLUMNS + 1.6, 8.9), layout="constrained")
    for k, ax in enumerate(axes):
        x = spread(domains[k], COLUMNS)
        there = translated(generators[k], x)
        back = translated(generators[1 - k], there)
        image_grid(torch.cat([x, there, back]), columns=len(x), ax=ax)
        ax.set_axis_on()
        places = [middle(x.shape[-1], row) for row in range(3)]
        ax.set_yticks(places, [names[k], f"as {names[1 - k]}", "and back"], fontsize=12)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(fig)
    atomic_write(path, buffer.getvalue())


def file_names(folder, found):
    """A PNG's name for each image of `image_folder(folder)`: relative paths, each only once."""
    shown = folders._visible(folder)
    places = [place for place in shown if place.is_dir() and not place.is_symlink()] or [folder]
    files = [file.relative_to(folder) for place in places for file in folders._visible(place)]
    files = [
        file for file in files if not any(line.startswith(f"{file}: ") for line in found.skipped)
    ]
    alike = Counter(file.with_suffix("") for file in files)
    return [
        file.with_suffix(".png") if alike[file.with_suffix("")] == 1 else f"{file}.png"
        for file in files
    ]


def translate_folder(generator, folder, size, out):
    """Write the translation of each picture in a folder below `out`; return how many.

    Raises ImageFolderError where there is none, SaveError where one cannot be written.
    """
    found = data.image_folder(folder, size)
    device = next(generator.parameters()).device
    for name, image in zip(file_names(folder, found), found.images, strict=True):
        atomic_write(out / name, png(generator.translate(image[None].to(device))[0]))
    return len(found.images)


def export_explorer(generators, domains, names, out):
    """Write the explorer of 05c with these generators and pictures: out/lecture, out/figures.

    Returns the greatest difference between the browser's model and torch.
    """
    os.environ["LECTURE_OUT"] = str(out)
    generators = generators.cpu()
    chosen = [spread(domain.cpu(), SCENES) for domain in domains]
    live = definitions("05c_cyclegan").Seasons(generators, *chosen).eval()
    with torch.no_grad():
        first = live(torch.tensor([[0.0, 1.0]]))["image"]
    labels = ["as it is", "translated", "and back"]
    fig, ax = plt.subplots(figsize=(7.2, 2.9))
    image_grid(first, columns=3, ax=ax)
    for column, label in enumerate(labels):
        ax.text(middle(first.shape[-1], column), -2, label, ha="center", va="bottom", fontsize=16)
    save_figure(
        f"{EXPLORER}_still.png",
        fig,
        alt=f"A photograph of {names[0]}, its translation to {names[1]}, and the way back.",
    )
    plt.close(fig)
    scenes = [
        f"{name} {i + 1}" for name, x in zip(names, chosen, strict=True) for i in range(len(x))
    ]
    difference = explore.export(
        EXPLORER, live,
        [explore.slider("scene", low=0, high=len(scenes) - 1, value=0, step=1, random="uniform",
                        names=scenes),
         explore.slider("strength", low=0, high=1.2, value=1, step=0.05, random="uniform")],
        title=f"From {names[0]} to {names[1]}", still=f"{EXPLORER}_still.png", labels=labels,
        hint="drag the strength slowly from 0 to 1, then choose another scene",
        picture="a photograph, its translation by the chosen strength, and the way back",
        path=[[0, 0], [0, 1], *([k, 1] for k in range(1, len(scenes)))],
    )  # fmt: skip
    for kind in ("json", "onnx"):
        if not (out / "lecture" / "live" / f"{EXPLORER}.{kind}").exists():
            raise SaveError(f"the explorer could not be written to {out}; the reason is above")
    return difference


def plain(means, cycle):
    """The averaged generators as the notebook's own class, in 32 bits."""
    generators = torch.nn.ModuleList([cycle.SceneGenerator() for _ in means])
    generators.load_state_dict(means.state_dict())
    return generators.to(next(means.parameters()).device)


def finish(means, cycle, domains, names, folder, about, out):
    """Write all that stands at the end of a run to `out`, and say where."""
    generators = plain(means, cycle)
    store.write(out / "translator.safetensors", generators.state_dict(), about)
    before_and_after(generators, domains, names, out / "before_after.png")
    count = translate_folder(generators[0], folder, about["size"], out / "translated")
    difference = export_explorer(generators, domains, names, out)
    print(
        f"{out / 'before_after.png'}: both ways\n"
        f"{out / 'translated'}: {count} pictures of {folder} as {names[1]}\n"
        f"{out / 'translator.safetensors'}: the weights\n"
        f"{out / 'lecture'}: the explorer, off from torch by {difference:.1e} at most. To see it on "
        f"a slide:\n    cp -r {out / 'lecture'} {out / 'figures'} .\nand on the slide\n"
        f'    <latent-explorer name="{EXPLORER}"></latent-explorer>'
    )

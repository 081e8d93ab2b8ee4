"""Letters in the fonts that matplotlib ships, distorted: as many as one wants, labels known."""

import functools
import pathlib
from typing import NamedTuple

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt
from torch.nn import functional as F

__all__ = ["CHARACTERS", "FACTORS", "FONTS", "Glyphs", "glyphs"]

CHARACTERS = "abcdefghijklmnopqrstuvwxyz"

#: name: file. All are scaled to letters x of the same height.
FONTS = {
    "DejaVu Sans": "DejaVuSans.ttf",
    "DejaVu Sans Bold": "DejaVuSans-Bold.ttf",
    "DejaVu Sans Oblique": "DejaVuSans-Oblique.ttf",
    "DejaVu Serif": "DejaVuSerif.ttf",
    "DejaVu Serif Italic": "DejaVuSerif-Italic.ttf",
    "DejaVu Sans Mono": "DejaVuSansMono.ttf",
    "STIX": "STIXGeneral.ttf",
    "STIX Bold": "STIXGeneralBol.ttf",
    "STIX Italic": "STIXGeneralItalic.ttf",
    "Computer Modern": "cmr10.ttf",
    "Computer Modern Sans": "cmss10.ttf",
    "Computer Modern Typewriter": "cmtt10.ttf",
}

#: The numbers behind each image, with their standard deviations at strength 1.
FACTORS = {
    "turn": 4.0,  # degrees
    "shear": 0.08,  # sideways step per step up
    "width": 0.06,  # log of the factor
    "height": 0.06,  # log of the factor
    "right": 0.02,  # of the image
    "up": 0.02,  # of the image
    "weight": 0.007,  # thicker strokes: the outline moves out, in widths of the image
}

LARGE = 96  # pixels of the master drawing
X_HEIGHT = 0.42  # of the image
BASELINE = 0.72  # of the image, from the top
LIGHTEST = -0.008  # strokes get no thinner than by this
NOISE = 0.06  # standard deviation of the ink at strength 1


class Glyphs(NamedTuple):
    """Images and how they came about."""

    x: torch.Tensor  # (N, size, size), ink from 0 to 1
    y: torch.Tensor  # (N,), position in `characters`
    font: torch.Tensor  # (N,), position in `fonts`
    factors: torch.Tensor  # (N, 7), in the order of FACTORS
    characters: str
    fonts: tuple


def glyphs(
    text, *, fonts=None, characters=CHARACTERS, size=28, strength=1.0, noise=None, generator=None
):  # fmt: skip
    """An image of each letter of `text`; a number asks for so many letters drawn at random.

    `fonts` are names of FONTS, one of which is drawn for each letter; None means all. Each image
    is turned, sheared, stretched, shifted, and drawn bolder or lighter by normal random numbers,
    `strength` times the sizes in FACTORS; `noise` (default: 0.06 times strength) is the standard
    deviation of what is added to each pixel. Blanks are images too: empty paper, label -1.
    """
    fonts = tuple(FONTS) if fonts is None else tuple(fonts)
    unknown = [name for name in fonts if name not in FONTS]
    if unknown or not fonts:
        raise ValueError(f"there is no font {unknown}; there are {', '.join(FONTS)}")
    if isinstance(text, int):
        y = torch.randint(len(characters), (text,), generator=generator)
    else:
        places = {character: i for i, character in enumerate(characters)} | {" ": -1}
        missing = sorted(set(text) - set(places))
        if missing:
            raise ValueError(f"{missing} are not among the characters {characters!r}")
        y = torch.tensor([places[character] for character in text], dtype=torch.int64)
    font = torch.randint(len(fonts), (len(y),), generator=generator)
    spread = torch.tensor(list(FACTORS.values()))
    factors = strength * spread * torch.randn(len(y), len(spread), generator=generator)
    factors[:, -1].clamp_(min=LIGHTEST)
    masters = torch.stack([_masters(name, characters) for name in fonts])
    x = torch.empty(len(y), size, size)
    for rows in torch.arange(len(y)).split(2048):
        x[rows] = _draw(masters[font[rows], y[rows]], factors[rows], size)
    noise = NOISE * strength if noise is None else noise
    x += noise * torch.randn(x.shape, generator=generator)
    return Glyphs(x.clamp_(0, 1), y, font, factors, characters, fonts)


def _draw(masters, factors, size):
    """Ink (N, size, size) from signed distances (N, LARGE, LARGE), in widths of the image."""
    turn, shear, width, height, right, up, weight = factors.T
    angle = turn.deg2rad()
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # From a place on the new image (y points down) back to one on the master.
    back = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    lean = torch.stack(
        [torch.stack([(-width).exp(), shear], 1), torch.stack([zero, (-height).exp()], 1)], 1
    )
    turned = lean @ back
    shift = torch.stack([2 * right, -2 * up], 1)
    theta = torch.cat([turned, -turned @ shift[:, :, None]], 2)
    grid = F.affine_grid(theta, (len(masters), 1, size, size), align_corners=False)
    distance = F.grid_sample(
        masters[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False
    )[:, 0]
    return ((distance + weight[:, None, None]) * size + 0.5).clamp(0, 1)


@functools.lru_cache(maxsize=64)
def _masters(name, characters):
    """Signed distance to the outline, inside positive, in widths of the image (C + 1, L, L).

    The last one is empty, so that the label -1 finds it.
    """
    scale = 2  # the outline is found on a finer grid
    font = typeface(name, X_HEIGHT * LARGE * scale)
    found = []
    for character in characters:
        sheet = Image.new("L", (LARGE * scale, LARGE * scale))
        left, _, right, _ = font.getbbox(character, anchor="ls")
        origin = (LARGE * scale / 2 - (left + right) / 2, BASELINE * LARGE * scale)
        ImageDraw.Draw(sheet).text(origin, character, fill=255, font=font, anchor="ls")
        inside = np.asarray(sheet) > 127
        distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
        found.append(distance[scale // 2 :: scale, scale // 2 :: scale] / (LARGE * scale))
    found.append(np.full_like(found[0], -1.0))
    return torch.tensor(np.stack(found), dtype=torch.float32)


def typeface(name, x_height):
    """The font of that name, in the size that gives letters x of so many pixels."""
    file = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf" / FONTS[name]
    trial = ImageFont.truetype(str(file), 1000)
    return ImageFont.truetype(
        str(file), round(1000 * x_height / -trial.getbbox("x", anchor="ls")[1])
    )

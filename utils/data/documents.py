"""Lines of printed text: clean, and as a photograph of the page would show them.

The training sets of the two looks are unpaired: `documents` draws other text, fonts and light for
each. The same line in the other look is made only by `page_twin_for_scoring`, for scoring.

Lengths are shares of the line's height, x runs to the right and y downwards.
"""

import functools
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from utils.data.glyphs import CHARACTERS, FONTS, typeface
from utils.data.text import text

ALPHABET = CHARACTERS + " "
LOOKS = ("clean", "photographed")
X_HEIGHT = 0.31  # of the line's height, before `zoom`
MASTER = 64  # pixels of the height of the drawing that lines are sampled from
BASE = 44  # its baseline
PAD = 16  # pixels left of its first letter
FADE, LIGHT = (3, 12), (2, 6)  # places of the smooth random fields
ROWS = 64  # lines painted at a time
MARGIN = 0.25  # of the height, left free on both sides


class Factors(NamedTuple):
    """What is on N lines, how they lie, and the light they are photographed in."""

    texts: tuple  # N strings of letters and single blanks
    behind: tuple  # N strings on the back of the page, which may show through
    font: torch.Tensor  # (N, 2) int64, place in FONTS, of the front and of the back
    zoom: torch.Tensor  # (N,) size of the letters, 1 is usual
    taper: torch.Tensor  # (N,) letters grow by this share from left to right
    slope: torch.Tensor  # (N,) of the baseline
    bow: torch.Tensor  # (N,) how far the line's ends hang below its middle
    down: torch.Tensor  # (N,) shift of the baseline
    paper: torch.Tensor  # (N,) share of the light that paper gives back
    ink: torch.Tensor  # (N,) share of that which ink swallows
    through: torch.Tensor  # (N,) the same for what shines through; 0 for thick paper
    fade: torch.Tensor  # (N, 3, 12) how much of the ink is left along the line
    light: torch.Tensor  # (N, 2, 6) log of the light along the line
    shadow: torch.Tensor  # (N, 4) place of its edge, slant, width of the edge, depth
    blur: torch.Tensor  # (N,) standard deviation
    noise: torch.Tensor  # (N,) standard deviation of the sensor's noise
    width: int  # of the line, in pixels at a height of 32

    def rows(self, index):
        """The factors of some of the lines."""
        places = torch.arange(len(self.texts))[index].tolist()
        texts = [tuple(side[i] for i in places) for side in (self.texts, self.behind)]
        return Factors(*texts, *(f[index] for f in self[2:-1]), self.width)


class Documents(NamedTuple):
    """Lines (N, 1, H, W) float32 in [0, 1], 0 is black, and what stands on them."""

    images: torch.Tensor
    texts: tuple  # N strings
    centres: torch.Tensor  # (N, L) pixel column of the middle of each character, NaN beyond the end
    factors: Factors


def documents(count, look="clean", seed=0, *, height=32, width=192, test=False):
    """`count` new lines of text in one look, "clean" or "photographed".

    Text comes from `text().train`, with `test` from `text().test`, clean lines from the first half
    of it, photographed ones from the second; every line has one of the twelve FONTS. Another look
    or seed means other text, fonts and light: two calls are never paired.
    `width` is that of a line of 32 pixels height; a larger `height` shows the same in detail.
    """
    _check(look, height)
    if count < 1:
        raise ValueError(f"at least one line has to be drawn, count is {count}")
    if width % 8 or not 64 <= width <= 1024:
        raise ValueError(f"the width has to be a multiple of 8 from 64 to 1024, it is {width}")
    if not isinstance(seed, torch.Generator):
        seed = torch.Generator().manual_seed(4 * seed + 2 * test + LOOKS.index(look))
    factors = draw(count, seed, width=width, test=test, half=LOOKS.index(look))
    images, centres = _render(factors, look, height, seed)
    return Documents(images, factors.texts, centres, factors)


@torch.inference_mode()
def page_twin_for_scoring(factors, look, height=32):
    """The same lines in another look, without noise: the truth that a translation is scored by.

    Never to be trained on: it is made in PyTorch's inference mode, as `twin_for_scoring` is.
    """
    _check(look, height)
    return _render(factors, look, height, None)[0]


def _check(look, height):
    if look not in LOOKS:
        raise ValueError(f"there is no look {look!r}, only {' and '.join(LOOKS)}")
    if height % 8 or not 16 <= height <= 128:
        raise ValueError(f"the height has to be a multiple of 8 from 16 to 128, it is {height}")


def draw(count, generator, *, width=192, test=False, half=0):
    """The factors of `count` lines, their text from one half of the passages, 0 or 1."""

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    font = torch.randint(len(FONTS), (count, 2), generator=generator)
    zoom = uniform(0.92, 1.08)
    starts = (torch.rand(2, count, generator=generator) + half) / 2
    sides = [
        _texts(font[:, side], zoom, starts[side], width / 32 - 2 * MARGIN, test) for side in (0, 1)
    ]
    edge = [uniform(-0.1, 1.1), uniform(-1.2, 1.2), uniform(0.1, 0.9), uniform(0.2, 0.55)]
    return Factors(
        *sides, font, zoom,
        taper=uniform(-0.07, 0.07), slope=uniform(-0.02, 0.02), bow=uniform(-0.07, 0.07),
        down=uniform(-0.05, 0.05), paper=uniform(0.70, 0.92), ink=uniform(0.58, 0.88),
        through=(uniform(-0.12, 0.18)).clamp_min(0), fade=uniform(0.55, 1.0, *FADE),
        light=uniform(-0.3, 0.15, *LIGHT), shadow=torch.stack(edge, 1),
        blur=uniform(0.015, 0.04), noise=uniform(0.015, 0.04), width=width,
    )  # fmt: skip


_passages = functools.lru_cache(text)


@functools.lru_cache(maxsize=len(FONTS))
def _letters(name):
    """Drawings (MASTER, w) of the 26 letters, and the advance in pixels of each and of a blank."""
    font = typeface(name, X_HEIGHT * MASTER)
    found, advance = [], []
    for letter in ALPHABET:
        mask, offset = font.getmask2(letter, mode="L", anchor="ls")
        sheet = np.zeros((MASTER, max(1, mask.size[0])), np.float32)
        if mask.size[0] and mask.size[1]:
            top = BASE + offset[1]
            sheet[top : top + mask.size[1]] = np.array(mask).reshape(mask.size[::-1]) / 255
        found.append((round(offset[0]), sheet))
        advance.append(font.getlength(letter))
    return found, np.array(advance)


def _texts(font, zoom, starts, room, test):
    """Words that fill `room` (in heights), from random places of the text."""
    passage, lines = _passages().test if test else _passages().train, []
    for name, size, start in zip(font.tolist(), zoom.tolist(), starts.tolist()):
        begin = passage.index(" ", int(start * (len(passage) - 400))) + 1
        piece = passage[begin : begin + 200]
        advance = _letters(list(FONTS)[name])[1]
        ends = np.cumsum(advance[[*map(ALPHABET.index, piece)]]) * size / MASTER
        fits = int(np.searchsorted(ends, room / 1.04))
        blank = piece.rfind(" ", 0, fits + 1)
        lines.append(piece[: blank if blank > 0 else fits])  # a word too long is cut
    return tuple(lines)


def _set(lines, font, pixels):
    """Drawings (N, MASTER, pixels) of lines of text, and the middle (N, L) of each character."""
    sheets = np.zeros((len(lines), MASTER, pixels), np.float32)
    middles = np.full((len(lines), max(map(len, lines))), np.nan, np.float32)
    for sheet, middle, line, name in zip(sheets, middles, lines, font.tolist()):
        letters, advance = _letters(list(FONTS)[name])
        codes = [*map(ALPHABET.index, line)]
        steps = advance[codes]
        starts = np.cumsum(steps) - steps
        middle[: len(line)] = starts + steps / 2
        for code, start in zip(codes, starts):
            shift, letter = letters[code]
            left = PAD + round(start) + shift
            part = sheet[:, left : left + letter.shape[1]]
            np.maximum(part, letter[:, : part.shape[1]], out=part)
    return torch.from_numpy(sheets), torch.from_numpy(middles)


def _ink(factors, side, height, fine=2):
    """Ink (N, 1, H, W) from 0 to 1, and the columns (N, L) of the characters' middles."""
    count, width = len(factors.texts), factors.width
    pixels = round(width * MASTER / 32 * 1.2)
    sheets, middles = _set((factors.texts, factors.behind)[side], factors.font[:, side], pixels)
    high = fine * height
    across = (torch.arange(width * high // 32) + 0.5) / high  # in heights
    far = (across / across[-1] - 0.5)[None]
    scale = (1 + factors.taper[:, None] * far) * factors.zoom[:, None]
    along = ((1 / scale).cumsum(1) / high - MARGIN) * MASTER
    down, slope, bow = (v[:, None] for v in (factors.down, factors.slope, factors.bow))
    base = BASE / MASTER + down + slope * far * across[-1] + bow * (4 * far.square() - 0.33)
    stretch = 2 / scale[:, None]
    grid = torch.empty(count, high, len(across), 2)  # places from -1 to 1, as grid_sample has them
    grid[..., 0] = (2 * (along + PAD) / pixels - 1)[:, None]
    foot = 2 * BASE / MASTER - 1 - base[:, None] * stretch
    rows = (torch.arange(high)[:, None] + 0.5) / high
    torch.addcmul(foot, rows, stretch, out=grid[..., 1])
    if side:
        grid = grid.flip(2)
    ink = F.grid_sample(sheets[:, None], grid, align_corners=False)
    at = torch.searchsorted(along, middles.nan_to_num(0.0)) / fine
    return F.avg_pool2d(ink, fine), torch.where(middles.isnan(), middles, at)


def _blurred(images, sd):
    """Each image (N, 1, H, W) blurred by its own Gaussian, sd (N,) in pixels."""
    reach = int(3 * sd.max()) + 1
    steps = torch.arange(-reach, reach + 1)
    taps = (-0.5 * (steps / sd[:, None]).square()).softmax(1)
    for dim in (2, 3):
        sides = (0, 0, reach, reach) if dim == 2 else (reach, reach, 0, 0)
        padded, size = F.pad(images, sides, mode="replicate"), images.shape[dim]
        images = sum(
            taps[:, i, None, None, None] * padded.narrow(dim, i, size) for i in range(len(steps))
        )
    return images


def _render(factors, look, height, generator):
    """Images and centres; without a generator without noise."""
    images, centres = [], []
    for rows in torch.arange(len(factors.texts)).split(ROWS):
        some = factors.rows(rows)
        ink, centre = _ink(some, 0, height)
        images.append(1 - ink if look == "clean" else _photograph(some, ink, height, generator))
        centres += centre
    return torch.cat(images), pad_sequence(centres, batch_first=True, padding_value=float("nan"))


def _photograph(f, ink, height, generator):
    """The page in uneven light: worn ink, the back showing through, a shadow, blur, noise."""
    numbers = (f.paper, f.ink, f.through, f.noise, *f.shadow.T)
    paper, strength, through, noise, place, slant, soft, depth = (
        v[:, None, None, None] for v in numbers
    )
    size, how = ink.shape[2:], {"mode": "bicubic", "align_corners": True}
    fade, light = (F.interpolate(v[:, None], size, **how) for v in (f.fade, f.light))
    back = F.interpolate(_ink(f, 1, height // 2, 1)[0], size, mode="bilinear", align_corners=False)
    page = paper * (1 - strength * fade.clamp(0.3, 1) * ink) * (1 - through * back)
    x = torch.linspace(0, 1, size[1])[None, :] * f.width / 32
    y = torch.linspace(0, 1, size[0])[:, None]
    edge = (x - place * f.width / 32 - slant * (y - 0.5)) / (0.3 * soft)
    shade = 1 - depth * torch.sigmoid(torch.where(slant > 0, edge, -edge))
    lit = page * light.exp() * shade
    if generator is None:
        return _blurred(lit, f.blur * height).clamp(0, 1)
    fibres = torch.randn(len(ink), 1, size[0], size[1] // 4, generator=generator)
    lit = lit * (1 + 0.02 * F.interpolate(fibres, size, mode="bilinear", align_corners=False))
    seen = _blurred(lit, f.blur * height)
    grain = torch.randn(seen.shape, generator=generator)
    return (seen + noise * seen.clamp_min(0.1).sqrt() * grain).clamp(0, 1)

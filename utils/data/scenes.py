"""Landscapes drawn from known factors, in summer and winter, by day and by night.

The training sets of two looks are unpaired: `scenes` draws new factors for each. The same factors
in another look are a true twin; it is made only by `twin_for_scoring`, for scoring.

Lengths are shares of the picture's side; x runs to the right, y upwards, (0, 0) is the lower left
corner. A shape is painted by its signed distance, which gives soft edges at every size.
"""

import math
from typing import NamedTuple

import torch

from utils.data import painting
from utils.data.painting import GRAIN, SEASONS, TIMES, WALLS

TREES, STARS, DOTS = 3, 14, 12
PIXELS_AT_ONCE = 2**18  # keeps the layers in the processor's cache


class Factors(NamedTuple):
    """What is in N scenes. Lengths are shares of the side, `(N, 2)` places are x and y."""

    horizon: torch.Tensor  # (N,) height of the meadow's far edge
    slope: torch.Tensor  # (N,) of that edge
    roll: torch.Tensor  # (N, 2) phases of its waves and of the hills', radians
    peak: torch.Tensor  # (N, 2, 2) places of two summits, the far one first
    light: torch.Tensor  # (N, 2) place of the sun, at night of the moon
    cloud: torch.Tensor  # (N, 2, 3) place and size; size 0 for none
    stars: torch.Tensor  # (N, 14, 2) places, seen at night
    house: torch.Tensor  # (N,) bool, whether there is one
    house_x: torch.Tensor  # (N,) its middle
    house_size: torch.Tensor  # (N,) its width
    house_wall: torch.Tensor  # (N,) int64, index of the colours in WALLS and ROOFS
    house_flip: torch.Tensor  # (N,) -1 or 1, which way it looks
    trees: torch.Tensor  # (N,) int64, how many, 0 to 3
    tree_x: torch.Tensor  # (N, 3), the first `trees` of which are painted, far to near
    tree_size: torch.Tensor  # (N, 3) height
    tree_depth: torch.Tensor  # (N, 3) how far below the meadow's edge it stands
    tree_fir: torch.Tensor  # (N, 3) bool, a fir or else a broad-leaved tree
    tint: torch.Tensor  # (N, 3) jitter of the colours, a share of each

    def rows(self, index):
        """The factors of some of the scenes."""
        return Factors(*(factor[index] for factor in self))


class Scenes(NamedTuple):
    """Images (N, 3, size, size) float32 in [0, 1] and the factors they were drawn from."""

    images: torch.Tensor
    factors: Factors


def _generator(seed):
    return seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)


def draw(count, seed=0):
    """The factors of `count` scenes; `seed` is a whole number or a torch.Generator.

    House and trees share four places side by side, so that none hides another for more than an edge.
    Half of the scenes have a house; 0, 1, 2 and 3 trees are equally likely.
    """
    if count < 1:
        raise ValueError(f"at least one scene has to be drawn, count is {count}")
    generator = _generator(seed)

    def uniform(low, high, *shape):
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    def whole(high, *shape):
        return torch.randint(high, (count, *shape), generator=generator)

    place = torch.rand(count, 4, generator=generator).argsort(1)
    place = 0.15 + 0.235 * place + uniform(-0.025, 0.025, 4)
    summit_x = torch.stack([uniform(0.05, 0.95), uniform(0.1, 0.9)], 1)
    summit_y = torch.stack([uniform(0.50, 0.64), uniform(0.60, 0.78)], 1)
    cloud_size = uniform(0.06, 0.11, 2) * (uniform(0, 1, 2) < 0.6)
    return Factors(
        horizon=uniform(0.32, 0.44),
        slope=uniform(-0.12, 0.12),
        roll=uniform(0, 2 * math.pi, 2),
        peak=torch.stack([summit_x, summit_y], 2),
        light=torch.stack([uniform(0.1, 0.9), uniform(0.80, 0.92)], 1),
        cloud=torch.stack([uniform(0, 1, 2), uniform(0.7, 0.92, 2), cloud_size], 2),
        stars=torch.stack([uniform(0, 1, STARS), uniform(0.45, 1, STARS)], 2),
        house=whole(2) == 1,
        house_x=place[:, 0],
        house_size=uniform(0.27, 0.36),
        house_wall=whole(len(WALLS)),
        house_flip=2.0 * whole(2) - 1,
        trees=whole(TREES + 1),
        tree_x=place[:, 1:],
        tree_size=uniform(0.28, 0.44, TREES),
        tree_depth=uniform(0.07, 0.20, TREES).sort(1).values,
        tree_fir=whole(2, TREES) == 1,
        tint=uniform(-0.03, 0.03, 3),
    )


class Texture(NamedTuple):
    """What differs between two paintings of one scene: grain, and flakes or flowers."""

    grain: torch.Tensor  # (N, 1, 32, 32)
    dots: torch.Tensor  # (N, 12, 2) places


def _texture(count, seed):
    generator = _generator(seed)
    grain = torch.randn(count, 1, GRAIN, GRAIN, generator=generator)
    return Texture(grain, torch.rand(count, DOTS, 2, generator=generator))


def render(factors, season="summer", time="day", size=32, texture=None):
    """Paint N scenes: (N, 3, size, size) float32 in [0, 1].

    `texture` seeds what is random in each painting, grain and snowflakes or flowers; with None
    there is none, and the picture is a function of its factors alone.
    Raises ValueError for an unknown season or time and for a size outside 8 to 1024.
    """
    _check(season, time, size)
    count = len(factors.horizon)
    texture = None if texture is None else _texture(count, texture)
    step = max(1, PIXELS_AT_ONCE // size**2)
    parts = []
    for start in range(0, count, step):
        rows = slice(start, start + step)
        some = texture and Texture(*(part[rows] for part in texture))
        parts.append(painting.paint(factors.rows(rows), season, time, size, some))
    return torch.cat(parts)


def scenes(count, season="summer", time="day", seed=0, size=32):
    """`count` new scenes in one look: images (N, 3, size, size) in [0, 1], and their factors.

    Another season, time or seed means other factors, even where the other arguments are the
    same: two calls are never paired. `seed` is a whole number or a torch.Generator.
    """
    _check(season, time, size)
    if not isinstance(seed, torch.Generator):
        look = 2 * SEASONS.index(season) + TIMES.index(time)
        seed = torch.Generator().manual_seed(4 * seed + look)
    factors = draw(count, seed)
    return Scenes(render(factors, season, time, size, texture=seed), factors)


@torch.inference_mode()
def twin_for_scoring(factors, season, time="day", size=32):
    """The same scenes in another look, without texture: the truth that a translation is scored by.

    Never to be trained on. So that this is not done by accident it is made in PyTorch's
    inference mode: a layer with weights to train, or a mean squared error, refuses it.
    """
    return render(factors, season, time, size)


def _check(season, time, size):
    for value, known, what in ((season, SEASONS, "season"), (time, TIMES, "time")):
        if value not in known:
            raise ValueError(f"there is no {what} {value!r}, only {' and '.join(known)}")
    if not 8 <= size <= 1024:
        raise ValueError(f"the side has to be 8 to 1024 pixels, size is {size}")

"""How a landscape is painted: shapes by signed distance, whole batches at a time."""

import math
from functools import lru_cache

import torch
from torch.nn import functional as F

SEASONS, TIMES = ("summer", "winter"), ("day", "night")
WALLS = ("#f3ead6", "#b8453a", "#e0a94a", "#6f9bbd")
ROOFS = ("#a8452f", "#5a4038", "#7d3a2c", "#4d4a55")
SKIES = {  # at the horizon, at the top, cloud
    ("summer", "day"): ("#d8eefc", "#3f8fe0", "#ffffff"),
    ("winter", "day"): ("#e6eef8", "#6fa0d8", "#f7f9fc"),
    ("summer", "night"): ("#41558f", "#0b1438", "#2c3a6b"),
    ("winter", "night"): ("#4a6aa0", "#08142f", "#2c4270"),
}
LAND = {
    "summer": {
        "rock": "#8d97ad", "rock_shade": "#5f6a88", "cap": "#f7fafc", "cap_shade": "#c3d2e8",
        "hills": "#6da98a", "hills_low": "#4d8f66", "far": "#b5d96c", "near": "#3f9638",
        "shadow": "#1f5a2c", "leaf": "#5fae3f", "leaf_shade": "#22692f", "fir": "#2f7a4b",
        "fir_shade": "#14462f", "trunk": "#6a4527",
    },
    "winter": {
        "rock": "#8895b3", "rock_shade": "#5c6a8f", "cap": "#fbfcff", "cap_shade": "#a6bce0",
        "hills": "#b9cce6", "hills_low": "#9ab3d6", "far": "#fcfdff", "near": "#bfd2ee",
        "shadow": "#7495cc", "leaf": "#a8a3ac", "leaf_shade": "#8f8c97", "fir": "#3b6a59",
        "fir_shade": "#1d4238", "trunk": "#4a3a35",
    },
}  # fmt: skip
CAP_DEPTH = {"summer": 0.13, "winter": 0.24}
GRAIN_CONTRAST = {"summer": 0.05, "winter": 0.02}
MOONLIGHT = {"summer": (0.27, 0.37, 0.55), "winter": (0.38, 0.49, 0.72)}
GRAIN = 32  # side of the texture
FLOWERS = ("#ffe14d", "#ff8fb0")
PUFFS = ((-0.7, 0.0, 0.42), (-0.1, 0.22, 0.55), (0.55, 0.05, 0.45))  # of a cloud: x, y, radius


def _colour(text):
    return torch.tensor([int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)])[:, None, None]


@lru_cache
def _look(season, time):
    """The colours (3, 1, 1) of everything by name; at night those of the land are moonlit."""
    night = torch.tensor(MOONLIGHT[season])[:, None, None] if time == "night" else 1.0
    look = {name: _colour(text) * night for name, text in LAND[season].items()}
    look["walls"] = torch.stack([_colour(text) * night for text in WALLS])
    look["roofs"] = torch.stack([_colour(text) * night for text in ROOFS])
    look["flowers"] = [_colour(text) * night for text in FLOWERS]
    look["low"], look["top"], look["cloud"] = map(_colour, SKIES[season, time])
    look["light"] = _colour("#f4f1dc" if time == "night" else "#fff3b0")
    look["window"] = _colour("#ffd56b" if time == "night" else "#3d4a5c")
    return look


# ------------------------------------------------------------------ painting


class Canvas:
    """Pictures (N, 3, S, S) and the places x (1, 1, 1, S), y (1, 1, S, 1) of their pixels."""

    def __init__(self, image):
        self.image, self.size = image, image.shape[-1]
        self.line = (torch.arange(self.size) + 0.5) / self.size
        self.x, self.y = self.line.view(1, 1, 1, -1), self.line.flip(0).view(1, 1, -1, 1)

    def inside(self, distance):
        """The share of each pixel inside a shape, from the signed distance to its edge."""
        return (0.5 - distance * self.size).clamp_(0, 1)

    def paint(self, distance, colour, opacity=1.0):
        self.cover(self.inside(distance) * opacity, colour)

    def cover(self, share, colour):
        self.image.lerp_(colour, share)

    def dots(self, places, radius):
        """Brightness (N, 1, S, S) of small Gaussian dots, each averaged over the pixel."""
        edges = torch.arange(self.size + 1) / self.size

        def along(place):
            mass = torch.erf((edges - place[..., None]) / radius).diff(dim=-1)
            return mass * (math.sqrt(math.pi) / 2 * radius * self.size)

        columns, rows = along(places[..., 0]), along(places[..., 1]).flip(-1)
        return (rows.transpose(1, 2) @ columns)[:, None].clamp_max_(1)


def _mix(one, other, share):
    """From `one` at share 0 to `other` at share 1; faster than torch.lerp where shapes spread."""
    return one + share * (other - one)


def _each(factor):
    """A factor (N,) in the shape that spreads over pictures."""
    return factor.view(-1, 1, 1, 1)


def paint(factors, season, time, size, texture):
    look = _look(season, time)
    canvas = Canvas(torch.empty(len(factors.horizon), 3, size, size))
    _sky(canvas, factors, look, time)
    for summit in range(2):
        _mountain(canvas, factors, look, summit, CAP_DEPTH[season])
    _meadow(canvas, factors, look, season, texture)
    _some(canvas, factors, factors.house, _house, look, season, time)
    for tree in range(factors.tree_x.shape[1]):
        there = factors.trees > tree
        for kind, paint in ((factors.tree_fir, _fir), (~factors.tree_fir, _broad)):
            _some(canvas, factors, there & kind[:, tree], paint, look, season, tree)
    if texture and season == "winter":
        canvas.cover(0.8 * canvas.dots(texture.dots, 0.014), look["cap"])
    return canvas.image.mul_(1 + factors.tint[:, :, None, None]).clamp_(0, 1)


def _some(canvas, factors, chosen, paint, *rest):
    """Let `paint` work on the chosen pictures only."""
    index = chosen.nonzero()[:, 0]
    if len(index):
        part = Canvas(canvas.image[index])
        paint(part, factors.rows(index), *rest)
        canvas.image[index] = part.image


def _sky(canvas, factors, look, time):
    rise = ((canvas.y - 0.3) / 0.7).clamp(0, 1)
    canvas.image.copy_(_mix(look["low"], look["top"], rise))
    x, y = _each(factors.light[:, 0]), _each(factors.light[:, 1])
    radius = 0.075
    away = ((canvas.x - x).square() + (canvas.y - y).square()).sqrt()
    canvas.cover(0.55 * (-away / 0.13).exp(), look["light"])
    if time == "night":
        canvas.cover(canvas.dots(factors.stars, 0.011), look["light"])
    canvas.paint(away - radius, look["light"])
    if time == "night":
        shifted = ((canvas.x - x - 0.03).square() + (canvas.y - y - 0.02).square()).sqrt()
        canvas.cover(
            canvas.inside(away - radius) * canvas.inside(radius - shifted) * 0.8, look["top"]
        )
    _clouds(canvas, factors, look)


def _clouds(canvas, factors, look):
    thick = 0
    for dx, dy, radius in PUFFS:
        size = factors.cloud[..., 2] + 1e-6
        middle = factors.cloud[..., :2] + size[..., None] * torch.tensor([1.6 * dx, dy])

        def along(line, centre, width):
            return (-((line - centre[..., None]) / width[..., None]).square()).exp()

        columns = along(canvas.line, middle[..., 0], 1.6 * radius * size)
        rows = along(canvas.line.flip(0), middle[..., 1], radius * size)
        thick = thick + rows.transpose(1, 2) @ columns
    canvas.cover(((thick[:, None] - 0.3) / 0.4).clamp_(0, 1) * 0.9, look["cloud"])


def _mountain(canvas, factors, look, summit, cap_depth):
    x, y = canvas.x, canvas.y
    peak_x, peak_y = _each(factors.peak[:, summit, 0]), _each(factors.peak[:, summit, 1])
    phase = _each(factors.roll[:, summit])
    away = (x - peak_x).abs()
    height = peak_y - 0.95 * away + (0.10 * away).clamp_max(0.02) * (41 * x + phase).sin()
    body = canvas.inside((y - height) * 0.72)
    side = (peak_x - _each(factors.light[:, 0])).sign()
    below = peak_y - y
    shade = canvas.inside((peak_x - x) * side - 0.25 * below - 0.02 * (31 * below).sin())
    cap = canvas.inside(below - cap_depth + 0.03 * (47 * x + phase).sin() - 0.2 * away)
    lit = _mix(look["rock"], look["cap"], cap)
    dark = _mix(look["rock_shade"], look["cap_shade"], cap)
    colour = lit.lerp_(dark, shade)
    haze = ((below - 0.1) * 1.6).clamp_(0, 0.55)
    canvas.cover(body, colour.lerp_(look["low"], haze))


def ground(factors, x):
    """Height of the meadow's far edge at x."""
    wave = 0.018 * (6.5 * x + _each(factors.roll[:, 0])).sin()
    return _each(factors.horizon) + _each(factors.slope) * (x - 0.5) + wave


def _meadow(canvas, factors, look, season, texture):
    x, y = canvas.x, canvas.y
    edge = ground(factors, x)
    phase = _each(factors.roll[:, 1])
    hills = edge + 0.055 + 0.035 * (8 * x + phase).sin() + 0.012 * (19 * x + 2 * phase).sin()
    tone = ((hills - y) / 0.09).clamp_(0, 1)
    canvas.paint(y - hills, _mix(look["hills"], look["hills_low"], tone))
    meadow = canvas.inside(y - edge)
    depth = ((edge - y) / 0.36).clamp_(0, 1)
    rolling = 0.14 * (9 * x + 16 * (y - edge) + phase).sin() * depth.sqrt()
    canvas.cover(meadow, _mix(look["far"], look["near"], (depth + rolling).clamp_(0, 1)))
    if texture:
        mode = "area" if canvas.size <= GRAIN else "bilinear"
        grain = F.interpolate(texture.grain, canvas.image.shape[2:], mode=mode)
        canvas.image.add_(GRAIN_CONTRAST[season] * meadow * grain * look["far"])
        if season == "summer":
            for dots, colour in zip(texture.dots.chunk(2, 1), look["flowers"]):
                canvas.cover(
                    0.8 * meadow * canvas.dots(dots * torch.tensor([1.0, 0.4]), 0.012), colour
                )


def _shadow(canvas, factors, look, x, foot, width):
    side = (x - _each(factors.light[:, 0])).clamp(-0.3, 0.3)
    across = (canvas.x - x - side * width) / width
    along = (canvas.y - foot) / (0.16 * width)
    canvas.cover((1.4 - across.square() - along.square()).clamp_(0, 0.55), look["shadow"])


def _house(canvas, factors, look, season, time):
    x, size = _each(factors.house_x), _each(factors.house_size)
    foot = ground(factors, x) - 0.06
    _shadow(canvas, factors, look, x, foot, 0.62 * size)
    wall, roof = look["walls"][factors.house_wall], look["roofs"][factors.house_wall]
    roof_shade = 0.9 * roof
    if season == "winter":
        roof, roof_shade = look["cap"], _mix(look["cap"], look["cap_shade"], 0.5)
    u, v = (canvas.x - x) / size * _each(factors.house_flip), (canvas.y - foot) / size

    def box(left, right, low, high):
        across = (u - (left + right) / 2).abs() - (right - left) / 2
        return torch.maximum(across, (v - (low + high) / 2).abs() - (high - low) / 2) * size

    canvas.paint(box(0.14, 0.25, 0.5, 0.84), wall * 0.7)
    canvas.paint(box(0.12, 0.27, 0.79, 0.86), roof)
    canvas.paint(box(-0.04, 0.48, 0.0, 0.4), wall * 0.82)
    gable = 0.70 - 1.3 * (u + 0.26).abs()
    front = torch.maximum((u + 0.26).abs() - 0.23, torch.maximum(-v, (v - gable) * 0.6))
    canvas.paint(front * size, wall)
    slope = 0.01 + (0.70 - v) * 0.74
    roof_side = torch.maximum((v - 0.53).abs() - 0.19, ((u - slope).abs() - 0.27) * 0.8)
    canvas.paint(roof_side * size, roof_shade)
    thick = 0.05 if season == "winter" else 0.035
    trim = torch.maximum((v - gable - 0.02).abs() * 0.6 - thick, 0.31 - v)
    canvas.paint(trim * size, roof)
    canvas.paint(box(-0.33, -0.19, 0.0, 0.25), look["trunk"])
    for window in (box(0.12, 0.34, 0.13, 0.28), box(-0.33, -0.19, 0.34, 0.47)):
        canvas.paint(window, look["window"])
    if time == "night":
        glow = ((u - 0.2).square() + (v - 0.15).square()) * 7
        canvas.cover(0.4 * (-glow).exp(), look["window"])


def _standing(canvas, factors, look, tree):
    """Paint a tree's shadow; its own coordinates u, v in heights of the tree, and that height."""
    x, size = _each(factors.tree_x[:, tree]), _each(factors.tree_size[:, tree])
    foot = ground(factors, x) - _each(factors.tree_depth[:, tree])
    _shadow(canvas, factors, look, x, foot, 0.3 * size)
    return (canvas.x - x) / size, (canvas.y - foot) / size, size


def _sunlit(factors, tree):
    """+1 where the light comes from the right of the tree, -1 from the left."""
    return _each((factors.light[:, 0] - factors.tree_x[:, tree]).sign())


def _fir(canvas, factors, look, season, tree):
    u, v, size = _standing(canvas, factors, look, tree)
    canvas.paint(torch.maximum(u.abs() - 0.035, (v - 0.1).abs() - 0.1) * size, look["trunk"])
    lit = (0.5 + 4 * u * _sunlit(factors, tree)).clamp_(0, 1)
    for low, width, high in ((0.12, 0.27, 0.55), (0.36, 0.21, 0.78), (0.6, 0.15, 1.0)):
        share = (v - low) / (high - low)
        tier = torch.maximum((u.abs() - width * (1 - share)) * 0.85, low - v) * size
        canvas.paint(tier, _mix(look["fir_shade"], look["fir"], lit))
        if season == "winter":
            snow = canvas.inside((low + 0.11 + 0.03 * (40 * u).sin() - v) * size)
            canvas.cover(canvas.inside(tier) * snow, look["cap"])


CROWN = ((0.0, 0.72, 0.25), (-0.16, 0.52, 0.19), (0.16, 0.54, 0.2))  # x, y, radius
BRANCHES = (  # from, to, half width; mirrored
    ((0.0, 0.0), (0.0, 0.6), 0.035), ((0.0, 0.32), (0.24, 0.66), 0.022),
    ((0.0, 0.5), (0.1, 0.92), 0.02), ((0.12, 0.48), (0.32, 0.56), 0.016),
)  # fmt: skip


def _broad(canvas, factors, look, season, tree):
    u, v, size = _standing(canvas, factors, look, tree)
    rounds = [((u - a).square() + (v - b).square()).sqrt() - r for a, b, r in CROWN]
    crown = torch.minimum(torch.minimum(*rounds[:2]), rounds[2]) * size
    if season == "summer":
        canvas.paint(torch.maximum(u.abs() - 0.04, (v - 0.25).abs() - 0.25) * size, look["trunk"])
        lit = (0.5 + 1.7 * (u * _sunlit(factors, tree) + v - 0.62)).clamp_(0, 1)
        canvas.paint(crown, _mix(look["leaf_shade"], look["leaf"], lit))
    else:
        canvas.paint(crown, look["leaf"], 0.12)
        for start, end, width in BRANCHES:
            canvas.paint((_segment(u.abs(), v, start, end) - width) * size, look["trunk"])


def _segment(x, y, start, end):
    """Distance of (x, y) from a line segment."""
    (a, b), (c, d) = start, end
    dx, dy = c - a, d - b
    share = (((x - a) * dx + (y - b) * dy) / (dx * dx + dy * dy)).clamp_(0, 1)
    return ((x - a - share * dx).square() + (y - b - share * dy).square()).sqrt()

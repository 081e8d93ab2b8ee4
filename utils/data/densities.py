"""Two-dimensional targets whose density is known: to sample, to evaluate, to compare with."""

import math
from functools import cached_property

import numpy as np
import torch

NODES = 260  # of a one-dimensional Gauss-Legendre integral


def _quadrature():
    """Nodes and log weights on [0, 1]; the error is below rounding for what is blurred here."""
    place, weight = np.polynomial.legendre.leggauss(NODES)
    return torch.tensor((place + 1) / 2), torch.tensor(weight / 2).log()


def _log_blurred(x, centres, sd, log_weight):
    """log of a weighted sum of round Gaussians (B,) at x (B, 2), in pieces to spare memory."""
    parts = []
    for part in x.split(4096):
        square = torch.cdist(part, centres).square() / (2 * sd**2)
        parts.append((log_weight - square).logsumexp(1))
    return torch.cat(parts) - math.log(2 * math.pi * sd**2)


class Density:
    """A target: `sample`, `log_prob`, `entropy`, and `limit`, half the side of its picture.

    Points are (B, 2), float32 from `sample`; `log_prob` computes in float64, in nats.
    """

    name = "density"
    limit = 4.0

    def sample(self, count, generator=None):
        """`count` independent points (count, 2)."""
        raise NotImplementedError

    def log_prob(self, x):
        """log p(x) (B,) in nats."""
        raise NotImplementedError

    @cached_property
    def _entropy(self):
        coarse, fine = (self._entropy_on_grid(n) for n in (200, 280))
        return fine, abs(fine - coarse)

    def entropy(self):
        """The exact entropy in nats and a bound on its error; by quadrature unless closed."""
        return self._entropy

    def _entropy_on_grid(self, nodes):
        span = 1.25 * self.limit
        line = torch.linspace(-span, span, nodes, dtype=torch.float64)
        log_p = self.log_prob(torch.cartesian_prod(line, line))
        cell = (line[1] - line[0]).item() ** 2
        return -(log_p.exp() * log_p.clamp_min(-1e4)).sum().item() * cell


class Mixture(Density):
    """Round Gaussians of one width at `centres`, all equally likely."""

    def __init__(self, name, centres, sd, limit):
        self.name, self.sd, self.limit = name, sd, limit
        self.centres = torch.as_tensor(centres, dtype=torch.float64)

    def sample(self, count, generator=None):
        which = torch.randint(len(self.centres), (count,), generator=generator)
        noise = torch.randn(count, 2, generator=generator)
        return self.centres[which].float() + self.sd * noise

    def log_prob(self, x):
        equal = torch.tensor(-math.log(len(self.centres)), dtype=torch.float64)
        return _log_blurred(x.double(), self.centres, self.sd, equal)


def _ring(count, radius):
    """`count` places on a circle. Not linspace(0, 2 pi, count): its two ends are one place."""
    angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    return radius * torch.stack([angle.cos(), angle.sin()], 1)


class Moons(Density):
    """Two half circles that interlock, blurred (scikit-learn's moons, centred, times two)."""

    name, limit, sd = "moons", 4.5, 0.2

    @staticmethod
    def _curve(angle, which):
        upper = torch.stack([angle.cos(), angle.sin()], -1)
        lower = torch.stack([1 - angle.cos(), 0.5 - angle.sin()], -1)
        curve = torch.where(which[..., None] == 0, upper, lower)
        return 2 * (curve - torch.tensor([0.5, 0.25], dtype=curve.dtype))

    def sample(self, count, generator=None):
        angle = math.pi * torch.rand(count, generator=generator)
        which = torch.randint(2, (count,), generator=generator)
        noise = torch.randn(count, 2, generator=generator)
        return self._curve(angle, which) + self.sd * noise

    def log_prob(self, x):
        share, log_weight = _quadrature()
        curve = torch.cat([self._curve(math.pi * share, torch.full((NODES,), i)) for i in (0, 1)])
        return _log_blurred(x.double(), curve, self.sd, log_weight.repeat(2) - math.log(2))


class Rings(Density):
    """Blurred concentric circles, equally likely; the blur is Gaussian in the plane."""

    def __init__(self, name, radii, sd, limit):
        self.name, self.sd, self.limit = name, sd, limit
        self.radii = torch.tensor(radii, dtype=torch.float64)

    def sample(self, count, generator=None):
        which = torch.randint(len(self.radii), (count,), generator=generator)
        angle = 2 * math.pi * torch.rand(count, generator=generator)
        circle = torch.stack([angle.cos(), angle.sin()], 1) * self.radii[which, None].float()
        return circle + self.sd * torch.randn(count, 2, generator=generator)

    def log_prob(self, x):
        """The mean of a Gaussian over a circle is a Bessel function: I0, here scaled by exp."""
        radius = x.double().norm(dim=1, keepdim=True)
        product = radius * self.radii / self.sd**2
        log_bessel = torch.special.i0e(product).log()
        square = (radius - self.radii).square() / (2 * self.sd**2)
        mean = (log_bessel - square).logsumexp(1) - math.log(len(self.radii))
        return mean - math.log(2 * math.pi * self.sd**2)


class Spirals(Density):
    """Two spirals of one and a half turns; a square of noise, then a blur."""

    name, limit, sd, turns, square = "spirals", 4.0, 0.1, 3 * math.pi, 0.5 / 3

    @staticmethod
    def _curve(angle):
        return torch.stack([-angle.cos(), angle.sin()], -1) * angle[..., None] / 3

    def sample(self, count, generator=None):
        angle = torch.rand(count, generator=generator).sqrt() * self.turns
        corner = self._curve(angle) + self.square * torch.rand(count, 2, generator=generator)
        sign = torch.randint(2, (count, 1), generator=generator) * 2.0 - 1
        return sign * corner + self.sd * torch.randn(count, 2, generator=generator)

    def log_prob(self, x):
        """Exact over the square (error functions), by quadrature along the spiral."""
        share, log_weight = _quadrature()
        weight = log_weight.exp() * share  # the angle is the root of a uniform number
        corner = self._curve(share * self.turns)
        parts = []
        for part in x.double().split(2048):
            both = torch.stack([part, -part])[:, :, None] - corner
            inside = torch.special.ndtr(both / self.sd)
            inside -= torch.special.ndtr((both - self.square) / self.sd)
            parts.append((inside.prod(-1) @ weight).sum(0) / self.square**2)
        return torch.cat(parts).clamp_min(1e-300).log()


class Pinwheel(Density):
    """Five elongated Gaussians, twisted about the origin the more the farther out.

    The usual pinwheel twists by the first coordinate before turning. Twisting by the radius keeps
    area, so the density is exact.
    """

    name, limit, arms, rate, scale = "pinwheel", 4.5, 5, 0.25, 2.0
    mean, sd = (1.0, 0.0), (0.3, 0.1)

    def _turn(self, x, angle):
        cos, sin = angle.cos(), angle.sin()
        return torch.stack(
            [cos * x[..., 0] - sin * x[..., 1], sin * x[..., 0] + cos * x[..., 1]], -1
        )

    def sample(self, count, generator=None):
        blob = torch.tensor(self.mean) + torch.tensor(self.sd) * torch.randn(
            count, 2, generator=generator
        )
        arm = torch.randint(self.arms, (count,), generator=generator)
        twist = self.rate * blob.norm(dim=1).exp()
        return self.scale * self._turn(blob, 2 * math.pi * arm / self.arms + twist)

    def log_prob(self, x):
        x = x.double() / self.scale
        twist = self.rate * x.norm(dim=1).exp()
        arms = 2 * math.pi * torch.arange(self.arms, dtype=torch.float64) / self.arms
        back = self._turn(x[:, None], -(arms + twist[:, None]))
        blob = torch.distributions.Normal(
            torch.tensor(self.mean, dtype=torch.float64), torch.tensor(self.sd, dtype=torch.float64)
        )
        return blob.log_prob(back).sum(-1).logsumexp(1) - math.log(self.arms * self.scale**2)


class Checkerboard(Density):
    """The eight dark squares, 2 by 2 each, of a board from -4 to 4."""

    name, limit = "checkerboard", 4.5

    def sample(self, count, generator=None):
        column = torch.randint(4, (count,), generator=generator)
        row = 2 * torch.randint(2, (count,), generator=generator) + column % 2
        return 2 * (torch.stack([column, row], 1) + torch.rand(count, 2, generator=generator)) - 4

    def log_prob(self, x):
        square = (x.double() / 2 + 2).floor()
        dark = (square.sum(1) % 2 == 0) & (square >= 0).all(1) & (square < 4).all(1)
        outside = torch.full(dark.shape, -math.inf, dtype=torch.float64)
        return torch.where(dark, torch.full_like(outside, -math.log(32)), outside)

    def entropy(self):
        return math.log(32), 0.0


def make_densities():
    """The eight targets of the course by name, with the parameters of the literature.

    Sources: rings, spirals, checkerboard and the eight Gaussians as in W. Grathwohl et al., FFJORD
    (2019); the grid as in Z. Lin et al., PacGAN (2018); moons and circles after scikit-learn.
    """
    grid = torch.cartesian_prod(*2 * [torch.arange(-4.0, 5.0, 2.0)])
    targets = [
        Mixture("gaussians", _ring(8, 4 / 1.414), 0.5 / 1.414, 4.5),
        Mixture("grid", grid, 0.05, 5.0),
        Moons(),
        Rings("circles", [3.0, 1.5], 0.24, 4.5),
        Rings("rings", [3.0, 2.25, 1.5, 0.75], 0.08, 4.0),
        Spirals(),
        Pinwheel(),
        Checkerboard(),
    ]
    return {target.name: target for target in targets}

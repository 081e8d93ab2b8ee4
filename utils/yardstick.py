"""The course's one yardstick for pictures: readers, distance, precision and recall, neighbours.

A *reader* is a small network that was trained once, by `tools/readers.py`, on real training
pictures to say what is in them; its weights lie beside this file. Samples are compared with real
pictures in its features, so all notebooks, seeds and machines measure with the same ones. A
distance says little by itself: give it beside that of real pictures against real ones, with the
same numbers of pictures.
"""

from collections import OrderedDict
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from utils import ROOT
from utils.data.painting import SEASONS, TIMES, WALLS
from utils.data.scenes import TREES
from utils.store import load_model

AT_ONCE = 500  # pictures; keeps the memory small


SHAPES = {"digits": (1, 28, 28), "scenes": (3, 32, 32)}
ANSWERS = {"digits": 10, "scenes": 1 + TREES + 1 + len(WALLS) + len(SEASONS) + len(TIMES) + 3}


def _block(inputs, outputs):
    convolution = nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def new_reader(name):
    """An untrained reader of "digits" or "scenes": body, pictures to features, and head, to answers."""
    body = nn.Sequential(
        *(_block(SHAPES[name][0], 16), _block(16, 32), _block(32, 32), nn.Flatten()),
        *(nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU()),
    )
    return nn.Sequential(OrderedDict(body=body, head=nn.Linear(64, ANSWERS[name])))


@cache
def reader(name):
    """The trained reader of "digits" or "scenes", frozen: `body` gives features, `head` answers."""
    network = new_reader(name)
    load_model(ROOT / "utils" / "readers" / f"{name}.pt", network)
    return network.eval().requires_grad_(False)


@torch.no_grad()
def _features(name, x):
    """The features (N, 64) of pictures. Raises ValueError for another shape or range."""
    if x.shape[1:] != SHAPES[name] or not len(x):
        wanted = ", ".join(map(str, SHAPES[name]))
        raise ValueError(
            f"the reader of {name} takes pictures (N, {wanted}), N at least 1, not {tuple(x.shape)}"
        )
    if not (x.isfinite().all() and x.min() >= 0 and x.max() <= 1):
        raise ValueError(
            f"a reader takes values from 0 to 1, these run from {x.min():g} to {x.max():g}; "
            "after a tanh, which gives -1 to 1, use (x + 1) / 2"
        )
    body = reader(name).body
    return torch.cat([body(part) for part in x.float().cpu().split(AT_ONCE)])


def digit_features(x):
    """Features (N, 64) of digits (N, 1, 28, 28) in [0, 1]."""
    return _features("digits", x)


def scene_features(x):
    """Features (N, 64) of scenes (N, 3, 32, 32) in [0, 1]."""
    return _features("scenes", x)


class ReadDigits(NamedTuple):
    """N digits as the reader sees them."""

    label: torch.Tensor  # (N,) int64, its answer
    certainty: torch.Tensor  # (N,) the probability it gives that answer


def read_digits(x):
    """What the reader takes digits (N, 1, 28, 28) in [0, 1] for."""
    certainty, label = reader("digits").head(digit_features(x)).softmax(1).max(1)
    return ReadDigits(label, certainty)


class ReadScenes(NamedTuple):
    """The factors of N scenes as the reader sees them; see data.scenes for what they mean."""

    house: torch.Tensor  # (N,) bool
    trees: torch.Tensor  # (N,) int64, 0 to 3
    house_wall: torch.Tensor  # (N,) int64, the colour of a house; without one it means nothing
    season: torch.Tensor  # (N,) int64, 0 summer, 1 winter
    time: torch.Tensor  # (N,) int64, 0 day, 1 night
    horizon: torch.Tensor  # (N,) share of the side
    light: torch.Tensor  # (N, 2) place of the sun or moon, x and y
    certainty: torch.Tensor  # (N,) the probability of the answers to house and trees together


def split_answers(answers):
    """The reader's answers (N, .) to scenes: logits of house, trees, wall, season, time; places."""
    return answers.split([1, TREES + 1, len(WALLS), len(SEASONS), len(TIMES), 3], dim=1)


def read_scenes(x):
    """What the reader finds in scenes (N, 3, 32, 32) in [0, 1]."""
    house, *kinds, places = split_answers(reader("scenes").head(scene_features(x)))
    house = house.squeeze(1)
    certainty = house.abs().sigmoid() * kinds[0].softmax(1).amax(1)
    found = (kind.argmax(1) for kind in kinds)
    return ReadScenes(house > 0, *found, places[:, 0], places[:, 1:], certainty)


def frechet(a, b):
    """The Frechet distance of two sets of features (N, D) and (M, D), each seen as one Gaussian.

    |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) with the covariances A and B, which have to be
    of full rank or nearly so: N and M should be well above D. More pictures give a smaller
    distance: name N. Source: Heusel et al. (2017), https://arxiv.org/abs/1706.08500.
    """
    a, b = _sets(a, b)
    A, B = a.T.cov(), b.T.cov()
    root = _root(A)
    cross = torch.linalg.eigvalsh(root @ B @ root).clamp(min=0).sqrt().sum()
    return ((a.mean(0) - b.mean(0)).square().sum() + A.trace() + B.trace() - 2 * cross).item()


def _root(A):
    values, vectors = torch.linalg.eigh(A)
    return vectors * values.clamp(min=0).sqrt() @ vectors.T


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: of the samples that look real, of the real ones that the samples reach."""

    precision: float
    recall: float


def precision_recall(real, samples, k=3):
    """Precision and recall of samples in features (N, D), by k nearest neighbours.

    A set covers a point that lies no farther from one of its members than that member's k-th
    neighbour in the set. Precision: the share of samples that the real set covers; recall: the
    share of real ones that the samples cover. Both depend on N: use as many of each.
    Source: Kynkaanniemi et al. (2019), https://arxiv.org/abs/1904.06991.
    """
    real, samples = _sets(real, samples)
    if min(len(real), len(samples)) <= k:
        raise ValueError(f"{k} neighbours need more than {k} pictures in each set")
    between = torch.cdist(real, samples)
    reach = [torch.cdist(a, a).kthvalue(k + 1).values for a in (real, samples)]
    return PrecisionRecall(
        precision=(between <= reach[0][:, None]).any(0).double().mean().item(),
        recall=(between <= reach[1]).any(1).double().mean().item(),
    )


def nearest(x, pool):
    """For each picture of `x` the one of `pool` with the smallest squared pixel distance."""
    found = [torch.cdist(part.flatten(1), pool.flatten(1)).argmin(1) for part in x.split(AT_ONCE)]
    return pool[torch.cat(found)]


def _sets(a, b):
    """Both as float64. Raises ValueError where they cannot be compared."""
    for values in (a, b):
        if values.ndim != 2 or len(values) < 2:
            raise ValueError(
                f"features are (N, D) with at least two rows, these are {tuple(values.shape)}; "
                "is a class empty?"
            )
        if not values.isfinite().all():
            raise ValueError("a feature is not finite: did the generator diverge?")
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"features of {a.shape[1]} and {b.shape[1]} numbers cannot be compared")
    return a.double().cpu(), b.double().cpu()

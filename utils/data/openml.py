"""MNIST and two relatives from OpenML, for those who want more than the course needs."""

import socket

import numpy as np
import torch
from sklearn.datasets import fetch_openml

from utils.data import cache

PATIENCE = 30  # seconds without an answer
SETS = {"mnist": (554, 28), "fashion-mnist": (40996, 28), "usps": (41082, 16)}  # number, side


class DataUnavailable(RuntimeError):
    """An optional data set could not be fetched; the message says why and what to use instead."""


def openml(name):
    """An optional data set: images (N, 1, side, side) uint8 and labels (N,) int64.

    "mnist" and "fashion-mnist" are 70,000 images of 28 x 28 pixels, "usps" 9,298 of 16 x 16.
    Fetched once by scikit-learn's `fetch_openml`, then kept in $LECTURE_DATA or
    ~/.cache/generative-lecture. A kept file that is damaged (SHA-256) is renamed and fetched anew.

    Raises ValueError for another name, and DataUnavailable where there is no network.
    """
    if name not in SETS:
        raise ValueError(f"there is no data set {name!r}, only {', '.join(SETS)}")
    side = SETS[name][1]
    body = cache.load(name)
    if body is None:
        x, y = _fetch(name)
        body = x.tobytes() + y.tobytes()
        cache.keep(name, body)
    values = torch.frombuffer(bytearray(body), dtype=torch.uint8)
    images, labels = values.split([len(body) // (side**2 + 1) * n for n in (side**2, 1)])
    return images.view(-1, 1, side, side), labels.long()


def _fetch(name):
    """Pixels (N, side^2) and labels (N,), both uint8, over the network."""
    number, side = SETS[name]
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        raw = fetch_openml(data_id=number, as_frame=False, parser="liac-arff", cache=False)
        x = np.asarray(raw.data, dtype=float).reshape(-1, side * side)
    except (OSError, ValueError) as error:
        raise DataUnavailable(
            f"{name} could not be fetched from openml.org: {error}. Nothing in the course needs it: "
            "data.digits() and data.glyphs() are here without a network. To have it, go online "
            "(behind a proxy, set HTTPS_PROXY) and run the cell again."
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
    x = (255 * (x - x.min()) / (x.max() - x.min())).round().astype(np.uint8)
    y = raw.target.astype(float).astype(np.uint8)
    return x, y - y.min()  # the labels of usps count from 1

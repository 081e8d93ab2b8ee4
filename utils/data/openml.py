"""MNIST and two relatives from OpenML, for those who want more than the course needs."""

import hashlib
import json
import os
import pathlib
import socket

import numpy as np
import torch
from sklearn.datasets import fetch_openml

from utils.store import try_write

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
    cache = os.environ.get("LECTURE_DATA", pathlib.Path.home() / ".cache" / "generative-lecture")
    path = pathlib.Path(cache) / f"{name}.bin"
    kept = _load(path) if path.exists() else None
    if kept is None:
        kept = _fetch(name)
        _keep(path, *kept)
    side = SETS[name][1]
    images, labels = map(torch.from_numpy, kept)
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


def _keep(path, x, y):
    body = x.tobytes() + y.tobytes()
    header = {"count": len(y), "sha256": hashlib.sha256(body).hexdigest()}
    try_write(path, json.dumps(header).encode() + b"\n" + body)


def _load(path):
    """What `_keep` wrote; None if it is damaged, which is said, and the file set aside."""
    line, _, body = path.read_bytes().partition(b"\n")
    try:
        header = json.loads(line)
        if hashlib.sha256(body).hexdigest() == header["sha256"]:
            values = np.frombuffer(bytearray(body), dtype=np.uint8)
            return np.split(values, [len(values) - header["count"]])
    except (ValueError, TypeError, KeyError):
        pass
    damaged = path.with_name(path.name + ".damaged")
    path.replace(damaged)
    print(f"{path.name} is damaged; it was renamed to {damaged.name} and is fetched anew.")

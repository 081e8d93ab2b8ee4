"""Real handwriting: the digits that scikit-learn ships."""

from typing import NamedTuple

import torch
from sklearn.datasets import load_digits

GREY_LEVELS = 17


def as_counts(x):
    """Pixels (..., 64) as they are, if they are whole numbers 0..16; else ValueError says why not."""
    if not torch.is_tensor(x) or not x.is_floating_point():
        raise ValueError("images have to be float tensors of ink dots, as data.digits() gives them")
    if x.shape[-1:] != (64,):
        raise ValueError(f"images have to be of shape (B, 64), these are {tuple(x.shape)}")
    if not x.isfinite().all():
        raise ValueError("an image holds a NaN or an infinity")
    if x.min() < 0 or x.max() > 16 or not torch.equal(x, x.round()):
        low, high = x.min().item(), x.max().item()
        raise ValueError(
            f"pixels have to be whole numbers from 0 to 16, these run from {low:g} to {high:g}; "
            "were they divided by 16?"
        )
    return x


class Split(NamedTuple):
    """Images and their labels."""

    x: torch.Tensor
    y: torch.Tensor


class Digits(NamedTuple):
    """Handwritten digits, split by position in the file and so by writer."""

    train: Split
    valid: Split
    test: Split


def digits():
    """1797 handwritten digits of 8 x 8 pixels: 1000 to train, 350 to validate, 447 to test.

    `x` is (N, 64) float32 with whole numbers 0..16: how many of the 4 x 4 dots of a scanned
    bitmap are inked under that pixel. `y` is (N,) int64. The file is ordered by writer, so the
    test writers are new.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository (1998), as shipped with scikit-learn.
    """
    raw = load_digits()
    x = torch.tensor(raw.data, dtype=torch.float32)
    y = torch.tensor(raw.target, dtype=torch.int64)
    cuts = [slice(0, 1000), slice(1000, 1350), slice(1350, None)]
    return Digits(*(Split(x[cut], y[cut]) for cut in cuts))

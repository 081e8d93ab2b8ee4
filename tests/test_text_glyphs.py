"""The text and the glyphs: what a notebook relies on, on any version of Python."""

import pytest
import torch

from utils import data
from utils.data.glyphs import CHARACTERS, FACTORS, FONTS

PLAIN = dict.fromkeys(["strength", "noise"], 0.0)


@pytest.fixture(scope="module")
def words():
    return data.text()


def test_text_is_letters_and_single_blanks(words):
    for part in words:
        assert set(part) <= set("abcdefghijklmnopqrstuvwxyz ") and "  " not in part
    alone = data.text(spaces=False)
    assert [part.replace(" ", "") for part in words] == list(alone)
    assert len(alone.train) > 120_000 and len(alone.test) > 30_000


def test_text_is_english(words):
    """The commonest words and the entropy of a letter; bounds that hold from Python 3.10 to 3.13."""
    for part in data.text(spaces=False):
        codes = torch.tensor([ord(letter) - 97 for letter in part])
        share = codes.bincount(minlength=26).double() / len(codes)
        assert (share > 0).all() and 3.95 < -(share * share.log2()).sum() < 4.25
        assert "etaoinsr".find(CHARACTERS[share.argmax()]) == 0
    assert words.train.split().count("the") > 0.05 * len(words.train.split())


def test_test_text_is_new():
    """No 30 letters in a row of the test text stand in a training paragraph."""
    train, test = data.text(letters=False)
    squeezed = ["".join(c for c in p.lower() if "a" <= c <= "z") for p in test.split("\n\n")]
    whole = {p: "".join(c for c in p.lower() if "a" <= c <= "z") for p in train.split("\n\n")}
    known = {key[i : i + 30] for key in whole.values() for i in range(len(key) - 29)}
    assert all(key[i : i + 30] not in known for key in squeezed for i in range(len(key) - 29))
    assert len(set(squeezed)) == len(squeezed)


def test_raw_text_has_its_signs():
    raw = data.text(letters=False)
    assert "\n\n" in raw.train and any(letter.isupper() for letter in raw.test)
    assert ">>>" not in raw.train and "::=" not in raw.train


# ------------------------------------------------------------------ glyphs


def test_glyphs_have_labels_fonts_and_factors():
    g = data.glyphs(300, size=32)
    assert g.x.shape == (300, 32, 32) and g.x.dtype == torch.float32
    assert g.x.min() >= 0 and g.x.max() <= 1
    assert g.factors.shape == (300, len(FACTORS))
    assert set(g.y.tolist()) <= set(range(26)) and set(g.font.tolist()) == set(range(len(FONTS)))


def test_glyphs_spell_a_text():
    g = data.glyphs("the end", fonts=["STIX"], **PLAIN)
    assert "".join(g.characters[i] if i >= 0 else " " for i in g.y.tolist()) == "the end"
    assert g.x[3].max() == 0, "a blank is empty paper"
    assert torch.equal(g.x[2], g.x[4]), "without distortion two letters e are alike"
    assert (g.x[g.y >= 0].sum((1, 2)) > 15).all()


def test_seed_makes_the_glyphs():
    first, second, third = (
        data.glyphs(50, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.x, second.x) and not torch.equal(first.x, third.x)


@pytest.mark.parametrize("font", FONTS)
def test_every_letter_of_a_font_is_drawn_and_fits(font):
    g = data.glyphs(CHARACTERS, fonts=[font], size=48, **PLAIN)
    assert (g.x.sum((1, 2)) > 40).all()
    edge = torch.cat([g.x[:, 0], g.x[:, -1], g.x[:, :, 0], g.x[:, :, -1]], 1)
    assert edge.max() == 0, "ink at the edge of the image"
    distance = torch.cdist(g.x.flatten(1), g.x.flatten(1)) + 1e9 * torch.eye(26)
    assert distance.min() > 2, "two letters look alike"


def test_sizes_show_the_same_letter():
    small, large = (data.glyphs("gas", fonts=["DejaVu Serif"], size=s, **PLAIN).x for s in (28, 56))
    halved = torch.nn.functional.avg_pool2d(large[:, None], 2)[:, 0]
    assert (small - halved).abs().mean() < 0.02


def test_factors_do_what_they_say():
    """Moments of the ink: shifts move it, widths and heights stretch it, weight adds to it."""
    g = data.glyphs("o" * 400, fonts=["DejaVu Sans"], size=56, noise=0.0)
    place = (torch.arange(56) + 0.5) / 56 - 0.5
    ink = g.x / g.x.sum((1, 2), keepdim=True)
    across, down = ink.sum(1), ink.sum(2)
    right, low = across @ place, down @ place
    spread = [
        (share @ place.square() - (share @ place).square()).log() / 2 for share in (across, down)
    ]
    measured = {"right": right, "up": -low, "width": spread[0], "height": spread[1]}
    measured["weight"] = g.x.sum((1, 2))
    for i, name in enumerate(FACTORS):
        if name in measured:
            both = torch.stack([g.factors[:, i], measured[name]])
            assert torch.corrcoef(both)[0, 1] > 0.8, name


def test_turn_is_anticlockwise():
    g = data.glyphs("l" * 100, fonts=["DejaVu Sans"], size=56, noise=0.0)
    place = (torch.arange(56) + 0.5) / 56 - 0.5
    ink = g.x / g.x.sum((1, 2), keepdim=True)
    x, y = torch.meshgrid(place, -place, indexing="xy")
    mean = [(ink * axis).sum((1, 2)) for axis in (x, y)]
    slope = (ink * x * y).sum((1, 2)) - mean[0] * mean[1]
    assert torch.corrcoef(torch.stack([g.factors[:, 0], -slope]))[0, 1] > 0.5


def test_wrong_requests_are_named():
    with pytest.raises(ValueError, match="Comic"):
        data.glyphs(3, fonts=["Comic"])
    with pytest.raises(ValueError, match=r"\['!'\]"):
        data.glyphs("hi!")

"""Notebook 05d, with its own definitions: what holds for any weights, faults, and the exercises."""

import copy

import numpy as np
import pytest
import torch
from conftest import exercise_works
from skimage.filters import threshold_otsu, threshold_sauvola
from torch.nn import functional as F

from utils import data
from utils.checks import answered, check_close, check_unseen
from utils.notebooks import definitions

lines = definitions("05d_document_cyclegan")


@pytest.fixture(scope="module")
def photos():
    return data.documents(30, "photographed", seed=8)


@pytest.fixture(scope="module")
def pages():
    return data.documents(30, "clean", seed=8)


# ------------------------------------------------------------------ reading


def test_a_perfect_answer_spells_the_text(pages):
    y, middle = lines.targets(pages.texts, pages.centres, 96)
    assert y.shape == middle.shape == (30, 96) and y[y >= 0].max() <= 26
    out = torch.cat([10 * F.one_hot(y.clamp_min(0), 27), 20 * middle[..., None] - 10], 2)
    found = lines.spell(out)
    assert lines.error_rate(found, pages.texts) < 1
    assert lines.reading_loss(out, y, middle) < 0.02
    assert lines.reading_loss(-out, y, middle) > 5


def test_edits_are_a_distance():
    assert lines.edits("kitten", "sitting") == 3 and lines.edits("", "ab") == 2
    words = ["clean", "dean", "lean", "", "clan", "nael"]
    for a in words:
        for b in words:
            assert lines.edits(a, b) == lines.edits(b, a) and (lines.edits(a, b) == 0) == (a == b)
            assert all(lines.edits(a, b) <= lines.edits(a, c) + lines.edits(c, b) for c in words)


def test_the_error_rate_counts_edits_per_true_character_of_all_lines():
    """Not per character read, not the mean of the lines' rates, and more than 100 % is possible."""
    check_close(lines.error_rate(["ab", "x"], ["abcd", "x"]), 40.0)
    check_close(lines.error_rate(["abcd", "x"], ["ab", "x"]), 200 / 3)
    check_close(lines.error_rate(["", ""], ["abc", "d"]), 100.0)
    check_close(lines.error_rate(["xxxx"], ["a"]), 400.0)
    check_close(lines.error_rate(["a b"], ["ab"]), 50.0)
    for found, texts in [([], []), (["a"], ["a", "b"]), (["a"], [""])]:
        with pytest.raises(ValueError, match="cannot be scored"):
            lines.error_rate(found, texts)


def test_an_ocr_model_answers_for_lines_of_any_width(pages):
    ocr = lines.OcrModel(8).eval()
    for width in (64, 192):
        assert ocr(pages.images[..., :width]).shape == (30, width // 2, 28)
    assert len(lines.read(ocr, pages.images)) == 30


def test_reading_changes_nothing_and_does_not_depend_on_the_batch(pages):
    """A model left in training mode is put right, and keeps its moments."""
    ocr = lines.OcrModel(8).train()
    for _ in range(3):
        ocr(pages.images)  # collects moments
    before = copy.deepcopy(ocr.state_dict())
    out = lines.answers(ocr, pages.images)
    lines.read(ocr.train(), pages.images)
    for name, value in ocr.state_dict().items():
        assert torch.equal(value, before[name]), name
    check_close(lines.answers(ocr, pages.images[4:5]), out[4:5], tolerance=1e-4)
    assert not out.requires_grad and not ocr.training


# ------------------------------------------------------------------ light and generators


def test_light_does_not_see_strokes_and_follows_shadows(pages):
    even = 0.3 + 0.5 * pages.images
    check_close(lines.light_of(even).median(), 0.8, tolerance=0.01)
    assert (lines.light_of(even) - 0.8).abs().mean() < 0.03
    shade = torch.linspace(1, 0.5, 192)
    follows = lines.light_of(even * shade) / shade
    assert (follows - 0.8).abs().mean() < 0.04


def test_grain_is_the_noise_and_not_the_text(pages):
    noisy = 0.4 + 0.2 * pages.images + 0.04 * torch.randn(pages.images.shape)
    assert (lines.grain_of(noisy) - 0.04).abs().max() < 0.008


def test_contrast_does_not_change_with_the_light(photos):
    x = torch.cat([photos.images, lines.light_of(photos.images)], 1)
    one, half = lines.contrast(x + 0.5), lines.contrast(0.5 * (x + 0.5))
    assert (one - half).abs().mean() < 0.05


@pytest.mark.parametrize("size", [(32, 64), (32, 192), (64, 64)])
def test_generators_hand_the_light_on_and_discriminators_see_every_patch(size):
    x = torch.rand(3, 2, *size)
    grains = torch.tensor([0.01, 0.03])
    for net in (lines.Cleaner(), lines.Photographer(grains)):
        made = net(x)
        assert made.shape == x.shape and torch.equal(made[:, 1], x[:, 1])
    assert lines.LineDiscriminator()(x).shape == (3, size[0] * size[1] // 8)
    page = lines.Cleaner()(x)[:, 0]
    assert page.min() >= 0 and page.max() <= 1


def test_a_photograph_is_one_of_many_unless_the_noise_is_given():
    net, x = lines.Photographer(torch.tensor([0.03])), torch.rand(2, 2, 32, 64)
    assert not torch.equal(net(x), net(x))
    noise = net.noise(x)
    assert torch.equal(net(x, noise), net(x, noise))
    assert (net(torch.cat([x[:, :1], 0.5 * x[:, 1:]], 1), noise) != net(x, noise)).any()


def test_draws_are_crops_with_a_light(photos, pages):
    seen, clean = (draw(5) for draw in lines.drawers(photos.images, pages.images))
    assert seen.shape == clean.shape == (5, 2, 32, 64)
    strips = pages.images.unfold(3, 64, 4)[:, 0].transpose(1, 2).reshape(-1, 32, 64)
    for crop in clean[:, 0]:
        assert (strips == crop).flatten(1).all(1).any(), "each is a piece of some line"
    lit = torch.cat([photos.images, lines.light_of(photos.images)], 1)
    lit = lit.unfold(3, 64, 4).permute(0, 3, 1, 2, 4).reshape(-1, 2, 32, 64)
    for crop in seen:
        assert (lit == crop).flatten(1).all(1).any(), "a photograph keeps its own light"
    for crop in clean[:, 1]:
        assert (lit[:, 1] == crop).flatten(1).all(1).any(), "the light is that of a photograph"


def test_no_clean_copy_of_a_photograph_is_ever_drawn(photos, pages):
    """What training draws are the given pictures; twins, and factors to make them of, are not seen."""
    twins = data.page_twin_for_scoring(photos.factors, "clean").clone()

    def drawn():
        seen, clean = (draw(4) for draw in lines.drawers(photos.images, pages.images))
        return torch.cat([seen, clean])

    hidden = [twins, photos.factors.zoom, photos.factors.light, photos.centres]
    check_unseen(drawn, hidden, seen=[photos.images, pages.images])


def test_the_slider_shows_the_line_its_translation_and_the_way_back(photos, pages):
    nets = lines.Cleaner(), lines.Photographer(torch.tensor([0.02]))
    others = lines.light_of(photos.images[10:12])[:, None]
    live = lines.Pages(*nets, photos.images[:2], pages.images[:2], others).eval()
    image = live(torch.tensor([[1.0, 1.0, 0.0]]))["image"]
    assert image.shape == (1, 3, 104, 192)
    check_close(image[0, 0, :32], photos.images[1, 0], tolerance=1e-6)
    x = torch.cat([photos.images[1:2], lines.light_of(photos.images[1:2])], 1)
    check_close(image[0, 0, 36:68], nets[0](x)[0, 0], tolerance=1e-5)
    still = live(torch.tensor([[2.0, 0.0, 1.0]]))["image"]
    check_close(still[0, 0, 36:68], pages.images[0, 0], tolerance=1e-6)


# ------------------------------------------------------------------ real photographs


def curved(scale, strokes=((0, 0.2),)):
    """A grey page (60, 200) that is darker to the left, with a curved stroke at each distance
    (rows below the baseline), and the baseline at five columns."""
    columns = np.linspace(0, 200, 5)
    heights = 30 + 6 * np.sin(columns / 40)
    base = torch.tensor(np.interp(np.arange(200) + 0.5, columns, heights)).float()
    row = torch.arange(60)[:, None] + 0.5
    photo = torch.linspace(0.5, 0.9, 200).expand(60, 200).clone()
    for below, grey in strokes:
        photo[(row - base - below).abs() <= 1] = grey
    return photo, columns, heights


@pytest.mark.parametrize("scale", [1.0, 1.24, 1.5])
def test_a_curved_line_is_cut_straight_and_stands_on_row_22(scale):
    """From its left end on, at every column; what is above stays above."""
    page = curved(scale, ((0, 0.1), (-8, 0.1)))
    width = int(200 * scale) // 8 * 8
    line = lines.cut(*page, scale=scale, width=width)
    assert line.shape == (1, 1, 32, width)
    dark = (line[0, 0] < 0.3).float()
    rows = torch.arange(32)[:, None] + 0.5
    for place, low, high in [(22, 18, 32), (22 - 8 * scale, 0, 18)]:
        part = dark[low:high]
        middle = (part * rows[low:high]).sum(0) / part.sum(0)
        away = (middle - place).abs()
        assert (part.sum(0) > 0).all() and away.max() < 1.2 and away.mean() < 0.4
    page[0][:, 100:104] = 0.0
    line = lines.cut(*page, scale=scale, width=width)[0, 0, 14:26]
    middle = (torch.arange(width) + 0.5)[(line < 0.05).all(0)].mean()
    check_close(middle, 102 * scale, tolerance=0.01, what="the column of a bar")


def test_lines_above_and_below_are_covered_by_paper():
    page = curved(1.24, ((0, 0.1), (-17, 0.1), (17, 0.1), (6, 0.1)))
    line = lines.cut(*page, width=240)[0, 0]
    other = torch.cat([line[:6], line[28:]])
    assert (line[20:24] < 0.3).any(0).all() and other.min() > 0.45
    assert other[:, -8:].mean() - other[:, :8].mean() > 0.25, "in the light of the place"


# ------------------------------------------------------------------ faults


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match=r"\(B, 1, 32, 2n\)"):
        lines.OcrModel()(torch.zeros(2, 1, 28, 64))
    for net in (
        lines.Cleaner(),
        lines.Photographer(torch.tensor([0.1])),
        lines.LineDiscriminator(),
    ):
        for shape in [(2, 1, 32, 64), (2, 2, 30, 64), (2, 32, 64)]:
            with pytest.raises(ValueError, match=r"\(B, 2, 8m, 8n\)"):
                net(torch.zeros(shape))


def test_pictures_in_another_unit_are_refused(photos, pages):
    """Grey values to 255, negative ones, NaN, and none at all."""
    bad = [255 * pages.images, pages.images - 1, pages.images + torch.nan, pages.images[:0]]
    for images in bad:
        with pytest.raises(ValueError, match="from 0 to 1"):
            lines.read(lines.OcrModel(8), images)
        with pytest.raises(ValueError, match="from 0 to 1"):
            lines.light_of(images)
        with pytest.raises(ValueError, match="from 0 to 1"):
            lines.drawers(photos.images, images)
    with pytest.raises(ValueError, match="too short for crops of 64"):
        lines.cropper(pages.images[..., :40])
    with pytest.raises(ValueError, match="2 texts for 30 lines"):
        lines.targets(pages.texts[:2], pages.centres, 96)


# ------------------------------------------------------------------ exercises

WRONG = {
    1: (
        "def my_otsu(levels, fractions):\n"
        "    return levels[levels < (levels * fractions).sum()].max()",
        "threshold",
    ),
    2: (
        "def my_kinds(read, truth):\n"
        "    more = len(read) - len(truth)\n"
        "    return sum(a != b for a, b in zip(read, truth)), max(more, 0), max(-more, 0)",
        "it is|cheapest",
    ),
    3: (
        "def my_closing(values, reach):\n"
        "    return [max(values[max(0, i - reach):i + reach + 1]) for i in range(len(values))]",
        "edge of a shadow",
    ),
}  # fmt: skip


@pytest.mark.parametrize("number", [1, 2, 3])
def test_exercise(number, photos):
    names = dict(vars(lines), np=np, torch=torch, threshold_otsu=threshold_otsu)
    names |= {"threshold_sauvola": threshold_sauvola, "check_close": check_close}
    names |= {"answered": answered, "ocr": lines.OcrModel(8).eval(), "test": photos}
    exercise_works("05d_document_cyclegan", number, names | {"otsu": photos.images}, *WRONG[number])

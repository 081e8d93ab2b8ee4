"""Lines of text: what is on them is known, looks share their geometry, twins are kept apart."""

from importlib import import_module

import pytest
import torch
from torch import nn

from utils import data

documents = import_module("utils.data.documents")  # the package has the function of that name

each_look = pytest.mark.parametrize("look", documents.LOOKS)


@each_look
def test_shape_range_and_the_same_again(look):
    lines = data.documents(20, look, seed=3)
    assert lines.images.shape == (20, 1, 32, 192) and lines.images.dtype == torch.float32
    assert lines.images.min() >= 0 and lines.images.max() <= 1 and lines.images.isfinite().all()
    assert lines.images.flatten(1).std(1).min() > 0.02, "no line is blank"
    again = data.documents(20, look, seed=3)
    assert torch.equal(lines.images, again.images) and lines.texts == again.texts
    assert lines.texts != data.documents(20, look, seed=4).texts


def test_a_generator_goes_on_and_leaves_the_global_one_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    first, second = (data.documents(4, "photographed", generator) for _ in range(2))
    assert first.texts != second.texts
    assert torch.equal(torch.rand(1), expected)


@each_look
@pytest.mark.parametrize("test", [False, True])
def test_words_stand_in_the_text(look, test):
    passage = data.text().test if test else data.text().train
    lines = data.documents(60, look, test=test)
    assert all(line in passage and line == line.strip() for line in lines.texts)
    assert sum(map(len, lines.texts)) > 60 * 10


def test_two_looks_are_never_paired():
    drawn = [data.documents(200, look, seed=s) for look in documents.LOOKS for s in range(3)]
    for i, one in enumerate(drawn):
        for other in drawn[:i]:
            alike = sum(a == b and len(a) > 9 for a, b in zip(one.texts, other.texts))
            lit_alike = torch.isclose(one.factors.light, other.factors.light).flatten(1).all(1)
            assert alike <= 2 and not lit_alike.any()


# ------------------------------------------------------------------ what is known of a line


def test_middles_of_letters_are_where_the_letters_are():
    lines = data.documents(300, "clean", seed=1)
    ink = (1 - lines.images).sum((1, 2))
    for row, middles, text in zip(ink, lines.centres, lines.texts):
        middles = middles[: len(text)]
        assert middles.isfinite().all() and (middles.diff() > 1).all()
        assert middles[0] > 4 and middles[-1] < 188
        assert row[: max(0, int(middles[0]) - 14)].sum() < 0.5, "nothing before the first letter"
        assert row[int(middles[-1]) + 14 :].sum() < 0.5, "nothing behind the last one"
    blanks = [
        row[int(at)] for row, places, text in zip(ink, lines.centres, lines.texts)
        for at, c in zip(places, text) if c == " "
    ]  # fmt: skip
    assert torch.stack(blanks).mean() < 0.1, "blanks are empty paper"
    assert lines.centres[0, len(lines.texts[0]) :].isnan().all()


def test_a_larger_line_is_the_small_one_in_detail():
    factors = data.documents(40, "clean").factors
    for look in documents.LOOKS:
        small, large = (
            data.page_twin_for_scoring(factors, look, height=height) for height in (32, 64)
        )
        assert large.shape == (40, 1, 64, 384)
        assert (nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 0.02


def test_some_of_the_lines_are_those_lines():
    lines = data.documents(30, "photographed", seed=2)
    pick = torch.tensor([4, 7, 21])
    some = lines.factors.rows(pick)
    assert some.texts == tuple(lines.texts[i] for i in pick)
    all_twins = data.page_twin_for_scoring(lines.factors, "clean")
    assert torch.equal(data.page_twin_for_scoring(some, "clean"), all_twins[pick])


# ------------------------------------------------------------------ looks


def test_clean_is_black_on_white_and_a_photograph_is_not():
    clean, photo = (data.documents(100, look).images for look in documents.LOOKS)
    assert ((clean < 0.02) | (clean > 0.98)).float().mean() > 0.85
    assert ((photo < 0.02) | (photo > 0.98)).float().mean() < 0.05
    levels = photo.flatten(1).quantile(0.9, dim=1)
    assert levels.std() > 0.08, "no two photographs are equally bright"


def test_twins_share_text_and_geometry():
    lines = data.documents(60, "photographed", seed=6)
    twins = data.page_twin_for_scoring(lines.factors, "clean")
    seen = lines.images.clone()
    local = seen - nn.functional.avg_pool2d(seen, 15, 1, 7, count_include_pad=False)

    def likeness(a, b):
        return nn.functional.cosine_similarity((a - a.mean()).flatten(1), (b - b.mean()).flatten(1))

    own, foreign = likeness(local, twins), likeness(local, twins.roll(1, 0))
    assert own.median() > 0.4 and (own > foreign + 0.1).float().mean() > 0.9
    again = data.page_twin_for_scoring(lines.factors, "photographed")
    assert 0.005 < (again - lines.images).abs().mean() < 0.05, "the same light, without the noise"


def test_a_twin_refuses_to_be_trained_on_but_can_be_scored():
    lines = data.documents(3, "photographed")
    twin = data.page_twin_for_scoring(lines.factors, "clean")
    model = nn.Conv2d(1, 1, 3, padding=1)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        nn.functional.mse_loss(model(lines.images), twin)
    with torch.no_grad():
        assert (model(lines.images) - twin).abs().mean() > 0
    model(data.documents(3, "clean").images).mean().backward()


# ------------------------------------------------------------------ 20 bad values


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"count": 0}, "count is 0"),
        ({"look": "faxed"}, "no look 'faxed', only clean and photographed"),
        ({"height": 20}, "multiple of 8 from 16 to 128, it is 20"),
        ({"height": 256}, "it is 256"),
        ({"width": 190}, "multiple of 8 from 64 to 1024, it is 190"),
        ({"width": 32}, "it is 32"),
    ],
)
def test_bad_arguments_are_refused_with_a_reason(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        data.documents(**{"count": 2, **arguments})

"""Landscapes: what they look like follows from their factors, and twins are kept apart."""

from importlib import import_module

import pytest
import torch
from torch import nn

from utils import data
from utils.data import painting

scenes = import_module("utils.data.scenes")  # the package has the function of that name

LOOKS = [(season, hour) for season in scenes.SEASONS for hour in scenes.TIMES]
each_look = pytest.mark.parametrize("season, hour", LOOKS)


def changed(before, after, margin=0.02):
    """Where (N, S, S) two sets of pictures differ."""
    return (before - after).abs().amax(1) > margin


def columns(mask):
    """First and last column (N,) with a mark, as shares of the width."""
    at = mask.any(1)
    size = at.shape[1]
    return at.int().argmax(1) / size, 1 - at.flip(1).int().argmax(1) / size


@each_look
def test_shape_range_and_the_same_again(season, hour):
    images, factors = data.scenes(40, season, hour, seed=3, size=24)
    assert images.shape == (40, 3, 24, 24) and images.dtype == torch.float32
    assert images.min() >= 0 and images.max() <= 1 and images.isfinite().all()
    assert images.flatten(1).std(1).min() > 0.03, "no picture is blank"
    again = data.scenes(40, season, hour, seed=3, size=24)
    assert torch.equal(images, again.images)
    assert all(torch.equal(a, b) for a, b in zip(factors, again.factors))
    other = data.scenes(40, season, hour, seed=4, size=24)
    assert not torch.equal(factors.light, other.factors.light)


def test_a_generator_goes_on_and_leaves_the_global_one_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    first, second = (data.scenes(4, seed=generator, size=8) for _ in range(2))
    assert not torch.equal(first.images, second.images)
    assert torch.equal(torch.rand(1), expected)


def test_factors_are_drawn_as_promised():
    factors = scenes.draw(8000, seed=1)
    assert abs(factors.house.float().mean() - 0.5) < 0.02
    assert (factors.trees.bincount() / 8000 - 0.25).abs().max() < 0.02
    assert factors.trees.max() == scenes.TREES
    places = torch.cat([factors.house_x[:, None], factors.tree_x], 1).sort(1).values
    assert places.diff(dim=1).min() > 0.18, "each has its own place"
    assert (factors.tree_depth.diff(dim=1) >= 0).all(), "far ones are painted first"


# ------------------------------------------------------------------ each factor is seen


@each_look
def test_a_house_changes_pixels_only_where_it_stands(season, hour):
    factors = scenes.draw(60, 1)._replace(trees=torch.zeros(60, dtype=torch.int64))
    without = scenes.render(factors._replace(house=torch.zeros(60).bool()), season, hour, 64)
    having = scenes.render(factors._replace(house=torch.ones(60).bool()), season, hour, 64)
    left, right = columns(changed(without, having))
    reach = 0.95 * factors.house_size + 1 / 64  # wall, eaves, shadow, light of the windows
    assert (left >= factors.house_x - reach).all() and (right <= factors.house_x + reach).all()
    assert (right - left > 0.5 * factors.house_size).all(), "every house is seen"


def test_moving_the_house_moves_it():
    factors = scenes.draw(60, 2)._replace(house=torch.ones(60).bool(), trees=torch.zeros(60).long())
    light = factors.light * torch.tensor([0.0, 1.0])  # so that all shadows fall to the right
    factors = factors._replace(light=light, house_x=torch.full((60,), 0.3))
    moved = factors._replace(house_x=torch.full((60,), 0.7))
    empty = scenes.render(factors._replace(house=torch.zeros(60).bool()), size=64)
    shift = [
        (left + right) / 2
        for left, right in (
            columns(changed(empty, scenes.render(f, size=64), 0.15)) for f in (factors, moved)
        )
    ]
    assert ((shift[1] - shift[0] - 0.4).abs() < 0.05).all()


@each_look
def test_each_further_tree_stands_where_it_should_and_no_more_than_asked(season, hour):
    factors = scenes.draw(60, 3)._replace(house=torch.zeros(60).bool())

    def with_trees(count, **change):
        trees = torch.full((60,), count)
        return scenes.render(factors._replace(trees=trees, **change), season, hour, 64)

    for tree in range(scenes.TREES):
        added = changed(with_trees(tree), with_trees(tree + 1), 0.03)
        left, right = columns(added)
        x, reach = factors.tree_x[:, tree], 0.5 * factors.tree_size[:, tree] + 1 / 64
        assert (left >= x - reach).all() and (right <= x + reach).all()
        top = 1 - added.any(2).int().argmax(1) / 64
        foot = painting.ground(factors, x.view(-1, 1, 1, 1)).flatten() - factors.tree_depth[:, tree]
        assert ((top - foot - factors.tree_size[:, tree]).abs() < 0.06).float().mean() > 0.9
        unseen = factors.tree_x.clone()
        unseen[:, tree:] = 0.5
        assert torch.equal(with_trees(tree), with_trees(tree, tree_x=unseen))


@pytest.mark.parametrize("factor", ["horizon", "slope", "roll", "peak", "light", "cloud", "tint"])
def test_every_other_factor_changes_the_picture(factor):
    one, other = scenes.draw(50, 4), scenes.draw(50, 5)
    mixed = one._replace(**{factor: getattr(other, factor)})
    moved = changed(scenes.render(one), scenes.render(mixed)).flatten(1).any(1)
    assert moved.float().mean() > 0.75


@each_look
def test_sun_and_moon_are_where_the_factor_says(season, hour):
    factors = scenes.draw(50, 6)
    factors = factors._replace(
        cloud=torch.zeros(50, 2, 3), peak=factors.peak * torch.tensor([1.0, 0.8])
    )
    image = scenes.render(factors, season, hour, 64)
    sky = image.sum(1)[:, :20]  # above all summits
    row, column = sky.flatten(1).argmax(1) // 64, sky.flatten(1).argmax(1) % 64
    place = torch.stack([(column + 0.5) / 64, 1 - (row + 0.5) / 64], 1)
    close = (place - factors.light).norm(dim=1) < 0.09
    assert close.float().mean() > 0.9  # a star may outshine the moon


def test_colours_of_the_house_are_seen():
    factors = scenes.draw(4, 0)._replace(
        house=torch.ones(4).bool(), trees=torch.zeros(4).long(), house_wall=torch.arange(4)
    )
    same = scenes.Factors(*(f[:1].expand_as(f) for f in factors))
    images = scenes.render(same._replace(house_wall=torch.arange(4)))
    assert torch.pdist(images.flatten(1)).min() > 0.5


# ------------------------------------------------------------------ sizes and texture


@each_look
def test_a_large_picture_is_the_small_one_in_detail(season, hour):
    factors = scenes.draw(60, 7)
    small = scenes.render(factors, season, hour, 32)
    large = nn.functional.avg_pool2d(scenes.render(factors, season, hour, 128), 4)
    assert (small - large).abs().mean() < 0.008
    assert (small - large).square().mean().sqrt() < 0.03


def test_texture_is_modest_and_seeded_apart():
    factors = scenes.draw(50, 8)
    plain = scenes.render(factors, "winter")
    one, again, other = (scenes.render(factors, "winter", texture=seed) for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert 0 < (one - plain).abs().mean() < 0.03


# ------------------------------------------------------------------ twins


def test_seasons_share_their_geometry():
    """Both seasons change at the same pixels when the house is taken away."""
    factors = scenes.draw(60, 9)._replace(house=torch.ones(60).bool())
    empty = factors._replace(house=torch.zeros(60).bool())
    summer, winter = (
        changed(scenes.render(factors, season), scenes.render(empty, season), 0.04)
        for season in scenes.SEASONS
    )
    overlap = (summer & winter).sum((1, 2)) / (summer | winter).sum((1, 2))
    assert overlap.median() > 0.75
    assert (scenes.render(factors) - scenes.render(factors, "winter")).abs().mean() > 0.1


def test_a_twin_is_the_scene_itself_in_another_look():
    images, factors = data.scenes(30, "summer", seed=1)
    twin = data.twin_for_scoring(factors, "summer")
    assert (images - twin).abs().mean() < 0.03
    assert torch.equal(twin, scenes.render(factors, "summer"))
    winter = data.twin_for_scoring(factors, "winter", "night", size=64)
    assert winter.shape == (30, 3, 64, 64) and not winter.requires_grad


def test_training_sets_are_never_paired():
    drawn = [data.scenes(200, *look, seed=s).factors.light for look in LOOKS for s in range(3)]
    for i, one in enumerate(drawn):
        assert not any(torch.isclose(one, other).all(1).any() for other in drawn[:i])


def test_a_twin_refuses_to_be_trained_on_but_can_be_scored():
    images, factors = data.scenes(4, "summer", size=8)
    twin = data.twin_for_scoring(factors, "winter", size=8)
    model = nn.Conv2d(3, 3, 1)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        model(twin)
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        nn.functional.mse_loss(model(images), twin)
    with torch.no_grad():
        assert (model(images) - twin).abs().mean() > 0
        assert model(twin).isfinite().all()
    fresh = data.scenes(4, "winter", size=8).images
    model(fresh).mean().backward()  # what is painted after a twin trains as ever


# ------------------------------------------------------------------ 20 bad values


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ({"count": 0}, "count is 0"),
        ({"season": "autumn"}, "no season 'autumn', only summer and winter"),
        ({"time": "dusk"}, "no time 'dusk', only day and night"),
        ({"size": 4}, "size is 4"),
        ({"size": 5000}, "size is 5000"),
    ],
)
def test_bad_arguments_are_refused_with_a_reason(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        data.scenes(**{"count": 2, **arguments})

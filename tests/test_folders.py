"""One's own photographs and optional data sets, with every fault caused for real."""

import io
import socket
import struct
import tarfile
import urllib.error
import zipfile
import zlib
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from utils import data
from utils.data import folders

openml = import_module("utils.data.openml")  # the package has the function of that name

RED = (220, 30, 40)


def photo(path, size=(40, 30), colour=RED, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


def many(folder, count=12):
    for i in range(count):
        photo(folder / f"good{i:02d}.png")
    return folder


def is_colour(image, colour, tolerance=2):
    goal = torch.tensor(colour).view(3, 1, 1) / 255
    return (image - goal).abs().max() <= tolerance / 255


# ------------------------------------------------------------------ layouts


def test_one_folder_is_one_class(tmp_path, capsys):
    found = data.image_folder(many(tmp_path / "été 1"), 16)
    assert found.images.shape == (12, 3, 16, 16) and found.images.dtype == torch.float32
    assert found.classes == ["été 1"] and found.skipped == []
    assert torch.equal(found.labels, torch.zeros(12, dtype=torch.int64))
    assert is_colour(found.images, RED) and capsys.readouterr().out == ""


def test_folders_are_classes_and_those_of_cyclegan(tmp_path):
    names = ["testA", "testB", "trainA", "trainB"]
    for count, name in enumerate(names, 1):
        for i in range(count):
            photo(tmp_path / name / f"{i}.png", colour=(50 * count, 0, 0))
    (tmp_path / ".DS_Store").write_bytes(b"x")
    found = data.image_folder(tmp_path, 8)
    assert found.classes == names and found.labels.bincount().tolist() == [1, 2, 3, 4]
    assert is_colour(found.of("trainA"), (150, 0, 0)) and len(found.of("trainA")) == 3
    with pytest.raises(folders.ImageFolderError, match=r"no folder 'winter', only testA, testB"):
        found.of("winter")


def test_an_empty_class_is_told_when_it_is_asked_for(tmp_path):
    """Else a training begins, and ends in torch's words."""
    many(tmp_path / "trainB")
    (tmp_path / "trainA").mkdir()
    (tmp_path / "trainA/Thumbs.db").write_bytes(b"x")
    found = data.image_folder(tmp_path, 8)
    assert len(found.of("trainB")) == 12
    with pytest.raises(folders.ImageFolderError, match="'trainA' holds no image that can be read"):
        found.of("trainA")


LITTER = {
    "Thumbs.db": b"\xd0\xcf\x11\xe0" + bytes(3000),
    "desktop.ini": b"[ViewState]\n",
    ".DS_Store": b"\0\0\0\1Bud1",
    "._good00.png": b"\0\5\x16\7" + bytes(200),
    "Icon\r": b"",
    "__MACOSX/one/._good00.png": b"\0\5\x16\7" + bytes(200),
    "@eaDir/good00.png/thumb.jpg": b"x",
}


@pytest.mark.parametrize("below", ["", "one"])
def test_what_computers_leave_in_a_folder_does_not_count(tmp_path, capsys, below):
    many(tmp_path / below)
    for name, content in LITTER.items():
        for place in {tmp_path, tmp_path / below}:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    found = data.image_folder(tmp_path, 8)
    assert len(found.images) == 12 and found.skipped == [] and capsys.readouterr().out == ""
    assert found.classes == [below or tmp_path.name]


# ------------------------------------------------------------------ 4 odd but usable


def test_odd_sizes_are_cut_to_the_middle(tmp_path):
    wide = Image.new("RGB", (90, 30), "white")
    wide.paste(RED, (30, 0, 60, 30))
    wide.save(tmp_path / "wide.png")
    photo(tmp_path / "line.png", (1, 500))
    photo(tmp_path / "small.png", (2, 2))
    images = data.image_folder(tmp_path, 10).images
    assert images.shape == (3, 3, 10, 10) and is_colour(images[:, :, 2:-2, 2:-2], RED)


def test_transparent_sixteen_bit_grey_palette_and_animated_images(tmp_path):
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "a_clear.png")
    Image.fromarray(np.full((20, 20), 128 * 257, dtype=np.uint16)).save(tmp_path / "b_deep.png")
    Image.new("L", (20, 20), 90).save(tmp_path / "c_grey.jpg", quality=95)
    frames = [Image.new("P", (20, 20), colour) for colour in (1, 2)]
    for frame in frames:
        frame.putpalette([0, 0, 0, *RED, 0, 0, 255])
    frames[0].save(tmp_path / "d_moves.gif", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (20, 20), (0, 0, 0, 0)).save(tmp_path / "e_print.jpg", quality=95)
    images = data.image_folder(tmp_path, 8).images
    for image, colour in zip(images, [(255,) * 3, (128,) * 3, (90,) * 3, RED, (255,) * 3]):
        assert is_colour(image, colour)


@pytest.mark.parametrize("kind", ["png", "jpg", "avif"])
def test_corners_stay_in_their_corners(tmp_path, kind):
    corners = [(0, 0, 0), RED, (0, 255, 0), (0, 0, 255)]
    image = Image.new("RGB", (2, 2))
    image.putdata(corners)
    image.resize((64, 64), Image.Resampling.NEAREST).save(tmp_path / f"a.{kind}", quality=98)
    found = data.image_folder(tmp_path, 16).images[0]
    quarters = [found[:, i : i + 6, j : j + 6] for i in (0, 10) for j in (0, 10)]
    assert all(is_colour(quarter, colour, 12) for quarter, colour in zip(quarters, corners))


def sixteen_bits(path, value):
    Image.fromarray(np.full((9, 9), value, dtype=np.uint16)).save(path)


def test_sixteen_bits_keep_black_and_white(tmp_path):
    """White became black, and nothing noticed: 257 of its steps are one of ours."""
    values = {0: 0, 257: 1, 128: 0, 129: 1, 32768: 128, 65278: 254, 65535: 255}
    for place, value in enumerate(values):
        sixteen_bits(tmp_path / f"{place}.png", value)
        sixteen_bits(tmp_path / f"{place}.tiff", value)
    images = data.image_folder(tmp_path, 4).images
    for image, goal in zip(images, [goal for goal in values.values() for _ in range(2)]):
        assert torch.equal(image, torch.full((3, 4, 4), goal / 255))


def test_avif_is_read(tmp_path):
    photo(tmp_path / "a.avif", quality=95)
    assert is_colour(data.image_folder(tmp_path, 8).images[0], RED, 6)


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_exif_sets_the_image_upright(tmp_path, kind):
    lying = Image.new("RGB", (32, 32), "white")
    lying.paste(RED, (0, 0, 16, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # the left side is the top
    lying.save(tmp_path / f"rotated.{kind}", exif=exif, quality=95)
    image = data.image_folder(tmp_path, 16).images[0]
    assert is_colour(image[:, :7], RED, 9) and is_colour(image[:, 9:], (255,) * 3, 9)


# ------------------------------------------------------------------ 4 and 5 skipped


def png_of(width, height):
    """A valid header of a PNG that claims its size, and hardly any data."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\0" * 100)
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, body)
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def truncated():
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


BAD = {
    "empty.jpg": (b"", "it is empty"),
    "cut.jpg": (truncated(), "truncated"),
    "text.png": (b"hello, I am not an image", "it is not an image"),
    "drawing.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is not an image"),
    "phone.HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(2000), "it is HEIC"),
    "mac.heic": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heixmiaf" + bytes(2000), "it is HEIC"),
    "bomb.png": (png_of(60_000, 60_000), "too many|decompression bomb"),
    "large.png": (png_of(9_000, 9_000), "9000 x 9000 pixels are too many"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_and_skipped(tmp_path, capsys, name):
    content, reason = BAD[name]
    (many(tmp_path) / name).write_bytes(content)
    found = data.image_folder(tmp_path, 8)
    said = capsys.readouterr()
    assert len(found.images) == 12 and len(found.skipped) == 1
    assert found.skipped[0].startswith(f"{name}: ") and "1 of 13 files" in said.out
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.skipped[0])
    assert not said.err


def test_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """Setting the image upright is what loads its pixels."""
    (many(tmp_path) / "large.png").write_bytes(png_of(9_000, 9_000))
    upright, sizes = ImageOps.exif_transpose, []
    monkeypatch.setattr(ImageOps, "exif_transpose", lambda im: sizes.append(im.size) or upright(im))
    data.image_folder(tmp_path, 8)
    assert sizes == [(40, 30)] * 12


def test_links_and_deeper_folders_are_skipped(tmp_path):
    secret = photo(tmp_path / "secret.png")
    folder = many(tmp_path / "album")
    (folder / "link.png").symlink_to(secret)
    assert data.image_folder(folder, 8).skipped == ["link.png: it is a link"]
    (many(tmp_path / "classes" / "one") / "two").mkdir()
    (tmp_path / "classes" / "away").symlink_to(folder)
    found = data.image_folder(tmp_path / "classes", 8)
    assert found.classes == ["one"] and len(found.images) == 12
    assert [line.split(":")[0] for line in found.skipped] == ["one/two", "away"]


def test_too_many_skips_are_an_error_that_names_some(tmp_path):
    for i in range(5):
        (many(tmp_path, 10) / f"bad{i}.png").write_bytes(b"no")
    with pytest.raises(folders.ImageFolderError, match=r"5 of 15 files .*bad0\.png.*and 2 more"):
        data.image_folder(tmp_path)


def test_photographs_of_a_phone_are_told_what_to_do(tmp_path, capsys):
    for i in range(5):
        (many(tmp_path, 10) / f"IMG_{i}.HEIC").write_bytes(BAD["phone.HEIC"][0])
    with pytest.raises(folders.ImageFolderError, match=r"HEIC as JPEG: on an iPhone .*magick"):
        data.image_folder(tmp_path)
    for i in range(1, 5):
        (tmp_path / f"IMG_{i}.HEIC").unlink()
    data.image_folder(tmp_path)
    assert "To save HEIC as JPEG" in capsys.readouterr().out
    (tmp_path / "IMG_0.HEIC").write_bytes(b"no")
    data.image_folder(tmp_path)
    assert "HEIC as JPEG" not in capsys.readouterr().out


def test_nothing_to_read_is_an_error(tmp_path):
    with pytest.raises(folders.ImageFolderError, match="holds no images"):
        data.image_folder(tmp_path)
    with pytest.raises(folders.ImageFolderError, match="is not a folder"):
        data.image_folder(tmp_path / "absent")
    (tmp_path / "class").mkdir()
    with pytest.raises(folders.ImageFolderError, match="class: the folder is empty"):
        data.image_folder(tmp_path)


# ------------------------------------------------------------------ 6 archives


def png(colour=RED):
    file = io.BytesIO()
    Image.new("RGB", (9, 9), colour).save(file, "PNG")
    return file.getvalue()


def zipped(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return path


def tarred(path, entries):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in entries:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def link(name, kind=tarfile.SYMTYPE):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


def zip_link():
    entry = zipfile.ZipInfo("link.png")
    entry.external_attr = 0o120777 << 16
    return entry


PACKERS = [zipped, tarred]


@pytest.mark.parametrize("pack", PACKERS)
def test_an_archive_of_images_is_unpacked(tmp_path, pack):
    archive = pack(tmp_path / "a", [("trainA/1.png", png()), ("trainB/1.png", png())])
    found = data.image_folder(data.unpack(archive, tmp_path / "new"), 8)
    assert found.classes == ["trainA", "trainB"] and is_colour(found.images, RED)
    with pytest.raises(folders.ImageFolderError, match="is not empty"):
        data.unpack(archive, tmp_path / "new")


@pytest.mark.parametrize(
    "pack, name, content, reason",
    [
        *((pack, name, b"x", "leads out") for pack in PACKERS
          for name in ("../evil", "a/../../evil", "/evil", "C:/evil", "..\\evil")),
        *((pack, "zeros", b"\0" * 10_000_000, "exceeds") for pack in PACKERS),
        (zipped, zip_link(), b"/etc/passwd", "a link"),
        (tarred, link("link"), b"", "a link"),
        (tarred, link("hard", tarfile.LNKTYPE), b"", "a link"),
        (tarred, link("pipe", tarfile.FIFOTYPE), b"", "a device"),
    ],
)  # fmt: skip
def test_a_hostile_archive_is_refused_before_anything_is_written(
    tmp_path, pack, name, content, reason
):
    archive = pack(tmp_path / "inner", [("good.png", png()), (name, content)])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(folders.ImageFolderError, match=f"refused at .*{reason}"):
        data.unpack(archive, tmp_path / "new")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("pack, damage", [(zipped, "altered"), (zipped, "cut"), (tarred, "cut")])
def test_a_damaged_archive_is_named_and_leaves_nothing(tmp_path, pack, damage):
    noise = np.random.default_rng(0).bytes(50_000)
    archive = pack(tmp_path / "a", [("good.png", png()), ("x", noise)])
    content = bytearray(archive.read_bytes())
    content[25_000] ^= 255
    archive.write_bytes(content if damage == "altered" else content[:25_000])
    with pytest.raises(folders.ImageFolderError, match=r"is damaged .* fetch it again"):
        data.unpack(archive, tmp_path / "new")
    assert not (tmp_path / "new").exists()


# ------------------------------------------------------------------ 2 and 3 optional data sets


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A stand-in for OpenML that counts how often it is asked."""
    monkeypatch.setenv("LECTURE_DATA", str(tmp_path))
    x = np.linspace(-1, 1, 20 * 256).reshape(20, 256)
    answer = SimpleNamespace(data=x, target=np.array([str(1 + i % 10) for i in range(20)], object))
    asked = []

    def fetch(**options):
        asked.append(socket.getdefaulttimeout())
        return answer

    monkeypatch.setattr(openml, "fetch_openml", fetch)
    return SimpleNamespace(asked=asked, file=tmp_path / "usps.bin")


def test_a_data_set_is_fetched_once(server):
    first, again = data.openml("usps"), data.openml("usps")
    assert server.asked == [openml.PATIENCE] and socket.getdefaulttimeout() is None
    for images, labels in (first, again):
        assert images.shape == (20, 1, 16, 16) and images.dtype == torch.uint8
        assert (images.min(), images.max()) == (0, 255)
        assert labels.dtype == torch.int64 and labels.tolist() == [i % 10 for i in range(20)]
        assert (images.flatten().int().diff() >= 0).all(), "row by row, as they came"
    assert torch.equal(first[0], again[0])
    with pytest.raises(ValueError, match="only mnist, fashion-mnist, usps"):
        data.openml("cifar")


@pytest.mark.parametrize("damage", ["empty", "cut", "altered", "foreign"])
def test_a_damaged_cache_is_set_aside_and_fetched_anew(server, capsys, damage):
    whole = data.openml("usps")
    content = bytearray(server.file.read_bytes())
    content[-100] ^= 1
    server.file.write_bytes(
        {"empty": b"", "cut": content[:-50], "altered": content, "foreign": b"[]\n1"}[damage]
    )
    assert torch.equal(data.openml("usps")[0], whole[0]) and len(server.asked) == 2
    assert "usps.bin is damaged; it was renamed to usps.bin.damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Name or service not known"),
        urllib.error.HTTPError("https://openml.org", 403, "Forbidden", None, None),
        TimeoutError("timed out"),
        urllib.error.URLError("certificate verify failed"),
        ValueError("md5 checksum of local file does not match description"),
    ],
)
def test_without_an_answer_it_says_what_to_do(server, monkeypatch, error):
    def fail(**options):
        raise error

    monkeypatch.setattr(openml, "fetch_openml", fail)
    with pytest.raises(openml.DataUnavailable, match=r"mnist could not .*digits\(\).*go online"):
        data.openml("mnist")
    assert socket.getdefaulttimeout() is None and not server.file.exists()

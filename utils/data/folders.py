"""One's own photographs: a folder of images as tensors, whatever else lies in it."""

import pathlib
import shutil
import stat
import tarfile
import warnings
import zipfile
import zlib
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps

MOST_PIXELS = 64_000_000  # of one image, known from its header before it is decoded
MOST_SKIPPED = 0.2  # as a share of the files
MOST_BYTES, MOST_RATIO = 4_000_000_000, 200  # of an archive unpacked; photographs hardly shrink
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM")
LITTER = {  # what Windows, macOS and a network drive leave beside photographs, in small letters
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir"),
    *("$recycle.bin", "system volume information"),
}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
IS_HEIC = "it is HEIC, which is not read here"
HEIC_ADVICE = (
    "To save HEIC as JPEG: on an iPhone choose Settings, Camera, Formats, Most Compatible, and share "
    "the pictures once more; on a Mac export them from Preview, on Windows save them from Photos; "
    "on a command line: magick mogrify -format jpg *.heic"
)


class ImageFolderError(ValueError):
    """A folder or an archive cannot be used; the message names what is wrong and what to do."""


class Folder(NamedTuple):
    """Images (N, 3, size, size) float32 in [0, 1], labels (N,) int64, and what labels mean."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: list[str]  # names of the folders, in the order of the labels
    skipped: list[str]  # "file: reason"

    def of(self, name):
        """The images of one class, such as "trainA". Raises ImageFolderError if it has none."""
        if name not in self.classes:
            raise ImageFolderError(
                f"there is no folder {name!r}, only {', '.join(self.classes)}; make it and put "
                "images there"
            )
        found = self.images[self.labels == self.classes.index(name)]
        if not len(found):
            raise ImageFolderError(
                f"the folder {name!r} holds no image that can be read; put some there"
            )
        return found


def image_folder(path, size=64):
    """The images in a folder, cut to a centred square of `size` pixels.

    Its images are one class. If it holds folders instead, each is a class: those of one's own
    choice, or trainA, trainB, testA and testB as CycleGAN has them.
    Images stand upright (EXIF), lie on white where they are transparent, and are the first frame
    where they move. What cannot be read is skipped and said: links, files that are empty, cut,
    HEIC, no image, or larger than 64 million pixels, which are not decoded at all. What a computer
    leaves in a folder by itself (Thumbs.db, .DS_Store, __MACOSX) does not count.

    Raises ImageFolderError where there is no image, or where more than a fifth is skipped.
    """
    path = pathlib.Path(path)
    if not path.is_dir():
        raise ImageFolderError(f"{path} is not a folder; give the folder that holds the images")
    below = [folder for folder in _visible(path) if folder.is_dir() and not folder.is_symlink()]
    images, labels, skipped = [], [], []
    for label, folder in enumerate(below or [path]):
        files = _visible(folder)
        if below and not files:
            skipped.append(f"{folder.name}: the folder is empty")
        for file in files:
            try:
                images.append(_read(file, size))
                labels.append(label)
            except Exception as error:  # decoders raise errors of every kind
                skipped.append(f"{file.relative_to(path)}: {_reason(error)}")
    if below:
        loose = [file.name for file in _visible(path) if file not in below]
        skipped += [f"{name}: it lies beside the folders of the classes" for name in loose]
    _report(path, len(images), skipped)
    names = [folder.name for folder in below or [path]]
    return Folder(torch.stack(images), torch.tensor(labels), names, skipped)


def _visible(folder):
    return sorted(
        file for file in folder.iterdir()
        if not file.name.startswith(".") and file.name.lower() not in LITTER
    )  # fmt: skip


def _report(path, count, skipped):
    """Say what was skipped; raise if that is too much."""
    if not count and not skipped:
        raise ImageFolderError(f"{path} holds no images; put some there ({', '.join(FORMATS)})")
    some = "; ".join(skipped[:3]) + (f"; and {len(skipped) - 3} more" if skipped[3:] else "")
    told = f"{len(skipped)} of {count + len(skipped)} files in {path} were skipped: {some}"
    advice = f" {HEIC_ADVICE}" if any(IS_HEIC in line for line in skipped) else ""
    if len(skipped) > MOST_SKIPPED * (count + len(skipped)):
        raise ImageFolderError(
            f"{told}. Repair, convert or remove them, then run the cell again.{advice}"
        )
    if skipped:
        print(f"{told}.{advice}")


def _reason(error):
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is not an image"
    return str(error) or type(error).__name__


def _is_heic(file):
    """By the brands in its first box, the main one and those it is compatible with."""
    with file.open("rb") as opened:
        head = opened.read(64)
    if head[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, end, 4))}
    return bool(brands & HEIC_BRANDS)


def _read(file, size):
    """One image (3, size, size); raises an error whose text is the reason to skip it."""
    if file.is_symlink():
        raise ValueError("it is a link")
    if not file.is_file():
        raise ValueError("it is a folder in a folder")
    if not file.stat().st_size:
        raise ValueError("it is empty")
    if _is_heic(file):
        raise ValueError(IS_HEIC)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of large images; they are refused here
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels are too many")
            image.draft("RGB", (2 * size, 2 * size))  # lets JPEG decode at a lower resolution
            upright = _rgb(ImageOps.exif_transpose(image))
            square = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
    return torch.tensor(np.asarray(square)).permute(2, 0, 1).float() / 255


def _rgb(image):
    """In 8 bits per colour: 16 bits are scaled, transparency lies on white."""
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of 32 bits (mode {image.mode}) have no known white")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


# ------------------------------------------------------------------ archives


def unpack(archive, folder):
    """Unpack a .zip or .tar of images into a new folder, and return the folder's path.

    All entries are looked at before the first is written. Raises ImageFolderError for an entry
    that leads out of the folder (`../`, an absolute path), is a link or a device, and where the
    content is out of all proportion to the archive; nothing is written then.
    """
    archive, folder = pathlib.Path(archive), pathlib.Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ImageFolderError(f"{folder} is not empty; name a new folder to unpack into")
    zipped = zipfile.is_zipfile(archive)
    try:
        with zipfile.ZipFile(archive) if zipped else tarfile.open(archive) as opened:
            for name, entry in _checked(archive, opened, zipped):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                source = opened.open(entry) if zipped else opened.extractfile(entry)
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ImageFolderError(f"{archive} is damaged or no archive; fetch it again") from error
    return folder


def _checked(archive, opened, zipped):
    """The files of an archive as (path, entry), or ImageFolderError for the first that is bad."""
    files, total = [], 0
    most = min(MOST_BYTES, MOST_RATIO * archive.stat().st_size)
    for entry in opened.infolist() if zipped else opened:
        if zipped:
            name, is_folder, total = entry.filename, entry.is_dir(), total + entry.file_size
            plain = stat.S_IFMT(entry.external_attr >> 16) in (0, stat.S_IFREG, stat.S_IFDIR)
        else:
            name, is_folder, total = entry.name, entry.isdir(), total + entry.size
            plain = entry.isfile() or is_folder
        path = pathlib.PureWindowsPath(name)  # knows both kinds of slash, and drives
        if not plain:
            bad = "it is a link or a device"
        elif path.anchor or ".." in path.parts:
            bad = "it leads out of the folder"
        elif total > most:
            bad = f"the content exceeds {most:,} bytes, too much for an archive of this size"
        else:
            files += [] if is_folder else [(path.as_posix(), entry)]
            continue
        raise ImageFolderError(f"{archive} was refused at {name!r}: {bad}. Nothing was unpacked.")
    return files

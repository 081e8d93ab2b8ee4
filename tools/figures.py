"""What a figure file says of itself: the alt text and the source mark it was saved with."""

import html
import re

from PIL import Image


def described(path):
    """(alt text, source mark) of a figure that `save_figure` wrote; ("", "") where none is."""
    if path.suffix == ".png":
        with Image.open(path) as picture:
            return picture.info.get("Description", ""), picture.info.get("Source", "")
    head = path.read_text(encoding="utf-8")[:4000]
    found = []
    for tag in ("description", "source"):
        match = re.search(rf"<dc:{tag}>(.*?)</dc:{tag}>", head, re.S)
        found.append(html.unescape(match.group(1)) if match else "")
    return tuple(found)

"""Files of the site, named by their content, and the way from inside a page to there."""

import base64
import gzip
import hashlib
import io
import json
import lzma
import re

from PIL import Image, ImageOps

from tools import slides
from utils import ROOT

SMALL = 4096  # bytes of an icon, which stays in its page
DATA = re.compile(r"data:(?:image|font|audio)/([\w+]+);base64,([A-Za-z0-9+/=]+)")
IMAGE = re.compile(r'<img\b[^>]*?\bsrc="(data:[^"]+)"[^>]*>')
SPEC = re.compile(r'<script type="application/json" data-explorer="([\w/]+)">(.*?)</script>', re.S)
EXPLORER = slides.BUILD / "explorer"


class Assets:
    """One folder of files, each in it once."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        self.figures = {_digest(p.read_bytes()): p for p in ROOT.glob("figures/*/*")}
        inside = slides.ELEMENT.read_text(encoding="utf-8").replace("</script", "<\\/script")
        self.element = f"<script>{inside}</script>"
        explorer, engine = (EXPLORER / "site" / name for name in ("site.js", "engine.js"))
        data = {"engine": self.add_file(engine), "runtime": self.add(_runtime(), "bin", "runtime")}
        data = " ".join(f'data-{key}="{address}"' for key, address in data.items())
        source = self.add(explorer.read_bytes(), "js", "explorer")
        self.tag = f'<script src="{source}" {data}></script>'

    def add(self, content, ending, name):
        """The address of a file with these bytes, seen from a page."""
        path = self.folder / f"{name}.{_digest(content)[:10]}.{ending}"
        path.write_bytes(content)
        return f"{self.folder.name}/{path.name}"

    def add_file(self, path):
        return self.add(path.read_bytes(), path.suffix[1:], path.stem)

    def outside(self, page):
        """The page with its figures, fonts, models and the runtime in files of their own."""
        files = {name: self._spec(name, json.loads(text)) for name, text in SPEC.findall(page)}
        page = SPEC.sub("", page)
        if files and self.element not in page:
            raise slides.BuildError(
                "a page with sliders has another explorer: make clean, then again"
            )
        page = page.replace(self.element, self.tag)
        for name, addresses in files.items():
            element = f'<latent-explorer name="{name}"'
            page = page.replace(element, f"{element} {addresses}")
        return DATA.sub(self._file, IMAGE.sub(_lazy, page))

    def early(self, page):
        """A page that is read from the top: its sliders do not wait for its end."""
        if self.tag not in page:
            return page
        early = self.tag.replace(" src", ' async fetchpriority="high" src')
        return page.replace(self.tag, "").replace("</head>", f"{early}</head>", 1)

    def _spec(self, name, spec):
        """Write what an explorer is made from; return the attributes that say where it lies."""
        flat = name.replace("/", "-")
        model = gzip.compress(base64.b64decode(spec.pop("model")), 9, mtime=0)
        files = {
            "spec": self.add(json.dumps(spec).encode(), "json", flat),
            "model": self.add(model, "bin", flat),
        }
        return " ".join(f'{key}="{address}"' for key, address in files.items())

    def _file(self, match):
        content = base64.b64decode(match[2])
        if len(content) < SMALL:
            return match[0]
        figure = self.figures.get(_digest(content))
        name = f"{figure.parent.name}-{figure.stem}" if figure else "picture"
        return self.add(content, match[1].partition("+")[0], name)


def thumbnail(section, figure, box):
    """A part of a figure, small, as the address of itself."""
    picture = Image.open(ROOT / "figures" / section / figure).convert("RGB")
    size = picture.size * 2
    picture = picture.crop([round(part * side) for part, side in zip(box, size)])
    picture = ImageOps.fit(picture, (720, 320), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    picture.save(content, "webp", quality=82, method=6)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"


def _runtime():
    """The browser's runtime, packed as small as can be: that takes 20 seconds, so it is kept."""
    packed, source = EXPLORER / "ort.wasm.xz", EXPLORER / "ort.wasm.gz"
    is_fresh, remember = slides.fresh(packed, [source])
    if not is_fresh:
        wasm = gzip.decompress(source.read_bytes())
        packed.write_bytes(lzma.compress(wasm, preset=9 | lzma.PRESET_EXTREME))
        remember()
    return packed.read_bytes()


def _digest(content):
    return hashlib.sha256(content).hexdigest()


def _lazy(match):
    """A picture that takes its room at once, and is fetched when it comes into view or first of all."""
    tag, data = match[0], DATA.fullmatch(match[1])
    room = "" if " width=" in tag else ' width="{}" height="{}"'.format(*_size(data))
    when = "" if "fetchpriority" in tag else ' loading="lazy"'
    return tag.replace("<img", f'<img{when} decoding="async"{room}', 1)


def _size(data):
    """Width and height of a picture in CSS pixels."""
    content = base64.b64decode(data[2])
    if data[1] != "svg+xml":
        return Image.open(io.BytesIO(content)).size
    box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', content)
    return tuple(round(float(side) * 4 / 3) for side in box.groups())

"""Render the decks: HTML that holds everything it needs, PDF, PPTX, and one PDF of the lecture."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from pypdf import PdfWriter

from tools import browser
from utils import ROOT
from utils.store import atomic_write

DECKS = ROOT / "lecture"
BUILD = ROOT / "build"
MARP = ROOT / "node_modules" / "@marp-team" / "marp-cli" / "marp-cli.js"


class BuildError(RuntimeError):
    """A deck could not be rendered; the message names the deck and the cause."""


def decks(names=()):
    paths = sorted(DECKS.glob("[0-9][0-9]_*.md"))
    chosen = [p for p in paths if not names or any(p.name.startswith(n) for n in names)]
    if not chosen:
        listed = ", ".join(p.stem for p in paths)
        sys.exit(f"no deck begins with {' or '.join(names)}. There are: {listed}")
    return chosen


def _digest(paths):
    hashed = hashlib.sha256()
    for path in sorted(p for p in paths if p.is_file()):
        hashed.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest()


def fresh(target, sources):
    """Whether `target` is whole and made from these very sources, and how to remember a new one."""
    stamp = BUILD / "stamps" / f"{target.name}.txt"
    made_from = _digest(sources)

    def state():
        return f"{made_from} {_digest([target])}"

    def remember():
        atomic_write(stamp, state())

    return stamp.exists() and stamp.read_text(encoding="utf-8") == state(), remember


def build_explorer():
    """Bundle explorer/ into build/explorer/ where it has changed."""
    sources = [
        *(ROOT / "explorer").iterdir(),
        ROOT / "package-lock.json",
        ROOT / "utils/palette.json",
    ]
    is_fresh, remember = fresh(BUILD / "explorer" / "element.js", sources)
    if not is_fresh:
        subprocess.run([_node(), "explorer/build.mjs"], cwd=ROOT, check=True)
        remember()


def _node():
    node = shutil.which("node")
    if not node:
        raise BuildError("Node.js is not on the PATH. Set it up: make lecture")
    return node


def _sources(deck):
    section = deck.stem
    folders = [ROOT / "figures" / section, DECKS / "live" / section, ROOT / "results"]
    shared = [*DECKS.glob("*.mjs"), *DECKS.glob("*.css"), *DECKS.glob("*.js"), *DECKS.glob("*.svg")]
    inside = [p for folder in folders if folder.exists() for p in folder.iterdir()]
    return [deck, *inside, *shared, ROOT / "utils/palette.json", BUILD / "explorer/element.js"]


def marp(deck, target, *options, still=False, chrome=None):
    """Run Marp on one deck. A warning is an error: it hides a missing picture or a bad setting.

    Raises BuildError with Marp's own message.
    """
    environment = dict(os.environ)
    if still:
        environment["LECTURE_STILL"] = "1"
    if chrome:
        environment |= {"CHROME_PATH": chrome, "CHROME_NO_SANDBOX": "1"}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        draft = pathlib.Path(folder) / target.name
        command = [_node(), str(MARP), "--no-stdin", "-c", str(DECKS / "marp.config.mjs")]
        command += [str(deck), "-o", str(draft), *options]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        text = done.stdout.decode("utf-8", "replace")
        if done.returncode or "WARN" in text or "ERROR" in text or not draft.exists():
            raise BuildError(
                f"{deck.name} was not rendered to {target.suffix[1:]}:\n{text.strip()}"
            )
        draft.replace(target)
    return target


def build_html(names=()):
    """HTML of the decks that have changed."""
    build_explorer()
    built = []
    for deck in decks(names):
        target = BUILD / f"{deck.stem}.html"
        is_fresh, remember = fresh(target, _sources(deck))
        if not is_fresh:
            print(f"slides: {target.relative_to(ROOT)}", flush=True)
            marp(deck, target)
            remember()
        built.append(target)
    return built


def build_print(names=()):
    """PDF and PPTX of the decks that have changed, and lecture.pdf of all. Needs a browser."""
    chrome = browser.find()
    for deck in decks(names):
        for suffix, options in ((".pdf", ["--pdf", "--pdf-outlines"]), (".pptx", ["--pptx"])):
            target = BUILD / f"{deck.stem}{suffix}"
            is_fresh, remember = fresh(target, _sources(deck))
            if not is_fresh:
                print(f"slides: {target.relative_to(ROOT)}", flush=True)
                marp(deck, target, *options, still=True, chrome=chrome)
                remember()
    whole = PdfWriter()
    for deck in decks():
        part = BUILD / f"{deck.stem}.pdf"
        if part.exists():
            whole.append(str(part))
    whole.write(str(BUILD / "lecture.pdf"))


def build_all(names=()):
    """Everything; the HTML stands even where no browser can print."""
    try:
        build_html(names)
        build_print(names)
    except browser.NoBrowser as error:
        print(f"\nThe HTML slides are in build/. No PDF and no PPTX: {error}", file=sys.stderr)
        return 2
    print(f"slides are in {BUILD.relative_to(ROOT)}/")
    return 0

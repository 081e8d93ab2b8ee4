"""Render the decks: HTML that holds everything it needs, PDF, PPTX, notes, one PDF of the lecture."""

import hashlib
import os
import pathlib
import re
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
ELEMENT = ROOT / "build" / "explorer" / "element.js"
MARP = ROOT / "node_modules" / "@marp-team" / "marp-cli" / "marp-cli.js"


class BuildError(RuntimeError):
    """A deck could not be rendered; the message names the deck and the cause."""


def decks(names=()):
    """The decks whose names begin with one of `names`; all of them for no names.

    Raises BuildError for a name that no deck has.
    """
    paths = sorted(DECKS.glob("[0-9][0-9]_*.md"))
    for name in names:
        if not any(p.name.startswith(name) for p in paths):
            listed = ", ".join(p.stem for p in paths)
            raise BuildError(f"no deck begins with {name}. There are: {listed}")
    return [p for p in paths if not names or any(p.name.startswith(n) for n in names)]


def asked(words):
    """The decks and the cuts that the words of ONLY name: `03`, or `03:6,11,12` for three slides.

    Returns (decks, {deck: its slide numbers}). Raises BuildError for what does not exist.
    """
    whole, cuts = [], {}
    for word in words:
        name, colon, listed = word.partition(":")
        if not colon:
            whole.append(name)
            continue
        if not re.fullmatch(r"\d+(,\d+)*", listed):
            raise BuildError(f'"{word}" is not understood. Say it like this: ONLY="03:6,11,12"')
        deck, *more = decks([name])
        if more:
            raise BuildError(f'"{word}" names {1 + len(more)} decks. Name one, as in 03:{listed}')
        cuts[deck] = cuts.get(deck, []) + [int(number) for number in listed.split(",")]
    for deck, numbers in cuts.items():
        there = len(parts(deck)) - 1
        for number in numbers:
            if not 1 <= number <= there:
                raise BuildError(f"{deck.name} has the slides 1 to {there}, and no {number}")
    return decks(whole) if whole or not cuts else [], cuts


def parts(deck):
    """The front matter of a deck and its slides, as Markdown."""
    return deck.read_text(encoding="utf-8").split("\n---\n")


def _digest(paths):
    hashed = hashlib.sha256()
    for path in sorted(p for p in paths if p.is_file()):
        hashed.update(os.path.relpath(path, ROOT).encode() + b"\0" + path.read_bytes())
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
    is_fresh, remember = fresh(ELEMENT, sources)
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
    endings = ("mjs", "css", "js", "svg")
    shared = [p for e in endings for p in [*DECKS.glob(f"*.{e}"), *DECKS.glob(f"deck/*.{e}")]]
    inside = [p for folder in folders if folder.exists() for p in folder.iterdir()]
    return [deck, *inside, *shared, ROOT / "utils/palette.json", ELEMENT]


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


def notes(deck, target, chrome):
    """A handout: the picture of each slide, and the notes below it. Raises BuildError."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        page = pathlib.Path(folder) / "notes.html"
        command = [_node(), str(DECKS / "notes.mjs"), str(deck), str(page)]
        environment = dict(os.environ, LECTURE_STILL="1")
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, encoding="utf-8"
        )
        if done.returncode:
            raise BuildError(f"the notes of {deck.name} were not made:\n{done.stderr.strip()}")
        draft = page.with_suffix(".pdf")
        with sync_playwright() as playwright:
            running = playwright.chromium.launch(
                executable_path=chrome, args=[*browser.FLAGS, *browser.sandbox_flags()]
            )
            sheet = running.new_page()
            sheet.goto(page.as_uri())
            sheet.evaluate("() => document.fonts.ready")
            sheet.pdf(path=draft, prefer_css_page_size=True, print_background=True, outline=True)
            running.close()
        draft.replace(target)
    return target


def _made(target, sources, make):
    """Call `make` if `target` is not what these sources give."""
    is_fresh, remember = fresh(target, sources)
    if not is_fresh:
        print(f"slides: {os.path.relpath(target, ROOT)}", flush=True)
        make()
        remember()
    return target


def build_html(names=()):
    """HTML of the decks that have changed."""
    build_explorer()
    targets = [(deck, BUILD / f"{deck.stem}.html") for deck in decks(names)]
    return [
        _made(target, _sources(deck), lambda d=deck, t=target: marp(d, t))
        for deck, target in targets
    ]


def build_print(names=()):
    """PDF, PPTX and notes of the decks that have changed, and lecture.pdf of all.

    Raises NoBrowser.
    """
    chrome = browser.find()
    for deck in decks(names):
        sources = _sources(deck)
        for suffix, options in ((".pdf", ["--pdf", "--pdf-outlines"]), (".pptx", ["--pptx"])):
            target = BUILD / f"{deck.stem}{suffix}"
            _made(
                target, sources,
                lambda d=deck, t=target, o=options: marp(d, t, *o, still=True, chrome=chrome),
            )  # fmt: skip
        target = BUILD / f"{deck.stem[:2]}-notes.pdf"
        _made(target, sources, lambda d=deck, t=target: notes(d, t, chrome))
    whole = PdfWriter()
    for deck in decks():
        part = BUILD / f"{deck.stem}.pdf"
        if part.exists():
            whole.append(str(part))
    whole.write(str(BUILD / "lecture.pdf"))


def cut(deck, numbers):
    """HTML and PDF of some slides of a deck, in the order asked for. Raises NoBrowser."""
    build_explorer()
    head, *slides = parts(deck)
    short_route = re.compile(r"(<!-- _class: [^>]*?)\blong\b")  # means nothing in a cut
    chosen = [short_route.sub(r"\1", slides[number - 1]) for number in numbers]
    name = "-".join([deck.stem, *map(str, numbers)])
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / f"{name}.md"
        source.write_text("\n---\n".join([head, *chosen]), encoding="utf-8")
        for suffix in (".html", ".pdf"):
            target = BUILD / f"{name}{suffix}"
            print(f"slides: {os.path.relpath(target, ROOT)}", flush=True)
            if suffix == ".html":
                marp(source, target)
            else:
                marp(source, target, "--pdf", still=True, chrome=browser.find())


def build_all(words=()):
    """What `make slides` makes; `words` are those of ONLY. HTML stands even where nothing can print.

    Raises BuildError.
    """
    from tools import pages

    chosen, cuts = asked(words)
    missing = None
    if chosen:
        build_html([deck.stem for deck in chosen])
    try:
        for deck, numbers in cuts.items():
            cut(deck, numbers)
        if chosen:
            build_print([deck.stem for deck in chosen])
    except browser.NoBrowser as error:
        missing = error
    build_html(())  # what the slides link to
    pages.build()
    if missing:
        print(f"\nThe HTML slides are in build/. No PDF and no PPTX: {missing}", file=sys.stderr)
        return 2
    print(f"slides are in {os.path.relpath(BUILD, ROOT)}/")
    return 0

"""Open JupyterLab on a start page that maps the course. Serves 127.0.0.1 only, with a token."""

import os
import pathlib
import socket
import sys
import tempfile
from urllib.parse import quote

import nbformat

from tools import copies, env, minutes, routes, slides, table
from utils import ROOT
from utils.store import atomic_write

HOST = "127.0.0.1"
FIRST_PORT = 8888
TRIES = 100


def free_port(first=FIRST_PORT, tries=TRIES):
    """The first port from `first` on that nobody listens on."""
    for port in range(first, first + tries):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port
    sys.exit(f"no free port between {first} and {first + tries - 1}: stop another server first.")


def start_page(address=None):
    """Write my/START.md: every section with its slides, its figures and the copies in my/.

    `address` is that of the server, where slides open in a tab of their own; without it they open
    inside JupyterLab.
    """
    for sentence in copies.make(copies.MY):
        print(sentence, flush=True)
    lines = [
        "# Generative and density models",
        "",
        "Read a section's slides, then work through its notebooks. These are your own copies: "
        "nothing overwrites what you write there. To have one anew, delete yours and start again.",
        "",
        "| section | notebook | minutes | run |",
        "|---|---|---|---|",
    ]
    for number, deck, notebooks, figures, _ in table.sections():
        section = f"**{int(number)} {table.title(deck)}**<br>{_slides(deck, address)}"
        section += f"<br>{_figures(figures)}"
        for path in notebooks:
            lines.append(f"| {section} | {_links(path)} | {_minutes(path)} | {_run(path)} |")
            section = ""
    lines += [
        "",
        "## Routes",
        "",
        "Less time? Slides by their short route (key s), notebooks by their core path:",
        "",
        *routes.lines(lambda path: _step(path, address)),
        "",
        "## What the columns say",
        "",
        "*Minutes*: core path + deeper parts, which may be left out; one number alone is for the "
        "whole notebook. *Run* counts the cells that had been run when your copy was last saved "
        "before this page was made; ✓ stands for all of them, none of which stopped with an error.",
        "",
        "Symbols: [NOTATION](../NOTATION.md). About the course: [README](../README.md).",
        "",
        "On the slides the key `?` shows all keys."
        + ("" if address else " Press *Trust HTML* above them first, else nothing moves."),
        "",
    ]
    page = copies.MY / "START.md"
    atomic_write(page, "\n".join(lines))
    return page


def _slides(deck, address):
    return f"[slides]({_built(deck, address)}) · [source](../lecture/{deck.name})"


def _built(deck, address):
    return f"{address}/static/{deck.stem}.html" if address else f"../build/{deck.stem}.html"


def _step(path, address):
    """A route's link to the slides, or to the reader's copy of the notebook."""
    if path.suffix == ".md":
        return f"[slides {path.stem[:2]}]({_built(path, address)})"
    return f"[{path.stem[:3]}]({quote(copies.versions(path, copies.MY)[0].name)})"


def _figures(folders):
    shown = "<br>".join(
        f"[{picture.stem}](../figures/{folder.name}/{picture.name})"
        for folder in folders
        for picture in sorted(folder.iterdir())
    )
    return f"<details><summary>figures</summary>{shown}</details>"


def _links(path):
    """The copies of a notebook; the first has its title, a later one is called new."""
    first, *later = copies.versions(path, copies.MY)
    shown = [f"[{path.stem[:3]} {table.title(path)}]({quote(first.name)})"]
    shown += [f"[{copy.stem.partition(' ')[2].strip('()')}]({quote(copy.name)})" for copy in later]
    return " · ".join(shown)


def _minutes(path):
    notebook = nbformat.read(path, 4)
    core, deeper = map(minutes.rounded, minutes.measure(notebook))
    return f"{core} + {deeper}" if minutes.has_deeper(notebook) else str(core)


def _run(path):
    """How far the copy is that was worked in most."""
    run, cells, stopped = max(map(copies.progress, copies.versions(path, copies.MY)))
    if not run:
        return ""
    if run < cells or stopped:
        return f"{run} of {cells} cells" + (", one stopped" if stopped else "")
    return "✓"


def has_screen():
    on_linux = sys.platform.startswith("linux")
    return not on_linux or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(port, arguments=()):
    """What starts JupyterLab; further arguments are passed on."""
    page = start_page(f"http://{HOST}:{port}").relative_to(ROOT).as_posix()
    return [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={ROOT}",
        f"--ServerApp.extra_static_paths={slides.BUILD}",
        f"--LabApp.default_url=/lab/tree/{page}",
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
        *arguments,
    ]


def environment():
    """The settings of this course, and places to write where the home is read-only."""
    variables = dict(os.environ)
    variables["JUPYTER_CONFIG_PATH"] = str(pathlib.Path(__file__).resolve().parent / "jupyter")
    if not os.access(pathlib.Path.home(), os.W_OK):
        home = pathlib.Path(tempfile.mkdtemp(prefix="lecture-"))  # keeps the token: not in build/
        for name in (
            *("JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"),
            *("MPLCONFIGDIR", "IPYTHONDIR"),
        ):
            variables.setdefault(name, str(home / name.lower()))
    return variables


def open_lab(arguments=()):
    port = free_port()
    if port != FIRST_PORT:
        print(f"port {FIRST_PORT} is taken; using {port}")
    if not has_screen():
        print("No screen here: open the address below in a browser.", flush=True)
    started = command(port, [f"--LabApp.open_browser={has_screen()}", *arguments])
    env.hand_over(started, environment())

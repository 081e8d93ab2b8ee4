"""Open JupyterLab on a start page that maps the course. Serves 127.0.0.1 only, with a token."""

import os
import pathlib
import socket
import sys
import tempfile

from tools import slides, table
from utils import ROOT

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


def start_page(address):
    """Write build/START.md: every section with its slides, notebooks and figures."""
    lines = [
        "# Generative and density models",
        "",
        "Read a section's slides, then run its notebooks. "
        "The first notebook to open: the topmost one you have not run.",
        "",
        "| section | slides | notebooks | figures |",
        "|---|---|---|---|",
    ]
    for number, deck, notebooks, figures, _ in table.sections():
        shows = f"[open]({address}/static/{deck.stem}.html) · [source](../lecture/{deck.name})"
        books = "<br>".join(
            f"[{n.stem[:3]} {table.title(n)}](../notebooks/{n.name})" for n in notebooks
        )
        pictures = "<br>".join(
            f"[{p.stem}](../figures/{folder.name}/{p.name})"
            for folder in figures
            for p in sorted(folder.iterdir())
        )
        folded = f"<details><summary>show</summary>{pictures}</details>"
        lines.append(f"| {int(number)} {table.title(deck)} | {shows} | {books} | {folded} |")
    lines += [
        "",
        "Symbols: [NOTATION](../NOTATION.md). About the course: [README](../README.md).",
        "",
        "On the slides: arrow keys turn them, `f` fills the screen, `p` opens the presenter view, "
        "`d` makes a dark room.",
        "",
    ]
    page = slides.BUILD / "START.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text("\n".join(lines), encoding="utf-8")
    return page


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
    os.execve(started[0], started, environment())

"""Run every test: code, decks and browser first, then the notebooks under nbval."""

import os
import subprocess
import sys

from tools import browser, pages, slides
from utils import ROOT

NOTEBOOK_CELL_SECONDS = 300


def run(arguments=()):
    """Return 0 if all passed. Arguments go to pytest; with any, the notebooks are left out."""
    environment = dict(os.environ, LECTURE_QUIET="1", PYTHONUTF8="1")
    in_ci = environment.get("CI", "").lower() in ("1", "true", "yes")
    missing = None
    try:
        environment["CHROME_PATH"] = browser.find_or_install()
    except browser.NoBrowser as error:
        if in_ci:
            print(f"the tests need a browser: {error}", file=sys.stderr)
            return 1
        missing = str(error)
        environment["LECTURE_NO_BROWSER"] = missing
    os.environ.update(environment)
    slides.build_html()
    pages.build()
    if not missing:
        slides.build_print()
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2"]
    failed = subprocess.run([*pytest, "tests", *arguments], cwd=ROOT, env=environment).returncode
    if not arguments:
        failed = notebooks(pytest, environment) or failed
    if missing:
        print(
            f"\n{'!' * 72}\nNOT TESTED for want of a browser: overflowing slides, sliders, PDF and PPTX."
        )
        print(f"{missing}\nThen run: make test\n{'!' * 72}")
    return failed


def notebooks(pytest, environment):
    """Execute all notebooks, two at a time and cut off from the network.

    What they write goes to build/nbval.
    """
    environment = dict(environment, LECTURE_OUT=str(slides.BUILD / "nbval"))
    nobody = "http://127.0.0.1:9"
    environment |= {"HTTP_PROXY": nobody, "HTTPS_PROXY": nobody, "NO_PROXY": "127.0.0.1"}
    command = [*pytest, "--nbval-lax", f"--nbval-cell-timeout={NOTEBOOK_CELL_SECONDS}"]
    command += ["--dist", "loadfile", "-p", "no:cacheprovider", "notebooks"]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode

"""Run every test, or those of one notebook: code, decks and browsers first, then nbval."""

import os
import subprocess
import sys

from tools import browser, notebooks, pages, site, slides, spread, table
from utils import ROOT

NOTEBOOK_CELL_SECONDS = 300
PYTEST = [sys.executable, "-m", "pytest", "-q"]
BROWSERS = {  # variable with its path, variable that says why it is missing, how to get it
    "Chromium": ("CHROME_PATH", "LECTURE_NO_BROWSER", browser.find_or_install),
    "Firefox": ("FIREFOX_PATH", "LECTURE_NO_FIREFOX", browser.find_firefox_or_install),
}


def run(arguments=()):
    """Return 0 if all passed. Arguments go to pytest; with any, the notebooks are left out."""
    missing = prepare()
    slides.build_html()
    pages.build()
    if "Chromium" not in missing:
        site.build()
    failed = subprocess.run([*PYTEST, "-n", "2", "tests", *arguments], cwd=ROOT).returncode
    if not arguments:
        executed = subprocess.run(nbval(["notebooks"]), cwd=ROOT, env=offline()).returncode
        stems = [path.stem for path in notebooks.all_notebooks()]
        failed = failed or executed or strange(stems)
    tell(missing)
    return failed


def check(names):
    """Test one notebook, or a few: its cells, its tests, its deck and page, the rules of the house.

    Return 0 if all passed.
    """
    if not names:
        sys.exit("which notebook? make check ONLY=03a")
    paths = notebooks.choose(names)
    missing = prepare()
    stems = [path.stem for path in paths]
    numbers = sorted({stem[:2] for stem in stems})
    slides.build_html(numbers)
    pages.build(stems)
    if "Chromium" not in missing:
        slides.build_print(numbers)
    with subprocess.Popen(
        nbval([f"notebooks/{stem}.ipynb" for stem in stems], workers=len(stems)), cwd=ROOT,
        env=offline(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    ) as cells:  # fmt: skip
        failed = subprocess.run([*PYTEST, *selected(stems)], cwd=ROOT).returncode
        print(cells.communicate()[0], flush=True)
    tell(missing)
    return failed or cells.returncode or strange(stems)


def selected(stems):
    """What pytest runs for some notebooks: their own tests, all that name them or their deck, and
    of the rules of the house those that name no other."""
    mine, other = set(stems), set()
    for _, deck, books, _, _ in table.sections():
        found = {path.stem for path in books}
        other |= found - mine
        (mine if found & mine else other).add(deck.stem)
    own = {
        path.stem for stem in stems
        for path in (ROOT / "tests").glob(f"test_{stem[:2]}*.py")
        if path.stem[7:8] in (stem[2], "_")
    }  # fmt: skip
    rules = f"(test_repository and not ({' or '.join(sorted(other))}))"
    return [
        "tests",
        "--continue-on-collection-errors",
        "--ignore=tests/test_site.py",  # it needs all pages
        "-k",
        " or ".join([*sorted(mine | own), rules]),
    ]


def strange(stems):
    """Say what the notebooks just recorded far from their ten seeds; return 1 if anything."""
    out = slides.BUILD / "nbval"
    told = [line for s in stems for line in spread.strange(spread.numbers(out, s, "0"), s)]
    print("".join(f"{line}\n" for line in told), end="")
    return int(bool(told))


def prepare():
    """Find the browsers and set the variables of the tests; return {missing browser: why}.

    In CI nothing may be missing.
    """
    os.environ.update(LECTURE_QUIET="1", PYTHONUTF8="1")
    in_ci = os.environ.get("CI", "").lower() in ("1", "true", "yes")
    missing = {}
    for name, (path, why, find) in BROWSERS.items():
        try:
            os.environ[path] = find()
        except browser.NoBrowser as error:
            missing[name] = os.environ[why] = str(error)
            if in_ci:
                sys.exit(f"the tests need a browser: {error}")
    return missing


def tell(missing):
    """Say at the very end what was not tested."""
    for name, why in missing.items():
        left = "slides, sliders, PDF and PPTX in it" if name == "Chromium" else "sliders in it"
        print(f"\n{'!' * 72}\nNOT TESTED for want of {name}: {left}.\n{why}")
        print(f"Then run: make test\n{'!' * 72}")


def nbval(paths, workers=2):
    """The command that executes notebooks; what they write goes to build/nbval."""
    command = [*PYTEST, "-n", str(workers), "--nbval-lax"]
    command += [f"--nbval-cell-timeout={NOTEBOOK_CELL_SECONDS}"]
    return [*command, "--dist", "loadfile", "-p", "no:cacheprovider", *paths]


def offline():
    """The variables of a run that is cut off from the network, one BLAS thread for each notebook."""
    nobody = "http://127.0.0.1:9"
    proxies = {"HTTP_PROXY": nobody, "HTTPS_PROXY": nobody, "NO_PROXY": "127.0.0.1"}
    ours = {"LECTURE_OUT": str(slides.BUILD / "nbval"), "OPENBLAS_NUM_THREADS": "1"}
    return os.environ | proxies | ours

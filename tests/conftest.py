"""What several tests use: the repository, a browser, a quiet page."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("LECTURE_QUIET", "1")

from tools import browser as browsers  # noqa: E402
from utils.checks import Open  # noqa: E402
from utils.notebooks import cells, solutions, source  # noqa: E402

AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
posix = pytest.mark.skipif(os.name == "nt", reason="what it causes is not found on Windows")


def pytest_collection_modifyitems(items):
    """Without a browser the tests marked `browser` say what is left out; in CI there is one."""
    why = os.environ.get("LECTURE_NO_BROWSER")
    for item in items:
        if why and item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.skip(reason=f"not tested, no browser: {why}"))


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=browsers.find(),
            args=[*browsers.FLAGS, *browsers.sandbox_flags()],
        )
        yield running
        running.close()


@pytest.fixture
def page(chromium):
    """A page of a 720p projector without a network; `page.outside` lists what it asked for."""
    context = chromium.new_context(viewport={"width": 1280, "height": 720}, offline=True)
    fresh = context.new_page()
    fresh.outside, fresh.errors = [], []
    local = ("file:", "data:", "blob:", "about:")
    context.on(
        "request", lambda r: None if r.url.startswith(local) else fresh.outside.append(r.url)
    )
    fresh.on("pageerror", lambda error: fresh.errors.append(str(error)))
    yield fresh
    context.close()


def exercise_works(notebook, number, names, wrong, where):
    """An exercise is open as it stands, its solution passes, and `wrong` is told where it fails.

    `names` holds what the checker uses; `wrong` is the code of a wrong answer.
    """
    names = dict(names, exercise=lambda *_, **__: None)
    texts = [source(cell) for cell in cells(notebook)]
    solution = solutions(notebook)[number]
    checker = next(text for text in texts if f"def check_{number}(" in text)
    stub = next(
        text for text in texts
        if text.startswith("def my_") and text.rstrip().endswith("return ...")
        and f"{text.split('(')[0]}(" in solution
    )  # fmt: skip
    answer = stub.split("(")[0].removeprefix("def ")
    exec(stub + "\n\n" + checker, names)
    with pytest.raises(Open):
        names[f"check_{number}"](names[answer])
    exec(solution, names)
    names[f"check_{number}"](names[answer])
    exec(wrong, names)
    with pytest.raises(AssertionError, match=where):
        names[f"check_{number}"](names[answer])

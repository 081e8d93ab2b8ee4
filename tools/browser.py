"""Find a browser, or install one."""

import os
import pathlib
import shutil
import subprocess
import sys

NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "microsoft-edge-stable", "msedge"),
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
FLAGS = (
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--disable-gpu"),
)


class NoBrowser(RuntimeError):
    """No browser is there; the message says how to get one."""


def hint():
    if sys.platform == "darwin":
        return "install Chrome, Chromium or Edge"
    if shutil.which("apt-get"):
        return "sudo apt-get install chromium"
    return "install Chrome, Chromium or Edge, or run: python -m playwright install chromium"


def find():
    """The path of Chrome, Chromium or Edge ($CHROME_PATH first). Raises NoBrowser."""
    chosen = os.environ.get("CHROME_PATH")
    if chosen:
        if pathlib.Path(chosen).exists():
            return chosen
        raise NoBrowser(f"CHROME_PATH names {chosen}, which is not there.")
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    for place in PLACES:
        if pathlib.Path(place).exists():
            return place
    own = _of_playwright()
    if own:
        return own
    raise NoBrowser(f"no Chrome, Chromium or Edge was found. To get one: {hint()}")


def _of_playwright():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if path and pathlib.Path(path).exists() else None


def find_or_install():
    """As `find`, but installs one first: by apt as root on Debian and Ubuntu, else Playwright's."""
    try:
        return find()
    except NoBrowser:
        pass
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        print("[setup] installing chromium", flush=True)
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        for command in (["update", "-qq"], ["install", "-y", "-qq", "chromium"]):
            subprocess.run(["apt-get", *command], env=environment, stdout=subprocess.DEVNULL)
        try:
            return find()
        except NoBrowser:
            pass  # Ubuntu's package is only a pointer to a snap
    subprocess.run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"])
    return find()


def sandbox_flags():
    """Chromium refuses to run as root with its sandbox on."""
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["--no-sandbox"] if as_root else []

"""Find a browser, or install one: Chromium's kind for everything, Firefox for a second opinion."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

from tools.env import ROOT

NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"),
    *("microsoft-edge", "microsoft-edge-stable", "msedge"),
)
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    os.path.expandvars(r"%LOCALAPPDATA%\Google\Chrome\Application\chrome.exe"),
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
    r"C:\Program Files\Microsoft\Edge\Application\msedge.exe",
)
FIREFOX_NAMES = ("firefox-esr", "firefox")
FIREFOX_PLACES = (
    "/Applications/Firefox.app/Contents/MacOS/firefox",
    r"C:\Program Files\Mozilla Firefox\firefox.exe",
)
FIREFOX = "firefox@stable_151.0"
PUPPETEER = ROOT / "node_modules/@puppeteer/browsers/lib/cjs/main-cli.js"
FIREFOX_BY = {
    "apt-get": "sudo apt-get install firefox-esr",
    "brew": "brew install --cask firefox",
    "winget": "winget install Mozilla.Firefox",
}
FLAGS = (
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--no-first-run", "--disable-gpu"),
)
LOCK_SECONDS = 600  # for which apt may be in use by another program


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
    found = _found("CHROME_PATH", NAMES, PLACES) or _of_playwright()
    if found:
        return found
    raise NoBrowser(f"no Chrome, Chromium or Edge was found. To get one: {hint()}")


def find_firefox():
    """The path of Firefox ($FIREFOX_PATH first). Raises NoBrowser."""
    found = _found("FIREFOX_PATH", FIREFOX_NAMES, FIREFOX_PLACES)
    if found:
        return found
    how = next((how for tool, how in FIREFOX_BY.items() if shutil.which(tool)), "install it")
    raise NoBrowser(f"no Firefox was found. To get it: {how}")


def _found(variable, names, places):
    """The browser that a variable names, or one of the usual names and places, or None."""
    chosen = os.environ.get(variable)
    if chosen:
        if pathlib.Path(chosen).exists():
            return chosen
        raise NoBrowser(f"{variable} names {chosen}, which is not there.")
    on_path = (shutil.which(name) for name in names)
    in_place = (place for place in places if pathlib.Path(place).exists())
    return next((path for path in (*on_path, *in_place) if path), None)


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
    install_by_apt("chromium")
    try:
        return find()
    except NoBrowser:
        pass  # no apt, or Ubuntu's package, which is only a pointer to a snap
    subprocess.run([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"])
    return find()


def find_firefox_or_install():
    """As `find_firefox`, but installs one first: Debian's firefox-esr as root, else Mozilla's own."""
    try:
        return find_firefox()
    except NoBrowser:
        pass
    install_by_apt("firefox-esr")
    try:
        return find_firefox()
    except NoBrowser:
        return _of_puppeteer() or find_firefox()


def _of_puppeteer():
    """Mozilla's Firefox, put into build/browsers by a package that Marp brings; None if it cannot."""
    node = shutil.which("node")
    if not node:
        return None
    command = [node, str(PUPPETEER), "install", FIREFOX, "--path", str(ROOT / "build/browsers")]
    command += ["--format", "{{path}}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8")
    path = pathlib.Path(done.stdout.strip())
    return str(path) if path.is_file() else None


def install_by_apt(package):
    """Install a package of Debian or Ubuntu; does nothing without apt-get or as another than root."""
    if not shutil.which("apt-get") or not hasattr(os, "geteuid") or os.geteuid():
        return
    print(f"[setup] installing {package}", flush=True)
    for command in (["update", "-qq"], ["install", "-y", "-qq", package]):
        _apt(*command)


def _apt(*arguments):
    """Run apt-get; while another program holds its lock, say so and wait for it."""
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
    end, told = time.monotonic() + LOCK_SECONDS, False
    while True:
        done = subprocess.run(
            ["apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
        )  # fmt: skip
        locked = done.returncode and "Could not get lock" in done.stderr
        if not locked or time.monotonic() > end:
            break
        if not told:
            print(
                "[setup] another program is installing packages; waiting for it "
                f"(at most {LOCK_SECONDS // 60} minutes)",
                flush=True,
            )
            told = True
        time.sleep(2)
    if done.returncode:
        print(f"[setup] apt-get {' '.join(arguments)}: {done.stderr.strip()}", flush=True)


def sandbox_flags():
    """Chromium refuses to run as root with its sandbox on."""
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["--no-sandbox"] if as_root else []

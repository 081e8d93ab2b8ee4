"""The site of `make site` on a slow machine: Lighthouse's scores, seconds to the first slider, bytes.

    .venv/bin/python benchmarks/site.py

Lighthouse judges the start page and 03a as on a telephone. The first slider is timed with a host that sends
10 Mbit/s and is 40 ms away, on a processor four times slower: from the call of the page, which is scrolled to
an explorer at once, until the model has drawn; then the second page, with what the browser has kept. Two
visits: from the start page to 04a, and from 03a, called directly, to 04a. Chromium slows the page's thread,
not the worker beside it.
"""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from playwright.sync_api import sync_playwright

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import sites  # noqa: E402

from tools import browser, env, site, slides  # noqa: E402

HERE = "benchmarks/lighthouse"
MEGABITS, AWAY_MS, SLOWER, TIMES = 10, 40, 4, 5
SECOND = ("04a_gan.html", "04_gan/game")
VISITS = [(("index.html", site.HERO), SECOND), (("03a_vae.html", "03_vae/plane"), SECOND)]
DRAWN = """name => {
    const element = document.querySelector(`latent-explorer[name='${name}']`);
    for (let e = element?.parentElement; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (element && !element.explorer) element.scrollIntoView();
    return element?.explorer && !element.explorer.frame.hidden && performance.now();
}"""


def lighthouse(address):
    """Lighthouse's scores of 100 in its mobile setting, by category; of performance all TIMES."""
    flags = " ".join(["--headless=new", *browser.FLAGS, *browser.sandbox_flags()])
    scores = {}
    for _ in range(TIMES):
        with tempfile.TemporaryDirectory() as folder:
            target = pathlib.Path(folder) / "report.json"
            subprocess.run(
                [slides._node(), f"{HERE}/node_modules/lighthouse/cli/index.js", address, "--quiet",
                 "--output=json", f"--output-path={target}", f"--chrome-flags={flags}"],
                cwd=ROOT, check=True, env=dict(os.environ, CHROME_PATH=browser.find()),
            )  # fmt: skip
            report = json.loads(target.read_text(encoding="utf-8"))
        for name, category in report["categories"].items():
            scores.setdefault(name, []).append(round(100 * category["score"]))
    return scores


def seconds(chromium, base, sent, visit):
    """Seconds to the slider of a visit's first page, then of its second; and bytes of the first."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    sent.clear()
    spent = []
    for name, explorer in visit:
        page.goto(base + name, wait_until="commit")
        drawn = page.wait_for_function(DRAWN, arg=explorer, timeout=60_000)
        spent.append(drawn.json_value() / 1000)
        if name == visit[0][0]:
            size = sum(each for _, each in sent)
    context.close()
    return *spent, size


def main():
    env.add_node_modules(HERE)
    with sites.hosted() as (base, _):
        for name in ("index.html", "03a_vae.html"):
            print(name, lighthouse(base + name), flush=True)
    with (
        sites.hosted(rate=MEGABITS * 1e6 / 8, away=AWAY_MS / 1000) as (base, sent),
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(
            executable_path=browser.find(), args=[*browser.FLAGS, *browser.sandbox_flags()]
        )
        for visit in VISITS:
            first, second, size = zip(*(seconds(chromium, base, sent, visit) for _ in range(TIMES)))
            for (name, _), spent in zip(visit, (first, second)):
                print(
                    f"{name}: {statistics.median(spent):.2f} s ({min(spent):.2f} to {max(spent):.2f})"
                )
            print(f"{max(size) / 1e6:.2f} MB to the first slider", flush=True)
        chromium.close()


if __name__ == "__main__":
    main()

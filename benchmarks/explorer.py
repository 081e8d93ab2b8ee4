"""How fast the sliders answer: on a slide, in JupyterLab, and beside `interact` with `plt.show()`.

    .venv/bin/python benchmarks/explorer.py

Run it on a quiet machine after `make slides`. Times are from a real key press to the frame that
shows the new picture, in milliseconds.
"""

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import nbformat
from playwright.sync_api import TimeoutError, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import browser, server, slides

KEYS = 80
ERROR = ".jp-RenderedText[data-mime-type$='.stderr']"
NAME = "03_vae/plane"

# Remember when a key went down, and when the frame after a change was painted.
WATCH = """
() => {
  window.times = [];
  window.pressed = null;
  document.addEventListener('keydown', e => { window.pressed = e.timeStamp; }, true);
  window.changed = () => requestAnimationFrame(() => {
    const port = new MessageChannel();
    port.port1.onmessage = () => {
      if (window.pressed !== null) window.times.push(performance.now() - window.pressed);
      window.pressed = null;
    };
    port.port2.postMessage(null);
  });
}
"""

INTERACT = f"""
import matplotlib.pyplot as plt, numpy as np, onnxruntime
from ipywidgets import interact, FloatSlider
from utils import ROOT
session = onnxruntime.InferenceSession(str(ROOT / 'lecture/live/{NAME}.onnx'))
def draw(z1, z2):
    image = session.run(['image'], {{'u': np.array([[z1, z2]], dtype=np.float32)}})[0]
    plt.figure(figsize=(3, 3)); plt.imshow(image[0, 0], vmin=0, vmax=1); plt.axis('off'); plt.show()
interact(draw, z1=FloatSlider(0, min=-3, max=3, step=0.05), z2=FloatSlider(0, min=-3, max=3, step=0.05));
"""


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def line(what, values):
    p50, p95 = statistics.median(values), percentile(values, 0.95)
    print(f"{what:46s} {p50:7.1f} {p95:7.1f}   ({len(values)} keys)", flush=True)
    return p50


def press(page, keys=KEYS, pause=60):
    for i in range(keys):
        page.keyboard.press("ArrowRight" if i % 40 < 20 else "ArrowLeft")
        page.wait_for_timeout(pause)
    return page.evaluate("() => window.times")


def on_slide(chromium):
    page = chromium.new_page(viewport={"width": 1280, "height": 720})
    deck = slides.BUILD / f"{NAME.split('/')[0]}.html"
    first = []
    for _ in range(5):
        page.goto("about:blank")
        page.goto(deck.as_uri())
        page.wait_for_function(
            "name => document.querySelector(`[name='${name}']`)?.dataset.state", arg=NAME
        )
        first.append(page.evaluate("() => performance.now()"))
    print(
        f"first picture on the slide, s: median {statistics.median(first) / 1000:.2f} of {len(first)}"
    )
    number = page.evaluate(
        "n => document.querySelector(`[name='${n}']`).closest('section').id", NAME
    )
    page.goto(f"{deck.as_uri()}#{number}")
    page.evaluate(WATCH)
    page.evaluate(
        "n => document.querySelector(`[name='${n}']`).addEventListener('explorer-drawn', changed)",
        NAME,
    )
    page.locator(f'[name="{NAME}"] .pad').focus()
    values = press(page)
    page.close()
    return line("slide: key to frame", values)


@contextlib.contextmanager
def jupyterlab():
    port, token = server.free_port(9400), "benchmark"
    options = [f"--IdentityProvider.token={token}", "--LabApp.open_browser=False"]
    with tempfile.TemporaryDirectory() as folder:
        environment = server.environment() | {"JUPYTERLAB_WORKSPACES_DIR": folder}
        process = subprocess.Popen(
            server.command(port, options),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        address = f"http://127.0.0.1:{port}"
        while True:
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=2)
                break
            except OSError:
                time.sleep(0.3)
        try:
            yield address, token
        finally:
            process.terminate()
            process.wait()


def answer(dialog):
    """Take the kernel that is offered, decline the rest."""
    accept = "ernel" in dialog.inner_text()
    dialog.locator(".jp-mod-accept" if accept else ".jp-mod-reject, .jp-mod-accept").first.click()


def run_cell(chromium, lab, name, source, ready):
    """Run a cell in a notebook and a workspace of its own, until the selector `ready` is there."""
    address, token = lab
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    path = slides.BUILD / "scratch" / f"benchmark_{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    page = chromium.new_page(viewport={"width": 1400, "height": 900})
    page.add_locator_handler(page.locator(".jp-Dialog"), answer)
    place = f"lab/workspaces/{name}/tree/build/scratch/{path.name}"
    page.goto(f"{address}/{place}?token={token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000)
    for _ in range(20):  # the kernel, just started, lets the first press pass
        page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea-editor").first.click()
        page.keyboard.press("Control+Enter")
        with contextlib.suppress(TimeoutError):
            page.wait_for_selector(f"{ready}, {ERROR}", timeout=10_000)
            break
    if page.locator(ERROR).count():
        sys.exit(page.locator(ERROR).first.inner_text())
    page.wait_for_timeout(1500)
    page.evaluate(WATCH)
    return page


def in_jupyterlab(chromium, lab):
    source = f"from utils import explore\nexplore.Explorer('{NAME}')"
    page = run_cell(chromium, lab, "explorer", source, "[data-state=live]")
    page.locator("[data-state=live]").evaluate("e => e.addEventListener('explorer-drawn', changed)")
    page.locator("[data-state=live] .pad").focus()
    values = press(page)
    page.close()
    return line("JupyterLab, explorer: key to frame", values)


def with_interact(chromium, lab):
    page = run_cell(chromium, lab, "interact", INTERACT, ".noUi-handle")
    page.evaluate(
        """() => new MutationObserver(found => {
            for (const change of found) for (const node of change.addedNodes) {
                const image = node.querySelector?.('img') ?? (node.tagName === 'IMG' ? node : null);
                if (image) image.decode().then(changed, changed);
            }
        }).observe(document.querySelector('.jp-Notebook'), {childList: true, subtree: true})"""
    )
    page.locator(".noUi-handle").first.focus()
    values = press(page, pause=350)
    page.close()
    return line("JupyterLab, interact + plt.show: key to frame", values)


def main():
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=browser.find(), args=[*browser.FLAGS, *browser.sandbox_flags()]
        )
        print(f"{'':46s} {'p50':>7s} {'p95':>7s}   ms")
        on_slide(chromium)
        with jupyterlab() as lab:
            ours = in_jupyterlab(chromium, lab)
            theirs = with_interact(chromium, lab)
        print(f"interact takes {theirs / ours:.1f} times as long")
        chromium.close()


if __name__ == "__main__":
    main()

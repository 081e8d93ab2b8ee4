"""Explorers in JupyterLab, as `make lecture` opens it."""

import re
import subprocess
import time
import urllib.error
import urllib.request

import nbformat
import pytest
from conftest import ROOT
from moving import drag
from windows import until

from tools import server, slides

pytestmark = pytest.mark.browser
ROOT_OF_WIDGET = "document.querySelector('.jp-Notebook [data-state=live]').shadowRoot"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A JupyterLab as `make lecture` starts it; yields (address, token)."""
    folder = tmp_path_factory.mktemp("lab")
    port, token = server.free_port(9200), "test-token"
    command = server.command(
        port, [f"--IdentityProvider.token={token}", "--LabApp.open_browser=False"]
    )
    log = (folder / "lab.log").open("w")
    own = {"JUPYTERLAB_WORKSPACES_DIR": str(folder), "JUPYTERLAB_SETTINGS_DIR": str(folder)}
    process = subprocess.Popen(command, env=server.environment() | own, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(480):
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=2)
                break
            except OSError:
                assert process.poll() is None, (folder / "lab.log").read_text()
                time.sleep(0.5)
        yield address, token
    finally:
        process.terminate()
        process.wait(20)


def scratch_notebook(name, *sources):
    """A notebook in build/scratch that the lab can open."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    path = slides.BUILD / "scratch" / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path.relative_to(ROOT).as_posix()


def answer(dialog):
    """What a reader would press: take the kernel that is offered, decline the rest."""
    wanted = (
        ".jp-mod-accept" if "ernel" in dialog.inner_text() else ".jp-mod-reject, .jp-mod-accept"
    )
    dialog.locator(wanted).first.click()


@pytest.fixture
def notebook(chromium, lab):
    """Opens cells in JupyterLab: notebook("name", *cells) gives the page, dialogs answered."""
    address, token = lab
    contexts = []

    def open_notebook(name, *sources, script="", width=1400):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.add_init_script(script)
        page.add_locator_handler(page.locator(".jp-Dialog"), answer)
        # a workspace of its own: the others bring the notebooks of other tests back, as tabs
        place = f"lab/workspaces/{name}-{width}/tree/{scratch_notebook(name, *sources)}"
        page.goto(f"{address}/{place}?token={token}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        kernel_rests(page)
        return page

    yield open_notebook
    for context in contexts:
        context.close()


def kernel_rests(page):
    until(
        page,
        "the kernel is idle",
        "() => document.querySelector('.jp-Notebook-ExecutionIndicator')?.dataset.status === 'idle'",
    )


def run_cell(page, number):
    """Press Shift+Enter in a cell; again if the kernel, just started, let the first one pass."""
    from playwright.sync_api import TimeoutError

    cell = page.locator(".jp-Notebook .jp-CodeCell").nth(number)
    prompt = cell.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    script = """([number, before, ended]) => {
        const cell = document.querySelectorAll(".jp-Notebook .jp-CodeCell")[number];
        const now = cell.querySelector(".jp-InputPrompt").innerText;
        return now !== before && (ended ? /\\d/ : /[*\\d]/).test(now);
    }"""
    for _ in range(30):
        cell.locator(".jp-InputArea-editor").click()
        page.keyboard.press("Shift+Enter")
        try:
            page.wait_for_function(script, arg=[number, before, False], timeout=4000)
            break
        except TimeoutError:
            continue
    until(page, f"cell {number} has run", script, [number, before, True])


def widget(page, state="live"):
    page.wait_for_selector(f".jp-Notebook [data-state={state}]")
    return page.locator(".jp-Notebook [data-state]").first


def knob_and_values(page):
    """Where the knob stands on the pad, as values, and what is written below it."""
    left, top, words = page.evaluate(
        f"""() => {{
            const {{ left, top }} = {ROOT_OF_WIDGET}.querySelector(".knob").style;
            return [left, top, {ROOT_OF_WIDGET}.querySelector(".reading").innerText];
        }}"""
    )
    place = [0.06 * float(left.strip("%")) - 3, 3 - 0.06 * float(top.strip("%"))]
    return place, re.findall(r"−?\d+\.\d+", words)


def test_start_page_of_jupyterlab(chromium, lab):
    address, token = lab
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(f"{address}/?token={token}")
    page.wait_for_selector(".jp-RenderedMarkdown h1", timeout=120_000)
    assert page.get_by_role("link", name="03a Build a variational autoencoder").first.is_visible()
    assert page.request.get(f"{address}/static/03_vae.html").ok
    context.close()


def test_widget_and_python_hold_the_same_values(notebook):
    """Two lines in a fresh kernel; drag, keys and Python move the same two numbers."""
    page = notebook(
        "values",
        "from utils import explore\nexplore.Explorer('03_vae/plane')",
        "print('values', [round(v, 2) for v in _.values]); shown = _",
        "shown.values = [-1.2, 2.1]",
    )
    run_cell(page, 0)
    explorer = widget(page)
    drag(page, explorer.locator(".pad").bounding_box(), (0.5, 0.5), (0.75, 0.4))
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    until(
        page,
        "the values rest, and Python is told",
        f"() => {ROOT_OF_WIDGET}.querySelector('.status').textContent",
    )
    place, words = knob_and_values(page)
    assert place == pytest.approx([1.5, 0.75], abs=0.05)
    shown = [float(word.replace("−", "-")) for word in words]
    for _ in range(10):  # one message is sent at a time: the last may be on its way
        kernel_rests(page)
        run_cell(page, 1)
        said = page.locator(".jp-OutputArea-output", has_text="values [").inner_text()
        numbers = [float(n) for n in re.findall(r"-?[\d.]+", said)]
        if numbers == shown:
            break
    assert numbers == shown
    run_cell(page, 2)
    until(
        page,
        "the pad follows Python",
        f"() => {ROOT_OF_WIDGET}.querySelector('output').value === '−1.20'",
    )
    assert knob_and_values(page)[0] == pytest.approx([-1.2, 2.1], abs=1e-6)


COUNT = """{
    const real = WebAssembly.instantiate;
    window.made = [];
    WebAssembly.instantiate = async (...all) => {
        const result = await real(...all);
        made.push(result.instance ?? result);
        return result;
    };
}"""
MEMORY = """() => made.flatMap((m) => Object.values(m.exports))
    .filter((e) => e instanceof WebAssembly.Memory).map((m) => m.buffer.byteLength)"""


def test_one_runtime_for_a_page_however_often_a_cell_runs(notebook):
    page = notebook(
        "again", "from utils import explore\nexplore.Explorer('03_vae/plane')", script=COUNT
    )
    run_cell(page, 0)
    widget(page)
    memory = page.evaluate(MEMORY)
    for _ in range(4):
        page.evaluate(
            "() => document.querySelector('.jp-Notebook [data-state]').classList.add('old')"
        )
        run_cell(page, 0)
        page.wait_for_selector(".jp-Notebook [data-state=live]:not(.old)")
    assert page.locator(".jp-Notebook [data-state]").count() == 1
    assert page.evaluate("() => made.length") == 1
    assert page.evaluate(MEMORY) == memory, "what is gone has left the runtime too"


def test_notebook_turns_dark_and_is_loaded_again(notebook):
    page = notebook("dark", "from utils import explore\nexplore.Explorer('03_vae/plane')")
    run_cell(page, 0)
    explorer = widget(page)
    before = explorer.evaluate("e => e.shadowRoot.querySelector('canvas').toDataURL()")
    page.get_by_role("menuitem", name="Settings").first.click()
    page.get_by_text("Theme", exact=True).first.hover()
    page.get_by_text("JupyterLab Dark", exact=True).first.click()
    until(
        page,
        "the picture is repainted in dark colours",
        """before => {
            const e = document.querySelector(".jp-Notebook [data-state=live]");
            return getComputedStyle(e).getPropertyValue("--paper").trim() === "#12151b"
                && e.shadowRoot.querySelector("canvas").toDataURL() !== before;
        }""",
        before,
    )
    explorer.locator(".pad").focus()
    page.keyboard.press("Shift+ArrowRight")
    values = explorer.locator(".reading").inner_text()
    until(
        page,
        "Python is told",
        f"() => {ROOT_OF_WIDGET}.querySelector('.status').textContent",
    )
    kernel_rests(page)
    page.keyboard.press("Escape")
    page.get_by_role("menuitem", name="File").first.click()
    page.get_by_text("Save Notebook", exact=True).first.click()
    until(page, "the notebook is saved", "() => !document.querySelector('.jp-mod-dirty')")
    page.reload()
    explorer = widget(page)
    assert explorer.locator(".reading").inner_text() == values, "the values that Python has"


@pytest.mark.parametrize("width, zoom", [(900, 1), (1400, 1.5)])
def test_picture_and_pad_stand_side_by_side_in_the_notebook(notebook, width, zoom):
    """Also where the browser shows everything half as large again."""
    page = notebook(
        "side",
        "from utils import explore\nexplore.Explorer('03_vae/plane')",
        width=round(width / zoom),
    )
    run_cell(page, 0)
    explorer = widget(page)
    stage, pad = (explorer.locator(part).bounding_box() for part in (".stage", ".pad"))
    assert pad["x"] > stage["x"] + stage["width"] and pad["y"] < stage["y"] + 20
    assert min(stage["width"], pad["width"]) > 150


def test_lab_is_for_this_machine_only(lab):
    """Fault 16: 127.0.0.1, and nothing without the token."""
    address, _ = lab
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{address}/api/contents", timeout=5)
    assert refused.value.code == 403
    assert "--ServerApp.ip=127.0.0.1" in server.command(9999)

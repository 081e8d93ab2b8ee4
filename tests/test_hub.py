"""The server of a class: hub/ on loopback, with users of this machine and their passwords.

The whole rehearsal, six students and their memory and seconds, is benchmarks/hub.py.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import urllib.error

import classroom
import kernels
import nbformat
import pytest
import yaml
from conftest import ROOT

HUB = ROOT / "hub"
VALUES = yaml.safe_load((HUB / "values.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def room():
    """Two students who have logged in and pulled the course, or why that cannot be."""
    why = classroom.why_not()
    if why:
        pytest.skip(f"no class on this machine: {why}")
    with classroom.Classroom(["ada", "bob"]) as room:
        for student in room.students:
            student.log_in()
            student.start_server()
            student.pull()
        yield room


@pytest.fixture(scope="module")
def ada(room):
    return room.students[0]


@pytest.fixture(scope="module")
def bob(room):
    return room.students[1]


@pytest.fixture(scope="module")
def kernel(ada):
    """Ada's kernel of 03a."""
    return ada.open("03a_vae.ipynb")


def test_only_students_come_in(ada, bob):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        ada.log_in("not her password")
    subprocess.run(["usermod", "--groups", "", bob.name], check=True)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        bob.log_in()
    subprocess.run(["usermod", "--groups", "students", bob.name], check=True)
    bob.log_in()


def test_a_student_lands_in_the_own_copy(room, ada):
    """The server's first page pulls the course, then opens its map."""
    ada.browser.open(f"http://127.0.0.1:{room.port}/hub/login", timeout=classroom.SECONDS)
    with ada.browser.open(f"http://127.0.0.1:{room.port}/user/{ada.name}/") as page:
        assert f"/user/{ada.name}/git-pull?repo=git" in page.url
        assert "urlpath=lab%2Ftree%2Fgenerative-lecture%2FREADME.md" in page.url
    assert ada.copy.joinpath("README.md").exists()


def test_cells_run_in_the_own_copy_and_sliders_move(ada, kernel):
    code = (
        "import os, utils\nfrom utils import explore\n"
        "print(os.getcwd(), utils.__file__, explore.BUNDLE.resolve())"
    )
    where, imported, bundle = kernel.run(code).split()
    assert where == str(ada.copy / "notebooks")
    assert imported == str(ada.copy / "utils/__init__.py")
    assert bundle == str(ada.room.course / "build/explorer")
    kernel.run("from utils import explore\nlive = explore.Explorer('03_vae/plane')\nlive")
    kernel.move_slider([1.5, -0.5])
    assert kernel.run("print(live.values)").strip() == "[1.5, -0.5]"


def test_nobody_reads_what_is_anothers(room, ada, bob, kernel):
    (ada.home / "diary.txt").write_text("mine")
    sockets = f"/run/lecture-hub/{ada.name}"
    for place in (ada.home, ada.home / "diary.txt", ada.copy / "README.md", sockets):
        status, said = bob.run("ls" if str(place) == sockets else "cat", place)
        assert status and "Permission denied" in said
    for path in (f"/user/{ada.name}/api/contents/diary.txt", f"/hub/api/users/{ada.name}"):
        with pytest.raises(urllib.error.HTTPError, match=r"403|404"):
            bob.ask("GET", path)
    for place in (room.course / "utils/__init__.py", classroom.VENV / "lecture-stamp.txt"):
        status, said = bob.run("sh", "-c", 'echo mine >> "$0"', place)
        assert status and "Permission denied" in said
    (speaks,) = pathlib.Path(sockets).glob(f"kernel-{kernel.number}.json")
    by = json.loads(speaks.read_text())["transport"]
    assert by == "ipc", "every user could listen at a kernel's ports"


def test_a_kernel_over_its_memory_says_so_alone(ada, bob, kernel):
    """What it may have is 2 GB: the cell that wants more stops, and all else goes on."""
    other, bobs = ada.open("01a_mixtures.ipynb"), bob.open("03a_vae.ipynb")
    for each in (kernel, other, bobs):
        each.run("kept = 7")
    with pytest.raises(kernels.CellError) as stopped:
        kernel.run("rows = [bytearray(10**8) for _ in range(100)]")
    assert stopped.value.args[0] == "MemoryError"
    with pytest.raises(kernels.CellError, match="can't allocate memory"):
        kernel.run("import torch\ntorch.zeros(10**9)")
    assert kernel.run("print(kept)") == "7\n"
    number = int(kernel.run("import os\nprint(os.getpid())"))
    assert kernel.state_after(lambda: os.kill(number, signal.SIGKILL)) == "restarting"
    assert other.run("print(kept)") == bobs.run("print(kept)") == "7\n"
    kernel.connect()  # as JupyterLab does: the old line may miss what the new kernel prints
    assert kernel.run("print('kept' in globals())") == "False\n"


def test_the_hub_restarts_and_they_go_on(room, ada, bob):
    kernels = [student.open("03a_vae.ipynb") for student in (ada, bob)]
    for kernel in kernels:
        kernel.run("trained = 42")
    room.stop()
    room.start()
    for kernel in kernels:
        kernel.connect()
        assert kernel.run("print(trained)") == "42\n"
    bob.log_in()


def test_an_update_keeps_the_students_work(room, ada):
    own = ada.copy / "notebooks/03a_vae.ipynb"
    notebook = nbformat.read(own, 4)
    notebook.cells[1].source += "\nmine = 1"
    nbformat.write(notebook, own)
    (ada.copy / "essay.md").write_text("mine")
    edition = nbformat.read(room.source / "notebooks/03a_vae.ipynb", 4)
    edition.cells[0].source += "\nSecond edition."
    nbformat.write(edition, room.source / "notebooks/03a_vae.ipynb")
    (room.source / "news.md").write_text("new")
    room.commit("a new edition")
    ada.pull()
    assert (ada.copy / "news.md").read_text() == "new"
    assert (ada.copy / "essay.md").read_text() == "mine"
    merged = nbformat.read(own, 4)
    assert merged.cells[0].source.endswith("Second edition.")
    assert merged.cells[1].source.endswith("mine = 1")


# ------------------------------------------------------------------ without a class


def test_values_and_configuration_agree():
    """One machine and Kubernetes give a student the same."""
    text = (HUB / "jupyterhub_config.py").read_text(encoding="utf-8")
    single = VALUES["singleuser"]
    assert "prlimit" in text and single["cmd"][0] == "prlimit"
    assert (
        int(single["cmd"][1].partition("=")[2]) == 2 * 2**30 and "KERNEL_BYTES = 2 * 2**30" in text
    )
    assert f'STUDENT_MEMORY = "{single["memory"]["limit"]}"' in text
    assert f"STUDENT_CORES = {single['cpu']['limit']}\n" in text
    assert VALUES["cull"] == {"enabled": True, "timeout": 3600} and "IDLE_SECONDS = 3600" in text
    assert single["defaultUrl"].startswith("/git-pull?repo=")
    assert all(isinstance(value, str) for value in single["extraEnv"].values())


def test_values_name_only_what_the_chart_knows():
    assert set(VALUES) == {"hub", "proxy", "singleuser", "cull"}
    assert set(VALUES["singleuser"]) <= {
        *("image", "cmd", "defaultUrl", "extraEnv", "memory", "cpu", "storage"),
    }


def test_the_image_has_the_puller():
    pins = (HUB / "requirements.txt").read_text(encoding="utf-8")
    assert re.search(r"^nbgitpuller==", pins, re.M)
    assert "-c hub/requirements.txt nbgitpuller" in (ROOT / "postBuild").read_text(encoding="utf-8")


def test_the_pages_ten_commands():
    """hub/README.md promises ten; each file that they name is there."""
    page = (HUB / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```sh\n(.*?)```", page, re.S).group(1)
    assert len([line for line in block.splitlines() if line and line[0] not in "# "]) <= 10
    for name in re.findall(r"hub/[\w.-]+", block):
        assert (ROOT / name).exists()


def test_the_proxy_is_pinned_with_its_hash():
    lock = json.loads((HUB / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((HUB / "package.json").read_text(encoding="utf-8"))["dependencies"]
    for name, version in wanted.items():
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
    packages = [p for where, p in lock["packages"].items() if where]
    assert all("integrity" in p and "resolved" not in p for p in packages)

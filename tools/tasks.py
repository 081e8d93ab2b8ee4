"""The tasks of the Makefile, run inside the environment that tools/env.py made."""

import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

TASKS = {}


def task(function):
    TASKS[function.__name__] = function
    return function


@task
def lecture(*arguments):
    from tools import pages, server, slides

    slides.build_html()
    pages.build()
    return server.open_lab(arguments)


@task
def test(*arguments):
    from tools import testing

    return testing.run(arguments)


@task
def check(*names):
    from tools import testing

    return testing.check(names)


@task
def slides(*words):
    from tools import slides as module

    return module.build_all(words)


@task
def pages(*names):
    from tools import pages as module

    return module.build(names)


@task
def site():
    from tools import site as module

    return module.build()


@task
def notebooks(*names):
    from tools import notebooks as module
    from tools import table

    return module.run(names) or table.write()


@task
def spread(*names):
    from tools import spread as module

    return module.run(names)


@task
def readers():
    from tools import readers as module

    return module.run()


@task
def figures():
    from tools import notebooks as module

    return module.run(only_stale=True)


@task
def portrait():
    from tools import portrait as module

    return module.film()


@task
def binder():
    from tools import env, pages, server, slides

    prefix = pathlib.Path(sys.prefix)
    env.write_kernel(prefix)
    config = env.KERNEL.with_name("labconfig")
    shutil.copytree(config, prefix / "etc/jupyter/labconfig", dirs_exist_ok=True)
    slides.build_html()
    pages.build()
    server.start_page()


@task
def hub():
    from tools import hub as module

    return binder() or module.install()


@task
def results():
    from tools import table

    return table.write()


@task
def lint():
    ruff = [sys.executable, "-m", "ruff"]
    checked = subprocess.run([*ruff, "check", "."]).returncode
    return subprocess.run([*ruff, "format", "--check", "."]).returncode or checked


@task
def newest():
    from tools import newest as module

    module.lift()
    return lock()


@task
def lock():
    from utils import ROOT

    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "uv"], check=True)
    compiled = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "pyproject.toml", "--universal", "-q"),
            *("--python-version", "3.10", "--no-annotate", "--no-header"),
        ],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, encoding="utf-8",
    ).stdout  # fmt: skip
    path = ROOT / "requirements.txt"
    head = path.read_text(encoding="utf-8").partition("-e .\n")[0]
    path.write_text(head + "-e .\n" + compiled, encoding="utf-8", newline="\n")
    return 0


def main():
    name, *arguments = sys.argv[1:] or ["?"]
    if name not in TASKS:
        sys.exit(f"no task {name}; there are {', '.join(TASKS)}")
    from tools import env

    try:
        env.check_tree()
        sys.exit(_run(name, arguments) or 0)
    except env.SetupError as error:
        sys.exit(f"\n{error}")


def _run(name, arguments):
    """Run a task; what can go wrong outside the project becomes a SetupError with its words."""
    from tools import env
    from tools.slides import BuildError
    from utils.store import SaveError

    try:
        return TASKS[name](*arguments)
    except (BuildError, SaveError) as error:
        raise env.SetupError(str(error)) from error
    except subprocess.CalledProcessError as error:
        told = " ".join(map(str, error.cmd))
        raise env.SetupError(f"this command failed; its message is above:\n    {told}") from error
    except PermissionError as error:
        if not error.filename:
            raise
        place = pathlib.Path(error.filename2 or error.filename)
        existing = place if place.exists() else place.parent
        raise env.SetupError(env.not_writable(existing)) from error


if __name__ == "__main__":
    main()

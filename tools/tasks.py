"""The tasks of the Makefile, run inside the environment that tools/env.py made."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

TASKS = {}


def task(function):
    TASKS[function.__name__] = function
    return function


@task
def lecture(*arguments):
    from tools import server, slides

    slides.build_html()
    return server.open_lab(arguments)


@task
def test(*arguments):
    from tools import testing

    return testing.run(arguments)


@task
def slides(*names):
    from tools import slides as module

    return module.build_all(names)


@task
def pages(*names):
    from tools import pages as module

    return module.build(names)


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
def figures():
    from tools import notebooks as module

    return module.run(only_stale=True)


@task
def portrait():
    from tools import portrait as module

    return module.film()


@task
def binder():
    from tools import server, slides

    slides.build_html()
    server.start_page("..")


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
    path.write_text(head + "-e .\n" + compiled, encoding="utf-8")
    return 0


def main():
    name, *arguments = sys.argv[1:] or ["?"]
    if name not in TASKS:
        sys.exit(f"no task {name}; there are {', '.join(TASKS)}")
    from tools.slides import BuildError

    try:
        sys.exit(TASKS[name](*arguments) or 0)
    except BuildError as error:
        sys.exit(f"\n{error}")


if __name__ == "__main__":
    main()

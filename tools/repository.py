"""Which files belong to the project, with git or without (a downloaded ZIP, another user's tree)."""

import fnmatch
import os
import pathlib
import subprocess

from utils import ROOT


def tracked(root=ROOT):
    """Every file of the project: what git lists, else all that .gitignore does not name."""
    names = _listed(root) or _walked(root)
    return [root / name for name in sorted(names) if (root / name).is_file()]


def _listed(root):
    """What git knows and what it would take up; nothing where git does not answer."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
        )
    except OSError:
        return []
    return [] if done.returncode else [name for name in done.stdout.split("\0") if name]


def _walked(root):
    """The same from the folders; knows the patterns of .gitignore that are names."""
    lines = (root / ".gitignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.rstrip("/") for line in lines if line and not line.startswith("#")]

    def kept(name):
        return name != ".git" and not any(fnmatch.fnmatch(name, p) for p in patterns)

    found = []
    for folder, below, files in os.walk(root):
        below[:] = filter(kept, below)
        place = pathlib.Path(folder).relative_to(root)
        found += [(place / name).as_posix() for name in filter(kept, files)]
    return found

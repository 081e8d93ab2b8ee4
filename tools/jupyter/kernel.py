"""Start a kernel that the reader's own settings do not reach; run by `python -I`.

tools/env.py copies this file beside the environment's kernel.json. Python's option -I already leaves
out PYTHONPATH, PYTHONOPTIMIZE, PYTHONSTARTUP and what lies in the user's own site-packages. Here the
copy of the course in which the notebook lies becomes the first place to import from: a module called
`utils` somewhere else is not taken for ours, and of two copies that share an environment each runs
its own code. What lies beside the notebook comes last, so that it hides nothing. Figures are drawn in
the notebook, and no start-up file of IPython is run. In a class (hub/) a student's copy borrows what
was set up once, for all.
"""

import os
import sys
from pathlib import Path

HARMLESS = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONUNBUFFERED")


def course(folder):
    """The copy of the course that a folder lies in, or None."""
    places = [folder, *folder.parents]
    return next((p for p in places if (p / "utils/data/digits.py").exists()), None)


def borrow(root, shared):
    """Link what the set-up made for the copy `shared` into a copy that has none of its own."""
    for name in ("node_modules", "build/explorer"):
        place = root / name
        if not place.exists() and not place.is_symlink():
            place.parent.mkdir(exist_ok=True)
            place.symlink_to(Path(shared, name), target_is_directory=True)


def isolate():
    for name in list(os.environ):
        if name.startswith("PYTHON") and name not in HARMLESS:
            del os.environ[name]
    os.environ["PYTHONUTF8"] = os.environ["PYTHONNOUSERSITE"] = "1"
    os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    os.environ.pop("MATPLOTLIBRC", None)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch is loaded
    sys.path.append("")
    root = course(Path.cwd())
    if root:
        sys.path.insert(0, str(root))
        os.environ["PYTHONPATH"] = str(root)  # for what the notebook starts
        os.environ["IPYTHONDIR"] = str(root / "build" / "ipython")
        if "LECTURE_SHARED" in os.environ:
            borrow(root, os.environ["LECTURE_SHARED"])


if __name__ == "__main__":
    isolate()
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()

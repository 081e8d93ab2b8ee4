"""Install what the server of a class needs, beside the course: JupyterHub, nbgitpuller, the proxy."""

import os
import pathlib
import shutil
import sys

from tools import env
from utils import ROOT

HUB = ROOT / "hub"


def install():
    """Into the course's own environment, which host and students share; then say what comes next."""
    python = pathlib.Path(sys.executable)
    install_python(python)
    install_proxy()
    print(f"\nThe server is installed. Go on with {HUB / 'README.md'}.")
    return 0


def install_python(python):
    """The packages of hub/requirements.txt for one Python. Raises SetupError."""
    environment = env.environment_for(python.parent.parent)
    pip = env.pip_environment(python, environment)
    env.pip_install(python, pip, "-r", HUB / "requirements.txt")


def install_proxy():
    """configurable-http-proxy in hub/node_modules, once for each package-lock.json. Raises SetupError."""
    stamp = HUB / "node_modules" / ".lecture-stamp"
    wanted = env.digest(env.read("hub/package.json"), env.read("hub/package-lock.json"))
    if env.is_stamped(stamp, wanted):
        return
    npm = shutil.which("npm", path=os.environ["PATH"])
    if not npm:
        raise env.SetupError("npm is not on the PATH. Set the course up first: make lecture")
    env.run([npm, *env.NPM_CI, "--prefix", HUB])
    stamp.write_text(wanted, encoding="utf-8")

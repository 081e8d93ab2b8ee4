"""Install what the server of a class needs, beside the course: JupyterHub, nbgitpuller, the proxy."""

import pathlib
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
    """configurable-http-proxy in hub/node_modules. Raises SetupError."""
    env.add_node_modules("hub")

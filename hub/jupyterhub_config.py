"""JupyterHub for a class on one machine; hub/README.md says how a lecturer sets it up.

Students are users of the machine. They share one environment, that of this clone of the course, which
they can read and not write; each has an own copy of the course, which nbgitpuller brings and updates.
Where systemd runs, each student's server is a unit of its own with limits on memory and processor;
elsewhere (a container, the tests) it is a plain process whose kernels have the limit on memory alone.
"""

import grp
import os
import pathlib
import pwd
import subprocess
import sys
from urllib.parse import urlencode

STUDENT_MEMORY = "3G"  # all notebooks of a student together
KERNEL_BYTES = 2 * 2**30  # one notebook; the largest of the course needs 1.5 GB
STUDENT_CORES = 2
USUAL_BYTES = 700_000_000  # a student with one notebook, as benchmarks/hub.py measures it
IDLE_SECONDS = 3600

COURSE = pathlib.Path(__file__).resolve().parent.parent
BIN = pathlib.Path(sys.executable).parent
OWN_COPY = "generative-lecture"  # in each student's home

c = get_config()  # noqa: F821 (JupyterHub gives it)


def pull_course():
    """The page of a student's server that brings or updates the own copy, then opens its map."""
    origin = subprocess.run(
        ["git", "-C", COURSE, "remote", "get-url", "origin"], stdout=subprocess.PIPE, text=True
    ).stdout.strip()
    if not origin:
        raise SystemExit(
            f"{COURSE} does not know where it was cloned from, so students cannot either. Say it:\n"
            f"    git -C {COURSE} remote add origin https://..."
        )
    opened = f"lab/tree/{OWN_COPY}/README.md"
    return "/git-pull?" + urlencode({"repo": origin, "targetpath": OWN_COPY, "urlpath": opened})


def own_sockets(spawner):
    """The folder of a student's kernel sockets: a home's path may be too long for them."""
    return f"/run/lecture-hub/{spawner.user.name}"


def close_doors(spawner):
    """Nobody but the student looks into the home, whatever useradd made it, or speaks to the kernels."""
    student = pwd.getpwnam(spawner.user.name)
    os.chmod(student.pw_dir, 0o700)
    os.makedirs(own_sockets(spawner), exist_ok=True)
    os.chown(own_sockets(spawner), student.pw_uid, student.pw_gid)
    os.chmod(own_sockets(spawner), 0o700)


# Who may come in: users of the machine in these groups, by their passwords.
c.JupyterHub.authenticator_class = "pam"
missing = {"students", "lecturers"} - {group.gr_name for group in grp.getgrall()}
if missing:
    raise SystemExit(f"this machine has no such group yet: groupadd {missing.pop()}")
c.PAMAuthenticator.allowed_groups = {"students", "lecturers"}
c.PAMAuthenticator.admin_groups = {"lecturers"}

# Passwords cross a network only under TLS: without a certificate only this machine is answered.
certificate = next(
    iter(sorted(pathlib.Path("/etc/letsencrypt/live").glob("*/fullchain.pem"))), None
)
if certificate:
    c.JupyterHub.bind_url = "https://:443"
    c.JupyterHub.ssl_cert = str(certificate)
    c.JupyterHub.ssl_key = str(certificate.with_name("privkey.pem"))
else:
    c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.ConfigurableHTTPProxy.command = [str(COURSE / "hub/node_modules/.bin/configurable-http-proxy")]

# A restart of the hub leaves servers and kernels running. More servers than fit are not started.
c.JupyterHub.cleanup_servers = False
machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
c.JupyterHub.active_server_limit = machine_bytes // USUAL_BYTES

# A student's server. prlimit lets a kernel that wants too much stop at that cell with a MemoryError;
# systemd's limit is the wall behind it, where the kernel is killed and its server stays.
c.Spawner.cmd = ["prlimit", f"--data={KERNEL_BYTES}", str(BIN / "jupyterhub-singleuser")]
c.Spawner.args = [
    "--KernelManager.transport=ipc",  # not ports, at which every user could listen
    f"--MappingKernelManager.cull_idle_timeout={IDLE_SECONDS}",
]
c.Spawner.default_url = pull_course()
c.Spawner.environment = {
    "JUPYTER_RUNTIME_DIR": own_sockets,
    "LECTURE_SHARED": str(COURSE),
    "PATH": f"{BIN}:/usr/local/bin:/usr/bin:/bin",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
c.Spawner.mem_limit = STUDENT_MEMORY
c.Spawner.cpu_limit = STUDENT_CORES
c.Spawner.pre_spawn_hook = close_doors
if pathlib.Path("/run/systemd/system").is_dir():
    c.JupyterHub.spawner_class = "systemdspawner.SystemdSpawner"
    c.SystemdSpawner.isolate_tmp = True
    c.SystemdSpawner.isolate_devices = True
    c.SystemdSpawner.default_shell = "/bin/bash"
else:
    c.JupyterHub.spawner_class = "jupyterhub.spawner.LocalProcessSpawner"

# Servers that nobody has used for a while are stopped; files stay.
c.JupyterHub.services = [
    {
        "name": "idle-culler",
        "command": [sys.executable, "-m", "jupyterhub_idle_culler", f"--timeout={IDLE_SECONDS}"],
    }
]
c.JupyterHub.load_roles = [
    {
        "name": "idle-culler",
        "services": ["idle-culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    }
]

"""A class on this machine: the hub of hub/ on loopback, real users, and what their browsers would do."""

import contextlib
import http.cookiejar
import json
import os
import pathlib
import secrets
import shutil
import signal
import site
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from kernels import SECONDS, Kernel

from tools import env, hub
from tools.repository import tracked
from utils import ROOT

VENV = ROOT / "build" / "hub"
OWN_COPY = "generative-lecture"


def open_to_all(path):
    """Whether every user of this machine may read a path and all that leads to it."""
    steps = [path.resolve(), *path.resolve().parents]
    return all(
        step.stat().st_mode & (stat.S_IXOTH if step.is_dir() else stat.S_IROTH) for step in steps
    )


def why_not():
    """What keeps a class from being held here; empty where nothing does."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "only root can make the users of a class"
    needed = ("useradd", "userdel", "groupadd", "chpasswd", "git", "npm", "prlimit")
    missing = [name for name in needed if not shutil.which(name)]
    if missing or not pathlib.Path("/etc/pam.d/login").exists():
        return f"this machine has no {missing[0] if missing else 'PAM service called login'}"
    if not (open_to_all(ROOT) and open_to_all(pathlib.Path(sys.prefix))):
        return f"students may not read {ROOT} or {sys.prefix}: clone to a folder that all may read"
    if not _python_for_all():
        return f"students may not run {sys.executable}, and there is no other Python of its version"
    return ""


def _python_for_all():
    """A Python of our version that every user may run, or None."""
    name = "python{}.{}".format(*sys.version_info[:2])
    places = [os.path.realpath(sys.executable), f"/usr/local/bin/{name}", f"/usr/bin/{name}"]
    return next((p for p in places if os.path.exists(p) and open_to_all(pathlib.Path(p))), None)


def install():
    """The hub's packages in build/hub, layered over the course's environment; return its Python."""
    hub.install_proxy()
    python, stamp = VENV / "bin" / "python", VENV / "lecture-stamp.txt"
    parts = ("hub/requirements.txt", "requirements.txt", "tools/jupyter/kernel.py")
    texts = [env.read(part) for part in parts]
    wanted = env.digest(*texts, sys.prefix, _python_for_all())
    if env.is_stamped(stamp, wanted):
        return python
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([_python_for_all(), "-m", "venv", "--without-pip", VENV], check=True)
    below = pathlib.Path(json.__file__).parent.parent.name  # python3.11
    packages = site.getsitepackages([sys.prefix])
    layer = VENV / "lib" / below / "site-packages" / "course.pth"
    layer.write_text("".join(f"{path}\n" for path in packages), encoding="utf-8")
    for name in ("share/jupyter", "etc/jupyter"):
        shutil.copytree(pathlib.Path(sys.prefix) / name, VENV / name, dirs_exist_ok=True)
    hub.install_python(python)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def free_ports(count):
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def until(what, condition):
    """The first true answer of `condition`, asked again and again; a RuntimeError says what it was."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.1)
    raise RuntimeError(f"waited {SECONDS} s in vain until {what}")


class Classroom:
    """A server as hub/README.md sets it up, and `students` of this machine, gone when it is left."""

    def __init__(self, names):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hub-"))
        self.port, self.hub_port, self.proxy_port, self.git_port = free_ports(4)
        self.students = [Student(self, name + secrets.token_hex(2)) for name in names]
        self.hub = self.daemon = None
        self.groups = []  # that this machine did not have

    def __enter__(self):
        try:
            self.folder.chmod(0o755)
            self.python = install()
            self.publish()
            self.enrol()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def publish(self):
        """The course as a repository on loopback, and the host's clone of it, set up."""
        self.source, self.course = self.folder / "git" / "course", self.folder / "opt"
        for path in tracked():
            target = self.source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        self.git("init", "-q")
        for quick in ("core.compression", "pack.window"):  # a repository that lives for minutes
            self.git("config", quick, "0")
        self.commit("the course")
        base = f"--base-path={self.source.parent}"
        where = ["--listen=127.0.0.1", f"--port={self.git_port}", base, "--export-all"]
        self.daemon = subprocess.Popen(["git", "daemon", "--reuseaddr", *where])
        origin = f"git://127.0.0.1:{self.git_port}/course"
        clone = ["git", "clone", "-q", "--depth", "1", origin, self.course]
        until(
            "git answers", lambda: not subprocess.run(clone, stderr=subprocess.DEVNULL).returncode
        )
        shutil.copytree(ROOT / "build/explorer", self.course / "build/explorer")
        (self.course / "hub/node_modules").symlink_to(ROOT / "hub/node_modules")

    def git(self, *words):
        who = ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL")
        author = {f"GIT_{name}": "lecturer" for name in who}
        subprocess.run(["git", *words], cwd=self.source, env=os.environ | author, check=True)

    def commit(self, message):
        """What the lecturer publishes: the state of `source`."""
        self.git("add", "--all", "--force")
        self.git("commit", "-q", "-m", message)

    def enrol(self):
        for group in ("students", "lecturers"):
            if subprocess.run(["groupadd", group], stderr=subprocess.DEVNULL).returncode == 0:
                self.groups.append(group)
        homes = self.folder / "home"
        homes.mkdir()
        for student in self.students:
            home = ["--create-home", "--home-dir", homes / student.name]
            shell = ["--shell", "/bin/bash", "--groups", "students"]
            subprocess.run(["useradd", *home, *shell, student.name], check=True)
            word = f"{student.name}:{student.password}\n"
            subprocess.run(["chpasswd"], input=word, text=True, check=True)

    def start(self):
        """Start the hub with the course's configuration, on free ports of loopback."""
        config = self.folder / "jupyterhub_config.py"
        config.write_text(
            f"load_subconfig({str(self.course / 'hub/jupyterhub_config.py')!r})\n"
            f"c.JupyterHub.bind_url = 'http://127.0.0.1:{self.port}'\n"
            f"c.JupyterHub.hub_bind_url = 'http://127.0.0.1:{self.hub_port}'\n"
            f"c.ConfigurableHTTPProxy.api_url = 'http://127.0.0.1:{self.proxy_port}'\n",
            encoding="utf-8",
        )
        state = self.folder / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        self.log = self.folder / "hub.log"
        with self.log.open("a") as log:
            command = [self.python, "-m", "jupyterhub", "--config", config]
            self.hub = subprocess.Popen(command, cwd=state, stdout=log, stderr=log)
        until("the hub answers", self._answers)

    def _answers(self):
        if self.hub.poll() is not None:
            raise RuntimeError(f"the hub stopped:\n{self.log.read_text()[-5000:]}")
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.port}/hub/api/", timeout=10)
        except OSError:
            return None

    def stop(self):
        self.hub.terminate()
        self.hub.wait(SECONDS)

    def __exit__(self, *_):
        if self.daemon:
            self.daemon.terminate()
            self.daemon.wait(SECONDS)
        if self.hub and self.hub.poll() is None:
            self.stop()  # with its proxy and its idle culler
        for student in self.students:
            with contextlib.suppress(FileNotFoundError):
                until(f"{student.name} has gone", student.gone)
                subprocess.run(["userdel", student.name], check=True)
            shutil.rmtree(f"/run/lecture-hub/{student.name}", ignore_errors=True)
        for group in self.groups:
            subprocess.run(["groupdel", group], check=True)
        shutil.rmtree(self.folder)


class Student:
    """One user of the machine: logs in by password, then does by HTTP and websocket what a browser does."""

    def __init__(self, room, name):
        self.room, self.name, self.password = room, name, secrets.token_hex(8)
        self.cookies = http.cookiejar.CookieJar()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
        self.token = None

    @property
    def home(self):
        return self.room.folder / "home" / self.name

    @property
    def copy(self):
        return self.home / OWN_COPY

    def log_in(self, password=None):
        """By the form of the log-in page, through PAM. Raises HTTPError 403 where it refuses."""
        self.browser.open(f"{self._at}/hub/login", timeout=SECONDS)
        xsrf = next(cookie.value for cookie in self.cookies if cookie.name == "_xsrf")
        form = {"username": self.name, "password": password or self.password, "_xsrf": xsrf}
        self.browser.open(f"{self._at}/hub/login", urllib.parse.urlencode(form).encode(), SECONDS)
        auth = {"username": self.name, "password": self.password}
        self.token = self.ask("POST", f"/hub/api/users/{self.name}/tokens", {"auth": auth})["token"]

    @property
    def _at(self):
        return f"http://127.0.0.1:{self.room.port}"

    def ask(self, method, path, body=None):
        """The JSON (or text) that the hub or a server answers. Raises HTTPError."""
        request = urllib.request.Request(self._at + path, method=method)
        if self.token:
            request.add_header("Authorization", f"token {self.token}")
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(request, data, SECONDS) as answer:
            text = answer.read().decode()
        return json.loads(text) if text and text[0] in "[{" else text

    def start_server(self):
        self.ask("POST", f"/hub/api/users/{self.name}/server")
        me = f"/hub/api/users/{self.name}"
        until(
            f"the server of {self.name} has started",
            lambda: self.ask("GET", me)["servers"].get("", {}).get("ready"),
        )

    def pull(self):
        """Bring or update the own copy by nbgitpuller; return what it said."""
        origin = f"git://127.0.0.1:{self.room.git_port}/course"
        asked = urllib.parse.urlencode({"repo": origin, "targetpath": OWN_COPY})
        said = self.ask("GET", f"/user/{self.name}/git-pull/api?{asked}")
        if '"phase": "finished"' not in said:
            raise RuntimeError(f"{self.name} could not pull the course:\n{said}")
        return said

    def open(self, notebook):
        """A kernel for a notebook of the own copy, as JupyterLab starts it."""
        path = f"{OWN_COPY}/notebooks/{notebook}"
        kernel = {"path": path, "name": notebook, "type": "notebook", "kernel": {"name": "python3"}}
        session = self.ask("POST", f"/user/{self.name}/api/sessions", kernel)
        return Kernel(self, session["kernel"]["id"])

    def run(self, *command):
        """A command as this user, in the home: (exit status, output)."""
        done = subprocess.run(
            command, user=self.name, group=self.home.stat().st_gid, extra_groups=[],
            cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout

    def processes(self):
        """The numbers of this user's processes."""
        uid, found = self.home.stat().st_uid, []
        for place in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if place.stat().st_uid == uid:
                    found.append(int(place.name))
        return found

    def gone(self):
        for number in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return not self.processes()

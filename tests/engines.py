"""Safari's engine, driven without a further package."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import time
import urllib.error
import urllib.request

from tools import server


def find_webkit():
    """The driver, the browser and the screen that Debian's packages bring; None where one is not."""
    places = sorted(pathlib.Path("/usr/lib").glob("*/webkit2gtk-4.?/MiniBrowser"))
    found = [shutil.which("WebKitWebDriver"), next(iter(places), None), shutil.which("Xvfb")]
    return [str(path) for path in found] if all(found) else None


class WebKit:
    """Safari's engine by way of Debian's webkit2gtk-driver, on a screen of its own."""

    PORT = 9871

    def __init__(self, driver, browser, screen):
        environment = os.environ | {
            "DISPLAY": ":97", "LIBGL_ALWAYS_SOFTWARE": "1",
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
        }  # fmt: skip
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes = [subprocess.Popen([screen, ":97", "-screen", "0", "1400x900x24"], **quiet)]
        port = f"--port={server.free_port(self.PORT)}"
        self.address = f"http://127.0.0.1:{port.split('=')[1]}"
        self.processes.append(subprocess.Popen([driver, port], env=environment, **quiet))
        options = {"webkitgtk:browserOptions": {"binary": browser, "args": ["--automation"]}}
        begun = self.ask("POST", "/session", {"capabilities": {"alwaysMatch": options}}, tries=60)
        self.session = f"/session/{begun['sessionId']}"
        self.ask("POST", f"{self.session}/window/rect", {"width": 1280, "height": 800})

    def ask(self, method, path, body=None, *, tries=1):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.address + path, data, method=method)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=240) as answer:
                    return json.load(answer)["value"]
            except (urllib.error.URLError, ConnectionError):
                tries -= 1
                if not tries:
                    raise
                time.sleep(0.5)

    def open(self, url):
        self.ask("POST", f"{self.session}/url", {"url": url})

    def run(self, script):
        """What a script returns; it may be a promise."""
        body = {"script": f"const done = arguments[0]; ({script})().then(done)", "args": []}
        return self.ask("POST", f"{self.session}/execute/async", body)

    def drag(self, *places):
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y)} for x, y in places]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:]]
        mouse = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}}
        mouse["actions"] = [*actions, {"type": "pointerUp", "button": 0}]
        self.ask("POST", f"{self.session}/actions", {"actions": [mouse]})

    def close(self):
        with contextlib.suppress(urllib.error.URLError, AttributeError):
            self.ask("DELETE", self.session)
        for process in reversed(self.processes):
            process.terminate()
            process.wait(20)

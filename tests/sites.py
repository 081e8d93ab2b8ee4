"""The site on loopback as a static host serves it: under a sub-path, texts compressed, kept by name."""

import contextlib
import functools
import gzip
import http.server
import threading
import time
from pathlib import Path

from tools import site

PREFIX = "/course/"
TEXTS = (".html", ".css", ".js", ".json", ".svg")
PIECE = 8192


@functools.cache
def compressed(path):
    return gzip.compress(path.read_bytes(), 6, mtime=0)


class Host(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        time.sleep(self.server.away)
        path = Path(self.translate_path(self.path.removeprefix(PREFIX.rstrip("/"))))
        if path.is_dir():
            path /= "index.html"
        if not self.path.startswith(PREFIX) or not path.is_file():
            return self.send_error(404)
        text = path.suffix in TEXTS
        body = compressed(path) if text else path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Cache-Control", "max-age=600")
        if text:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.server.sent.append((path.name, len(body)))
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            with self.server.line:  # one line for all that is asked for at once
                time.sleep(len(piece) / self.server.rate)
            self.wfile.write(piece)


@contextlib.contextmanager
def hosted(folder=site.SITE, *, rate=float("inf"), away=0.0):
    """Serve a folder while the block runs: its address, and [(file, bytes sent)] as it grows.

    `rate` is in bytes a second for all together, `away` the seconds before each answer.
    """
    handler = functools.partial(Host, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.rate, server.away, server.line, server.sent = rate, away, threading.Lock(), []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{PREFIX}", server.sent
        server.shutdown()

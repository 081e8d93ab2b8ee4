"""Data kept between runs: one file with its own SHA-256, in $LECTURE_DATA or the reader's cache."""

import hashlib
import json
import os
import pathlib

from utils.store import try_write


def place(name):
    """Where the data set `name` is kept."""
    cache = os.environ.get("LECTURE_DATA", pathlib.Path.home() / ".cache" / "generative-lecture")
    return pathlib.Path(cache) / f"{name}.bin"


def keep(name, body):
    """Keep the bytes `body`; where that cannot be done, it is said and the notebook goes on."""
    header = {"sha256": hashlib.sha256(body).hexdigest()}
    try_write(place(name), json.dumps(header).encode() + b"\n" + body)


def load(name):
    """The bytes that `keep` wrote, or None if there are none.

    A file that is empty, cut or altered is renamed to `<name>.bin.damaged`, which is said.
    """
    path = place(name)
    try:
        line, _, body = path.read_bytes().partition(b"\n")
    except OSError:  # not there, or not ours to read
        return None
    try:
        if hashlib.sha256(body).hexdigest() == json.loads(line)["sha256"]:
            return body
    except (ValueError, TypeError, KeyError):
        pass
    damaged = path.with_name(path.name + ".damaged")
    try:
        path.replace(damaged)
        print(f"{path.name} is damaged; it was renamed to {damaged.name} and is made anew.")
    except OSError:
        print(f"{path.name} is damaged and cannot be renamed; it is not used.")
    return None

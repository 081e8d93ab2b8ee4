"""Files that are whole or not there: atomic writes, and checkpoints that are only numbers."""

import hashlib
import io
import json
import os
import pathlib
import pickle
import tempfile

import torch


class SaveError(OSError):
    """A file could not be written; the message says why and that the old file is intact."""


class CheckpointError(RuntimeError):
    """A checkpoint was refused; the message says why and what to do."""


def atomic_write(path, content):
    """Write bytes or text to `path` so that readers see the old file or the new one, never half.

    Raises SaveError where the disk is full, read-only or the folder cannot be made.
    """
    path = pathlib.Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary:
            pathlib.Path(temporary).unlink(missing_ok=True)
        kept = "The file that was there is unchanged." if path.exists() else "Nothing was written."
        raise SaveError(
            f"cannot save {path.name} in {path.parent}: {error.strerror or error}. {kept} "
            "Free some space or choose a writable folder (LECTURE_OUT), then run the cell again."
        ) from error


def try_write(path, content):
    """As `atomic_write`, but a failure is said and the notebook goes on. True if written."""
    try:
        atomic_write(path, content)
    except SaveError as error:
        print(f"Not saved: {error}")
        return False
    return True


def _described(model):
    return {name: list(value.shape) for name, value in model.state_dict().items()}


FIRST = b'{"shapes": '  # how a checkpoint begins, whole or cut


def save_model(path, model):
    """Keep a model's weights: one line of JSON (shapes, SHA-256), then torch's own format."""
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    body = buffer.getvalue()
    header = {"shapes": _described(model), "sha256": hashlib.sha256(body).hexdigest()}
    atomic_write(path, json.dumps(header).encode() + b"\n" + body)


def load_model(path, model):
    """Put the weights kept at `path` into `model`.

    Nothing in the file is ever executed. A checkpoint that is empty, cut or altered is renamed to
    `<name>.damaged` so that it can be made again; a file of another kind is left as it is.

    Raises FileNotFoundError, or CheckpointError naming the damage, the other kind or the first
    differences between the architectures.
    """
    path = pathlib.Path(path)
    content = path.read_bytes()
    if content and content[: len(FIRST)] != FIRST[: len(content)]:
        raise CheckpointError(
            f"{path.name} was not written by save_model, and is left as it is. What torch.save wrote "
            "is opened by torch.load(path, weights_only=True); for save_model choose another name."
        )
    line, _, body = content.partition(b"\n")
    try:
        header = json.loads(line)
        shapes, digest = header["shapes"], header["sha256"]
    except (ValueError, TypeError, KeyError):
        raise _set_aside(path, "it is empty or cut short") from None
    if hashlib.sha256(body).hexdigest() != digest:
        raise _set_aside(path, "it is cut short or altered (its SHA-256 does not match)")
    differences = _differences(shapes, _described(model))
    if differences:
        raise CheckpointError(
            f"{path.name} belongs to another architecture: {differences}. "
            "Build the model as it was when saved, or train again and save over it."
        )
    try:
        state = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        raise _set_aside(path, "it holds more than numbers, so it was not opened") from None
    model.load_state_dict(state)


def _set_aside(path, why):
    damaged = path.with_name(path.name + ".damaged")
    try:
        path.replace(damaged)
        where = f"It was renamed to {damaged.name}."
    except OSError:
        where = "Delete it."
    return CheckpointError(
        f"{path.name} was refused: {why}. {where} Train again to make a new one."
    )


def _differences(saved, built):
    lines = []
    for name in [*saved, *(n for n in built if n not in saved)]:
        if saved.get(name) != built.get(name):
            lines.append(
                f"{name} is {saved.get(name, 'absent')} there, {built.get(name, 'absent')} here"
            )
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return "; ".join(lines[:3]) + more

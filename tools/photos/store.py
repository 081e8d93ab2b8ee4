"""Checkpoints of a run: safetensors, whole or not there, the last three."""

import hashlib
import json

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from utils.store import CheckpointError, atomic_write

KEPT = 3


def digest(tensors):
    """The SHA-256 of tensors {name: tensor} and their names."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].contiguous().cpu().numpy())
    return found.hexdigest()


def write(path, tensors, about):
    """Write tensors {name: tensor} and `about`, a dictionary for JSON. Raises SaveError."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"about": json.dumps(about), "sha256": digest(tensors)}
    atomic_write(path, save(tensors, metadata))


def read(path):
    """(tensors, about) of a file that `write` wrote; nothing in it is ever executed.

    Raises CheckpointError where it is damaged or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(metadata["about"])
    except (SafetensorError, KeyError, ValueError):
        raise CheckpointError(f"{path} is cut short, or no checkpoint of photographs") from None
    if digest(tensors) != metadata.get("sha256"):
        raise CheckpointError(f"{path} was altered: its SHA-256 does not match")
    return tensors, about


def checkpoints(folder):
    """The files of a folder's checkpoints, oldest first."""
    return sorted(folder.glob("*.safetensors"))


def keep(folder, step, tensors, about):
    """Write the checkpoint of a step, then remove all but the last three. Raises SaveError."""
    for draft in folder.glob(".*"):  # of a process that was killed while it wrote
        draft.unlink()
    write(folder / f"{step:08d}.safetensors", tensors, about | {"step": step})
    for old in checkpoints(folder)[:-KEPT]:
        old.unlink()


def newest(folder):
    """(tensors, about) of the newest checkpoint that can be read; a damaged one is said and left.

    Raises CheckpointError where there is none.
    """
    for path in reversed(checkpoints(folder)):
        try:
            return read(path)
        except CheckpointError as error:
            print(f"{error}. The one before it is taken.", flush=True)
    raise CheckpointError(f"{folder} holds no checkpoint that can be read; start without --resume")

"""The command line of `python -m tools.photos`; `fabric run tools/photos` starts it too."""

import argparse
import contextlib
import io
import logging
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from tools.photos import loop, results, store
from utils import data
from utils.data.folders import ImageFolderError
from utils.store import CheckpointError, SaveError, atomic_write
from utils.train import Diverged

FEW = 20  # pictures: the translator learns so few by heart
SMALLEST = 16  # pixels
SAY_EVERY = 10  # seconds, where lines stay

EXAMPLES = """\
examples:
  python -m tools.photos summer/ winter/ --size 128 --steps 20000 --out run/
  python -m tools.photos summer/ winter/ --size 128 --steps 20000 --out run/ --resume
  python -m tools.photos summer/ winter/ --devices 2
on two machines of eight GPUs, on each of them, with --node-rank 0 and 1:
  fabric run --devices 8 --num-nodes 2 --node-rank 0 --main-address ADDRESS \\
      tools/photos summer/ winter/ --size 128 --steps 20000 --out run/
"""


class Unusable(ValueError):
    """What was asked for cannot be done; the message says why and what to do."""


def devices(word):
    """A number, or auto."""
    return word if word == "auto" else int(word)


def parser():
    made = argparse.ArgumentParser(
        prog="python -m tools.photos",
        description="Train the CycleGAN of notebook 05c on two folders of photographs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("first", type=pathlib.Path, help="a folder of pictures of one look")
    add("second", type=pathlib.Path, help="a folder of pictures of the other look")
    add("--size", type=int, default=128, help="pixels of a side, a multiple of four (128)")
    add("--steps", type=int, default=20000, help="training steps (20000)")
    add("--batch", type=int, default=4, help="pictures of each look a step and process (4)")
    add("--out", type=pathlib.Path, default=pathlib.Path("run"), help="where all goes (run)")
    add("--resume", action="store_true", help="go on from the last checkpoint in --out")
    add("--translate", type=pathlib.Path, metavar="FOLDER",
        help="pictures to translate at the end, of the first look (those of the first folder)")  # fmt: skip
    add("--every", type=int, default=500, help="steps from checkpoint to checkpoint (500)")
    add("--devices", type=devices, default="auto", metavar="N",
        help="GPUs, or processes where there is none (all GPUs)")  # fmt: skip
    add("--precision", choices=["32-true", "bf16-mixed"],
        help="bf16-mixed where a GPU has it, else 32-true")  # fmt: skip
    add("--seed", type=int, default=0, help="of weights and draws (0)")
    return made


def check(asked):
    """Raise Unusable for what can be seen to fail before anything is read."""
    if asked.size < SMALLEST or asked.size % 4:
        near = max(SMALLEST, round(asked.size / 4) * 4)
        raise Unusable(f"--size {asked.size}: a multiple of four from {SMALLEST} on, say {near}")
    for name in ("steps", "batch", "every", "devices"):
        value = getattr(asked, name)
        if value != "auto" and value < 1:
            raise Unusable(f"--{name} {value}: it has to be at least 1")
    for folder in filter(None, (asked.first, asked.second, asked.translate)):
        if not folder.is_dir():
            raise Unusable(f"{folder} is not a folder; give the folder that holds the pictures")
        if folder.resolve() in (asked.out.resolve(), *asked.out.resolve().parents):
            raise Unusable(
                f"--out {asked.out} lies in {folder}, among the pictures; name a folder elsewhere"
            )


def check_out(asked):
    """Raise Unusable where --out and --resume do not suit each other."""
    kept = store.checkpoints(asked.out / "checkpoints")
    if kept and not asked.resume:
        raise Unusable(
            f"{asked.out} holds a run of {int(kept[-1].stem)} steps. Go on with it by --resume, or "
            "name another folder by --out"
        )
    if asked.resume and not kept:
        raise Unusable(f"{asked.out} holds no checkpoint to resume from; start without --resume")


def engine(asked):
    """Fabric on this machine's GPUs, or its processors."""
    gpu = torch.cuda.is_available()
    good = gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    fabric = Fabric(
        accelerator="auto" if gpu else "cpu",
        devices=asked.devices,
        precision=asked.precision or ("bf16-mixed" if good else "32-true"),
    )
    if "LT_CLI_USED" not in os.environ:  # `fabric run` has started the processes already
        fabric.launch()
    return fabric


def read(fabric, asked):
    """Both folders as tensors (N, 3, size, size) on the device; the first process says of what."""
    domains = []
    with contextlib.redirect_stdout(sys.stdout if fabric.is_global_zero else io.StringIO()):
        for folder in (asked.first, asked.second):
            images = data.image_folder(folder, asked.size).images
            count = f"{len(images)} picture{'s' if len(images) > 1 else ''}"
            warning = f"; fewer than {FEW} are learned by heart" if len(images) < FEW else ""
            print(f"{folder}: {count}{warning}", flush=True)
            domains.append(images.to(fabric.device))
    return domains


def names_of(asked):
    """What the two looks are called: the folders' names, with their parents' where they are alike."""
    first, second = asked.first.resolve(), asked.second.resolve()
    if first.name != second.name:
        return first.name, second.name
    return tuple(f"{folder.parent.name}/{folder.name}" for folder in (first, second))


def told_time(seconds):
    """A duration as one says it."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Says how far a run is; on a terminal in one line, elsewhere in a line every ten seconds."""

    def __init__(self, steps, first):
        self.steps, self.first = steps, first
        self.begun = self.said = time.perf_counter()

    def __call__(self, step, losses):
        now = time.perf_counter()
        terminal = sys.stdout.isatty()
        if not terminal and now - self.said < SAY_EVERY and step < self.steps:
            return
        self.said = now
        left = (now - self.begun) / (step - self.first) * (self.steps - step)
        numbers = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
        line = f"step {step} of {self.steps}, about {told_time(left)} left; {numbers}"
        end = "\n" if step == self.steps or not terminal else ""
        print(f"\r{line:<110}" if terminal else line, end=end, flush=True)


def saved_run(fabric, asked, settings):
    """The newest checkpoint's tensors, or None; Unusable where it belongs to another run."""
    if not asked.resume:
        return None
    saved, about = loop.by_first(fabric, lambda: store.newest(asked.out / "checkpoints"))
    other = [
        f"{name} {about.get(name)} there, {value} here"
        for name, value in settings.items()
        if about.get(name) != value
    ]
    if other:
        raise Unusable(
            f"{asked.out} holds another run: {'; '.join(other)}. Give what was given then, or name "
            "another --out"
        )
    return saved


def train(fabric, asked):
    """The whole run; returns its `Run`."""
    names, domains = names_of(asked), read(fabric, asked)
    settings = {
        "size": asked.size,
        "steps": asked.steps,
        "pictures of a step": asked.batch * fabric.world_size,
        "seed": asked.seed,
        "pictures": [len(domain) for domain in domains],
    }
    saved = saved_run(fabric, asked, settings)
    first = 0 if saved is None else len(saved["losses"])

    def keep(step, tensors):
        store.keep(asked.out / "checkpoints", step, tensors, settings)
        rows = [",".join(("step", *loop.LOSSES))]
        rows += [
            f"{k}," + ",".join(f"{value:.6g}" for value in row)
            for k, row in enumerate(tensors["losses"].tolist())
        ]
        atomic_write(asked.out / "losses.csv", "\n".join(rows) + "\n")
        results.before_and_after(
            run.nets[0].copied, domains, names, asked.out / "pictures" / f"{step:08d}.png"
        )

    run = loop.Run(
        fabric, asked.steps, every=asked.every, seed=asked.seed, keep=keep,
        show=Progress(asked.steps, first), saved=saved,
    )  # fmt: skip
    means = run.fit(domains, asked.batch)
    loop.part_company(fabric)
    if fabric.is_global_zero:
        if run.stopped:
            print(f"\nStopped after {len(run.losses)} steps; --resume goes on from there.")
        else:
            results.finish(
                means, run.cycle, domains, names, asked.translate or asked.first, settings,
                asked.out,
            )  # fmt: skip
    return run


def advice(error, asked):
    """What went wrong and what to do, in words for the one at the terminal."""
    kept = store.checkpoints(asked.out / "checkpoints")
    whole = f"The last whole checkpoint is {kept[-1]}: go on from it by --resume." if kept else ""
    if isinstance(error, torch.OutOfMemoryError):
        half = max(SMALLEST, asked.size // 8 * 4)
        smaller = f"--batch {asked.batch // 2}" if asked.batch > 1 else f"--size {half}"
        return (
            f"the GPU has no room for {asked.batch} pictures of {asked.size} x {asked.size} a step. "
            f"If other programs hold it (nvidia-smi shows them), wait for them; else begin anew with "
            f"{smaller}. {whole}"
        )
    if isinstance(error, SaveError):
        cause = getattr(error.__cause__, "strerror", None)
        return (
            f"{cause or error}: nothing more can be written to {asked.out}. Free some space, or name a "
            f"writable folder by --out. {whole}"
        )
    return str(error).replace("run the cell again", "run the command again")


TOLD = (
    *(Unusable, ImageFolderError, CheckpointError, SaveError, Diverged),
    MisconfigurationException,
)


def main(arguments=None):
    """Run the command; returns its `Run`. Raises SystemExit with what went wrong."""
    asked = parser().parse_args(arguments)
    fabric = None
    try:
        check(asked)
        fabric = engine(asked)
        loop.by_first(fabric, lambda: check_out(asked))
        return train(fabric, asked)
    except torch.OutOfMemoryError as error:
        sys.exit(f"\n{advice(error, asked)}")
    except TOLD as error:  # by every process alike: the first one says so, and fails
        if fabric is not None:
            loop.part_company(fabric)
        sys.exit(f"\n{advice(error, asked)}" if fabric is None or fabric.is_global_zero else 0)
    except KeyboardInterrupt:
        sys.exit("\nStopped. What has been written is whole; --resume goes on from there.")


if __name__ == "__main__":
    main()

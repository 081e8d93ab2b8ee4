"""The notebook's training loop, led from outside: several processes, checkpoints, resumption.

`fit` of notebook 05c is used as it stands. It asks for three things by name, and gets ours:

- `Training(...)`, whose steps it counts: a `Run`, which shows progress and keeps checkpoints;
- `descend(optimizer, loss)`: with the gradient's mean over all processes;
- a copy of the generators, for the averaged weights: a `Pair` remembers the copy it gives.

Every step seeds torch anew from (seed, step), alike in all processes. They all draw the same large
batch, and each works on its own slice of it. So the numbers depend neither on how many processes
share a batch nor on whether the run was resumed on the way, but for rounding.
"""

import copy
import math

import torch
from torch import nn

from utils.notebooks import definitions
from utils.store import CheckpointError
from utils.train import Diverged, _interrupt_as_flag

LOSSES = ("loss", "discriminator", "adversarial", "cycle")
REPORT_EVERY = 10  # steps: losses wait on the device until then, and so does an interrupt


class Pair(nn.ModuleList):
    """Two networks; `copied` is the deep copy last made of them."""

    def __deepcopy__(self, memo):
        copied = nn.ModuleList(copy.deepcopy(net, memo) for net in self)
        self.__dict__["copied"] = copied  # not as a part of this module
        return copied


def mixed(kind, fabric):
    """A network class that computes in Fabric's precision and returns 32 bits."""

    class Mixed(kind):
        def forward(self, x):
            with fabric.autocast():
                return super().forward(x).float()

    return Mixed


def by_first(fabric, work):
    """What `work()` returns or raises in the first process, in all of them."""
    outcome = None
    if fabric.is_global_zero:
        try:
            outcome = work(), None
        except Exception as error:
            outcome = None, error
    result, error = fabric.broadcast(outcome)
    if error is not None:
        raise error
    return result


def part_company(fabric):
    """End the conversation of the processes. One that just leaves may crash on its way out, and
    Fabric then kills the others."""
    if torch.distributed.is_initialized():
        fabric.barrier()
        torch.distributed.destroy_process_group()


def shared(draw, fabric):
    """A draw of this process's slice: the slices of all processes are one larger draw."""

    def draw_slice(count):
        return draw(count * fabric.world_size).chunk(fabric.world_size)[fabric.global_rank]

    return draw_slice


class Run:
    """What the notebook's loop runs in; iterating over it counts the steps still to be done.

    `keep(step, tensors)` is called in the first process every `every` steps, at the end and after
    an interrupt; `show(step, losses)` every ten steps, in the first process too.
    Attributes: `losses`, a tensor (steps done, 4) of what LOSSES names, means over all processes;
    `stopped`, True after an interrupt.
    """

    def __init__(self, fabric, steps, *, every, seed, keep, show, saved=None):
        self.fabric, self.steps, self.every, self.seed = fabric, steps, every, seed
        self.keep, self.show, self.saved = keep, show, saved
        self.cycle = definitions("05c_cyclegan")  # our own copy, so that names may be replaced
        self.cycle.fit.__globals__.update(Training=self.start, descend=self.descend)
        self.losses = torch.empty(0, len(LOSSES)) if saved is None else saved["losses"]
        self.waiting, self.sides, self.stopped = [], [], False

    def fit(self, domains, batch):
        """Train on domains (N, 3, H, W) in [0, 1], `batch` pictures of each a step and process.

        Returns the averaged generators. Raises Diverged where a loss is not finite.
        """
        torch.manual_seed(self.seed)
        kinds = self.cycle.SceneGenerator, self.cycle.PatchDiscriminator
        self.nets = [
            Pair([mixed(kind, self.fabric)() for _ in range(2)]).to(self.fabric.device)
            for kind in kinds
        ]
        if self.saved is not None:
            self._load(self.nets[0], "means")  # which the loop copies, before it calls `start`
        draws = [shared(self.cycle.drawer(domain), self.fabric) for domain in domains]
        recipe = self.cycle.recipe | {"batch": batch}
        return self.cycle.fit(*self.nets, draws, self.steps, **recipe)[1]

    def start(self, *_, steps):
        """In the place of the notebook's `Training`."""
        if self.saved is not None:
            for nets, name in zip(self.nets, ("generators", "discriminators"), strict=True):
                self._load(nets, name)
        return self

    def __iter__(self):
        with _interrupt_as_flag() as interrupted:
            for step in range(len(self.losses), self.steps):
                torch.manual_seed(self.seed * 1_000_003 + step)
                yield step
                done = step + 1
                due = done % self.every == 0 or done == self.steps
                if due or done % REPORT_EVERY == 0:
                    self.stopped = self._report(interrupted.is_set())
                    if due or self.stopped:
                        self._keep(done)
                if self.stopped:
                    return

    def log(self, **values):
        """Keep this step's numbers, on the device for the time being."""
        self.waiting.append(torch.stack([values[name].detach() for name in LOSSES]))

    def descend(self, optimizer, loss):
        """One step of an optimiser down the loss, which is a mean over all processes."""
        if optimizer not in self.sides:
            self.sides.append(optimizer)  # the loop begins with the discriminators' side
            if self.saved is not None:
                self._load_side(optimizer, f"sides.{len(self.sides) - 1}.")
        optimizer.zero_grad()
        loss.backward()
        if self.fabric.world_size > 1:
            slopes = [weight.grad for weight in optimizer.param_groups[0]["params"]]
            mean = self.fabric.all_reduce(torch.cat([slope.flatten() for slope in slopes]))
            for slope, part in zip(
                slopes, mean.split([slope.numel() for slope in slopes]), strict=True
            ):
                slope.copy_(part.view_as(slope))
        optimizer.step()

    def _report(self, interrupted):
        """Take in the losses that wait; return whether any process was interrupted."""
        rows = torch.stack(self.waiting)
        self.waiting = []
        flag = torch.full_like(rows[:, :1], float(interrupted))
        rows = self.fabric.all_reduce(torch.cat([rows, flag], 1)).cpu()
        for step, row in enumerate(rows.tolist(), len(self.losses)):
            for name, value in zip(LOSSES, row, strict=False):
                if not math.isfinite(value):
                    raise Diverged(
                        f"step {step}: {name} is {value}. Checkpoints hold only what came before. Go "
                        "on with --resume --precision 32-true, or begin anew with another --seed"
                    )
        self.losses = torch.cat([self.losses, rows[:, :-1]])
        if self.fabric.is_global_zero:
            self.show(len(self.losses), dict(zip(LOSSES, rows.mean(0).tolist(), strict=False)))
        return bool(rows[:, -1].any())

    def _keep(self, step):
        by_first(self.fabric, lambda: self.keep(step, self.state()))

    def state(self):
        """All that a checkpoint holds, {name: tensor}."""
        modules = {
            "generators": self.nets[0],
            "means": self.nets[0].copied,
            "discriminators": self.nets[1],
        }
        found = {"losses": self.losses}
        for name, module in modules.items():
            found |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for number, side in enumerate(self.sides):
            for index, moments in side.state_dict()["state"].items():
                found |= {f"sides.{number}.{index}.{key}": m for key, m in moments.items()}
        return found

    def _load(self, module, name):
        try:
            module.load_state_dict(part(self.saved, name + "."))
        except RuntimeError as error:
            raise CheckpointError(
                f"the checkpoint is of other networks than notebook 05c has now: {error}. Train anew "
                "with another --out, or resume with the edition of the course that began"
            ) from None

    def _load_side(self, optimizer, prefix):
        """The moments of a checkpoint; rates stay as the loop has just set them."""
        state = {}
        for name, value in part(self.saved, prefix).items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def part(tensors, prefix):
    """Those tensors whose name begins so, without that beginning."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }

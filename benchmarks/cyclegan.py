"""Our small CycleGAN beside the published architecture, on summer and winter at 32 x 32.

    .venv/bin/python benchmarks/cyclegan.py [--seconds 10,30,60] [--seeds 0,1,2] [--only ours]

Published (J.-Y. Zhu and others, 2017; our own code): ResNet generators with nine blocks, c7s1-w, d2w,
d4w, nine R4w, u2w, uw, c7s1-3, instance norm and tanh; PatchGAN discriminators C w-2w-4w-8w; squared
losses, cycle weight 10, identity weight 5, an image pool of 50, batch 1, Adam at 2e-4 with betas 0.5 and
0.999. Its width w is 64; 16 and 32 are shown as well, and 24x4: width and batch of ours, 24 and 4. It
is scored on the way, as it has no end.
Ours is the recipe of notebook 05c; its learning rate falls to zero, so each time is a run of its own,
and the number of steps is found from the time of its first 30.

Seconds are those of the processor, so that a busy neighbour does not count; one thread. Twin error:
mean absolute difference to the true twin of 300 test pictures, % of full brightness, mean of both
ways; beside it the same over pixels of trees and house. Gap closed: house detectors trained on summer
see winter translated to summer; 0 % is what they score on untranslated winter, 100 % on true summer.
One detector may be lucky on winter that it never saw, so five are asked and their scores averaged.
"""

import argparse
import itertools
import os
import random
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("LECTURE_QUIET", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn

from utils import data
from utils.notebooks import definitions

ours = definitions("05c_cyclegan", "model", "check")


# ------------------------------------------------------------------ the published architecture


class Block(nn.Module):
    """Features plus what two convolutions add, with instance norm."""

    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"),
            nn.InstanceNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect"), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, h):
        return h + self.net(h)


def published_generator(w):
    def finished(layer, out):
        return [layer, nn.InstanceNorm2d(out), nn.ReLU()]

    layers = finished(nn.Conv2d(3, w, 7, padding=3, padding_mode="reflect"), w)
    for out in (2 * w, 4 * w):
        layers += finished(nn.Conv2d(out // 2, out, 3, 2, 1), out)
    layers += [Block(4 * w) for _ in range(9)]
    for out in (2 * w, w):
        layers += finished(nn.ConvTranspose2d(2 * out, out, 3, 2, 1, output_padding=1), out)
    layers += [nn.Conv2d(w, 3, 7, padding=3, padding_mode="reflect"), nn.Tanh()]
    return nn.Sequential(*layers)


def published_discriminator(w):
    layers = [nn.Conv2d(3, w, 4, 2, 1), nn.LeakyReLU(0.2)]
    for out, stride in ((2 * w, 2), (4 * w, 2), (8 * w, 1)):
        conv = nn.Conv2d(out // 2, out, 4, stride, 1)
        layers += [conv, nn.InstanceNorm2d(out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4, 1, 1))


def from_pool(kept, made, size=50):
    """What a discriminator sees: the new picture (3, H, W), or half of the time an old one it replaces."""
    if len(kept) < size:
        kept.append(made)
        return made
    if random.random() < 0.5:
        return made
    place = random.randrange(size)
    old, kept[place] = kept[place], made
    return old


def run_published(width, batch, domains, marks):
    """Yield (generators, processor seconds, steps) at each of the marks."""
    generators = [published_generator(width) for _ in range(2)]
    discriminators = [published_discriminator(width) for _ in range(2)]
    for layer in itertools.chain(*(net.modules() for net in (*generators, *discriminators))):
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)
    sides = [
        torch.optim.Adam([w for net in nets for w in net.parameters()], 2e-4, (0.5, 0.999))
        for nets in (generators, discriminators)
    ]
    draws, kept = [ours.drawer(domain) for domain in domains], ([], [])
    spent, steps, ahead = 0.0, 0, list(marks)
    while ahead:
        begun = time.process_time()
        real = [2 * draw(batch) - 1 for draw in draws]
        made = [generators[k](real[k]) for k in (0, 1)]
        loss = sum((discriminators[k](made[k]) - 1).square().mean() for k in (0, 1))
        loss = loss + 10 * sum((generators[1 - k](made[k]) - real[k]).abs().mean() for k in (0, 1))
        loss = loss + 5 * sum((generators[1 - k](real[k]) - real[k]).abs().mean() for k in (0, 1))
        sides[0].zero_grad()
        loss.backward()
        sides[0].step()
        shown = [torch.stack([from_pool(kept[k], one) for one in made[k].detach()]) for k in (0, 1)]
        loss = sum(
            (
                (discriminators[k](real[1 - k]) - 1).square().mean()
                + discriminators[k](shown[k]).square().mean()
            )
            / 2
            for k in (0, 1)
        )
        sides[1].zero_grad()
        loss.backward()
        sides[1].step()
        steps += 1
        spent += time.process_time() - begun
        if spent >= ahead[0]:
            ahead.pop(0)
            yield [lambda x, net=net: (net(2 * x - 1) + 1) / 2 for net in generators], spent, steps


# ------------------------------------------------------------------ ours


def train_ours(domains, steps):
    """The generators and the processor seconds of so many steps."""
    generators = nn.ModuleList([ours.SceneGenerator(), ours.SceneGenerator()])
    discriminators = nn.ModuleList([ours.PatchDiscriminator(), ours.PatchDiscriminator()])
    begun = time.process_time()
    draws = [ours.drawer(domain) for domain in domains]
    _, means = ours.fit(generators, discriminators, draws, steps, **ours.recipe)
    return means, time.process_time() - begun


def run_ours(domains, marks):
    for mark in marks:
        train_ours(domains, 5)
        steps = max(30, int(mark * 30 / train_ours(domains, 30)[1]))
        generators, spent = train_ours(domains, steps)
        yield generators, spent, steps


# ------------------------------------------------------------------ the score


@torch.no_grad()
def scorer(seed):
    """A function of two generators: twin error %, on trees and house %, gap closed %."""
    test = [data.scenes(300, season, seed=seed + 100) for season in ("summer", "winter")]
    seasons = ("winter", "summer")
    twins = [data.twin_for_scoring(t.factors, s) for t, s in zip(test, seasons)]
    where = [ours.object_pixels(t.factors, w, s) for t, w, s in zip(test, twins, seasons)]
    lesson = data.scenes(4000, "summer", seed=seed + 50)
    with torch.enable_grad():
        draw = ours.labelled(lesson.images, lesson.factors)
        detectors = [ours.teach(draw)[0] for _ in range(5)]

    def right(pictures):
        seen = torch.stack([detector(pictures)[:, 0] > 0 for detector in detectors])
        return 100 * (seen == test[1].factors.house).float().mean().item()

    none, oracle = right(test[1].images), right(twins[1])
    print(f"Seed {seed}: the detectors read {none:.0f} % right in winter, {oracle:.0f} % of its "
          "summer twins.\n", file=sys.stderr, flush=True)  # fmt: skip

    @torch.no_grad()
    def score(generators):
        made = [generators[k](test[k].images).clamp(0, 1) for k in (0, 1)]
        errors = zip(*(ours.twin_errors(*parts) for parts in zip(made, twins, where)))
        return *map(statistics.mean, errors), 100 * (right(made[1]) - none) / (oracle - none)

    return score


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seconds", default="10,30,60")
    arguments.add_argument("--seeds", default="0,1,2")
    arguments.add_argument("--only", default="", help="ours, 16, 24x4, 32, 64, separated by commas")
    chosen = arguments.parse_args()
    torch.set_num_threads(1)
    marks = [float(second) for second in chosen.seconds.split(",")]
    names = chosen.only.split(",") if chosen.only else ["ours", "16", "32", "64", "24x4"]
    print("| network | seed | ms per step | pictures a second | after s | twin error, % "
          "| trees, house | gap closed, % |\n|---|---|---|---|---|---|---|---|", flush=True)  # fmt: skip
    for seed in map(int, chosen.seeds.split(",")):
        torch.manual_seed(seed)
        score = scorer(seed)
        domains = [data.scenes(2000, season, seed=seed).images for season in ("summer", "winter")]
        for name in names:
            torch.manual_seed(seed)
            random.seed(seed)
            if name == "ours":
                label, batch, found = name, ours.recipe["batch"], run_ours(domains, marks)
            else:
                width, batch = map(int, name.split("x")) if "x" in name else (int(name), 1)
                label = f"published, width {width}, batch {batch}"
                found = run_published(width, batch, domains, marks)
            for generators, spent, steps in found:
                whole, parts, closed = score(generators)
                print(f"| {label} | {seed} | {1000 * spent / steps:.0f} | {steps * batch / spent:.0f} "
                      f"| {spent:.0f} | {whole:.1f} | {parts:.1f} | {closed:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()

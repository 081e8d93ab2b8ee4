"""Our mended GAN beside two with public settings, for the same time, on the ring of 8 and the grid of 25.

    .venv/bin/python benchmarks/gans.py [--seconds 30] [--seeds 0,1,2] [--targets grid,ring] [--only ours]
    .venv/bin/python benchmarks/gans.py --only leave --targets grid --seconds 10

The two peers are our own code with the hyperparameters of a widely used public collection
(PyTorch-GAN, its gan.py and wgan_gp.py), the image replaced by a point: generator 100 - 128 - 256 -
512 - 1024 - 2 with batch normalisation and a final tanh, discriminator 2 - 512 - 256 - 1, batches of
64, Adam at 2e-4 with betas 0.5 and 0.999; for WGAN-GP five critic steps for one of the generator, and
a gradient penalty of weight 10. Data are scaled to [-1, 1] for them. Ours is the recipe of notebook
04b, with batches of 256.

Seconds are those of the processor, so that a busy neighbour does not count; one thread. Ours needs
the number of steps beforehand, because its learning rate falls to zero: it is found from the time of
its first 100. All are scored with 50,000 samples: modes found, % of high quality (within 3 sd), reverse
KL in nats. True samples: 98.89 %, 0. `--only leave` takes one change at a time out of our recipe.
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("LECTURE_QUIET", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import nn
from torch.nn import functional as F

from utils.data import densities
from utils.data.densities import Mixture
from utils.notebooks import definitions

ours = definitions("04b_gan_failures")


def targets():
    """The ring and the grid of PacGAN."""
    angle = 2 * math.pi * torch.arange(8) / 8
    ring = Mixture("ring", torch.stack([angle.cos(), angle.sin()], 1), 0.01, 1.3)
    return {"grid": densities()["grid"], "ring": ring}


def public_generator(limit):
    """The generator of gan.py, for points within +-limit."""
    layers, width = [nn.Linear(100, 128), nn.LeakyReLU(0.2)], 128
    for wider in (256, 512, 1024):
        layers += [nn.Linear(width, wider), nn.BatchNorm1d(wider, 0.8), nn.LeakyReLU(0.2)]
        width = wider
    net = nn.Sequential(*layers, nn.Linear(width, 2), nn.Tanh())
    return lambda count: limit * net(torch.randn(count, 100)), net


def run_public(target, seconds, critic):
    """A GAN, or a WGAN-GP where `critic`, with the public settings; samples, steps."""
    draw, net = public_generator(target.limit)
    discriminator = nn.Sequential(
        nn.Linear(2, 512), nn.LeakyReLU(0.2), nn.Linear(512, 256), nn.LeakyReLU(0.2), nn.Linear(256, 1)
    )  # fmt: skip
    players = [torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (net, discriminator)]
    begun, step = time.process_time(), 0
    while time.process_time() - begun < seconds:
        x, fake = target.sample(64) / target.limit, draw(64) / target.limit
        on_real, on_fake = discriminator(x), discriminator(fake.detach())
        if critic:
            loss = (on_fake - on_real).mean()
            slope = ours.gradient_norm(lambda p: discriminator(p)[:, 0], ours.between(x, fake))
            loss = loss + 10 * (slope - 1).square().mean()
        else:
            loss = (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()) / 2
        players[1].zero_grad()
        loss.backward()
        players[1].step()
        step += 1
        if not critic or step % 5 == 0:
            logits = discriminator(fake)
            loss = -logits.mean() if critic else F.softplus(-logits).mean()
            players[0].zero_grad()
            loss.backward()
            players[0].step()
    net.eval()
    with torch.no_grad():
        return draw(50_000), step


RECIPE = {"activation": nn.Tanh, "features": 32, "r1": 0.1, "falling": True, "average": 0.995}
FREQUENCY = {"ring": 1.0, "grid": 1.5}  # of the waves
LEAVE = {
    "without tanh": {"activation": ours.leaky},
    "without waves": {"features": 0},
    "without R1": {"r1": 0.0},
    "without falling rate": {"falling": False},
    "without average": {"average": 0.0},
    "without falling rate and average": {"falling": False, "average": 0.0},
}


def run_ours(target, seconds, **changes):
    """The recipe of notebook 04b, or a changed one; samples, steps."""
    how = {**RECIPE, **changes}
    activation, features = how.pop("activation"), how.pop("features")
    scale = target.sample(5000).std().item()

    def fresh():
        generator = ours.Generator(scale=scale, activation=activation)
        waves = {"features": features, "frequency": FREQUENCY[target.name]}
        return generator, ours.Discriminator(scale=scale, **waves)

    begun = time.process_time()
    ours.fit(*fresh(), target, 100, **how)
    steps = int(100 * seconds / (time.process_time() - begun))
    _, mean, _ = ours.fit(*fresh(), target, steps, **how)
    return mean.sample(50_000), steps


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--targets", default="grid,ring")
    parser.add_argument("--only", choices=["ours", "peers", "leave"])
    chosen = parser.parse_args()
    methods = {}
    if chosen.only in (None, "peers"):
        methods["GAN, public settings"] = lambda target, s: run_public(target, s, critic=False)
        methods["WGAN-GP, public settings"] = lambda target, s: run_public(target, s, critic=True)
    if chosen.only != "peers":
        methods["ours"] = run_ours
    if chosen.only == "leave":
        for label, change in LEAVE.items():
            methods[label] = lambda target, s, change=change: run_ours(target, s, **change)
    print("| target | seed | method | steps | seconds | modes | % high quality | reverse KL |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in chosen.targets.split(","):
        target = targets()[name]
        for seed in map(int, chosen.seeds.split(",")):
            for label, method in methods.items():
                torch.manual_seed(seed)
                begun = time.process_time()
                x, steps = method(target, chosen.seconds)
                spent = time.process_time() - begun
                modes, share, kl = ours.score(x, target)
                print(
                    f"| {name} | {seed} | {label} | {steps} | {spent:.0f} | {modes} "
                    f"| {100 * share:.1f} | {kl:.4f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()

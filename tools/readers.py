"""Train the readers of utils/yardstick.py and keep their weights: half a minute in all.

Run by hand, `make readers`, when the data or the readers are changed; all results that were measured
with them have to be made anew then.
"""

import math

import torch
from torch.nn import functional as F

from utils import ROOT, data, yardstick
from utils.data.painting import SEASONS, TIMES
from utils.data.scenes import Factors
from utils.store import save_model

STEPS, BATCH, RATE = 2500, 64, 4e-3
TILT, SHIFT, ZOOM = math.radians(12), 0.15, 0.12


def moved(x):
    """Digits each turned, shifted and scaled a little."""
    count = len(x)
    turn = TILT * (2 * torch.rand(count) - 1)
    zoom = 1 + ZOOM * (2 * torch.rand(count) - 1)
    shift = SHIFT * (2 * torch.rand(count, 2) - 1)
    sine, cosine = zoom * turn.sin(), zoom * turn.cos()
    rows = [
        torch.stack([cosine, -sine, shift[:, 0]], 1),
        torch.stack([sine, cosine, shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), x.shape, align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def digits():
    """A draw of training digits with their classes, and the loss."""
    x, y = data.mnist().train

    def draw():
        rows = torch.randint(len(x), (BATCH,))
        return moved(x[rows]), y[rows]

    return draw, F.cross_entropy


def scenes():
    """A draw of scenes in all four looks with their factors, and the loss."""
    looks = [(season, time) for season in range(len(SEASONS)) for time in range(len(TIMES))]
    sets = [data.scenes(4000, SEASONS[s], TIMES[t], seed=1000) for s, t in looks]

    def draw():
        parts = [torch.randint(4000, (BATCH // len(looks),)) for _ in looks]
        x = torch.cat([one.images[rows] for one, rows in zip(sets, parts, strict=True)])
        chosen = [one.factors.rows(rows) for one, rows in zip(sets, parts, strict=True)]
        look = torch.tensor(looks).repeat_interleave(len(parts[0]), dim=0)
        return x, ([torch.cat(part) for part in zip(*chosen, strict=True)], look)

    def loss(answers, truth):
        factors, look = Factors(*truth[0]), truth[1]
        house, trees, wall, season, time, places = yardstick.split_answers(answers)
        true_places = torch.cat([factors.horizon[:, None], factors.light], 1)
        return (
            F.binary_cross_entropy_with_logits(house.squeeze(1), factors.house.float())
            + F.cross_entropy(trees, factors.trees)
            + F.cross_entropy(wall[factors.house], factors.house_wall[factors.house])
            + F.cross_entropy(season, look[:, 0])
            + F.cross_entropy(time, look[:, 1])
            + 100 * F.mse_loss(places, true_places)
        )

    return draw, loss


def train(name, draw, loss_of, steps=STEPS):
    """A reader trained on batches (x, truth) = draw()."""
    torch.manual_seed(0)
    reader = yardstick.new_reader(name)
    optimizer = torch.optim.AdamW(reader.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    for step in range(steps):
        x, truth = draw()
        loss = loss_of(reader(x), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 250 == 0:
            print(f"{name}: step {step}, loss {loss.item():.3f}", flush=True)
    return reader.eval()


def run():
    """Make utils/readers/*.pt anew."""
    for name, make in {"digits": digits, "scenes": scenes}.items():
        save_model(ROOT / "utils" / "readers" / f"{name}.pt", train(name, *make()))

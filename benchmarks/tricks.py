"""BigGAN's tricks with more paired seeds than notebook 04f has time for.

Each trick of notebook 04f on and off, at equal cost, as there: the same networks, loop and rule
(99 % t interval of the mean log ratio of Frechet distances), its definitions and its table of
tricks; but `--seeds` models at once (ten), which share the digits and the noise of a pair. 2000
samples against the 2000 held-out digits of 14 x 14, enlarged as there. About two minutes of one core.
`--equal-steps` gives every trick all the steps of the baseline, whatever they cost.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("LECTURE_QUIET", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from utils import data, yardstick
from utils.notebooks import cells, definitions, source

NAME = "04f_biggan_tricks"
ours = definitions(NAME)


def notebook_tricks():
    """The dictionary `tricks` as the notebook writes it."""
    text = next(source(cell) for cell in cells(NAME) if "\ntricks = {" in source(cell))
    scope = {}
    exec(text, scope)
    return scope["tricks"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--start", type=int, default=100)
    parser.add_argument("--equal-steps", action="store_true")
    chosen = parser.parse_args()
    torch.manual_seed(chosen.start)
    train, valid, test = data.mnist()
    x_train, y_train = ours.shrink(train.x), train.y
    held = ours.enlarge(ours.shrink(torch.cat([valid.x, test.x])))
    real = yardstick.digit_features(held)
    count = chosen.seeds

    def distances(generator):
        made = ours.sample(generator)[0]
        return [yardstick.frechet(yardstick.digit_features(ours.enlarge(x)), real) for x in made]

    def trial(**on):
        networks = {key: on.pop(key) for key in ours.SWITCHES | {"width"} if key in on}
        rng = torch.Generator().manual_seed(chosen.start)

        def draw(batch):
            i = torch.randint(len(x_train), (count, batch), generator=rng)
            return x_train[i], y_train[i]

        if chosen.equal_steps:
            on.pop("steps", None)
        players = ours.pair(count, chosen.start, **networks)
        begun = time.process_time()
        average, _ = ours.fit(*players, draw, rng, **on)
        return distances(average), players[0], time.process_time() - begun

    baseline, last, spent = trial()
    found = {"EMA": (ours.paired(baseline, distances(last)), spent)}
    for name, on in notebook_tricks().items():
        reached, _, spent = trial(**on)
        found[name] = ours.paired(reached, baseline), spent
    print(f"| trick, {count} pairs | ratio | 99 % interval | the rule says | seconds |")
    print("|---|---|---|---|---|")
    for name, ((ratio, low, high), spent) in found.items():
        says = ours.verdict(low, high)
        print(f"| {name} | {ratio:.2f} | {low:.2f} to {high:.2f} | {says} | {spent:.0f} |")


if __name__ == "__main__":
    main()

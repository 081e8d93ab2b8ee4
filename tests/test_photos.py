"""05c on one's own photographs: processes, resumption, and every fault caused for real."""

import csv
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import ROOT, posix
from lightning_fabric import Fabric
from PIL import Image

from tools import photos
from tools.photos import __main__ as door
from tools.photos import loop, results, store
from utils import data
from utils.checks import check_close
from utils.notebooks import definitions
from utils.train import Diverged

SEASONS = ("summer", "winter")
COMMAND = [sys.executable, "-m", "tools.photos"]
SMALL = ["--size", "16", "--steps", "20", "--every", "5"]
BRIEF = ["--steps", "4", "--every", "4"]


EXPORT = results.export_explorer


@pytest.fixture(autouse=True)
def set_back(monkeypatch):
    """A run names its folder to utils and seeds torch; the explorer takes seconds to write."""
    monkeypatch.setenv("LECTURE_OUT", "")
    monkeypatch.setattr(results, "export_explorer", lambda *_: 0.0)
    with torch.random.fork_rng():
        yield


@pytest.fixture
def seasons(tmp_path):
    """Folders of unequal size, as words of the command line."""
    for count, season in zip((9, 5), SEASONS):
        (tmp_path / season).mkdir()
        for number, image in enumerate(data.scenes(count, season, seed=4).images):
            (tmp_path / season / f"{number}.png").write_bytes(results.png(image))
    return [str(tmp_path / season) for season in SEASONS]


def run(seasons, out, *words):
    return door.main([*seasons, *SMALL, *words, "--out", str(out)])


def refused(seasons, out, *words):
    """What the command says as it fails."""
    with pytest.raises(SystemExit) as stopped:
        run(seasons, out, *words)
    assert isinstance(stopped.value.code, str), "a failure has its words"
    return stopped.value.code


def losses(out):
    with (out / "losses.csv").open(encoding="utf-8") as file:
        return np.array([[float(v) for v in row.values()] for row in csv.DictReader(file)])


def pictures():
    return [data.scenes(6, season, seed=4).images[..., :16, :16] for season in SEASONS]


def bare_run(steps, **changes):
    """A Run on one processor that keeps what it is given in `kept` {step: tensors}."""
    kept = {}
    how = {"every": steps, "seed": 0, "show": lambda *_: None} | changes
    fabric = Fabric(accelerator="cpu", devices=1, precision=how.pop("precision", "32-true"))
    made = loop.Run(
        fabric, steps, keep=lambda step, found: kept.update({step: copied(found)}), **how
    )
    return made, kept


def copied(tensors):
    return {name: tensor.clone() for name, tensor in tensors.items()}


def check_same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


# ------------------------------------------------------------------ the loop is the notebook's


def test_the_weights_are_those_of_the_notebooks_loop():
    """`fit` as it stands, with draws that seed themselves as the door seeds."""
    cycle, step = definitions("05c_cyclegan"), [-2]

    def seeded(draw, first):
        def draw_seeded(count):
            step[0] += first
            if first and step[0] >= 0:
                torch.manual_seed(7 * 1_000_003 + step[0])
            return draw(count)

        return draw_seeded

    torch.manual_seed(7)
    nets = [
        torch.nn.ModuleList([make(), make()])
        for make in (cycle.SceneGenerator, cycle.PatchDiscriminator)
    ]
    draws = [seeded(cycle.drawer(x), first) for x, first in zip(pictures(), (1, 0))]
    _, means = cycle.fit(*nets, draws, 9, **cycle.recipe)
    made, _ = bare_run(9, seed=7)
    check_same(means.state_dict(), made.fit(pictures(), cycle.recipe["batch"]).state_dict())


def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(seasons, tmp_path):
    once = ["--every", "20"]
    two = subprocess.Popen(
        [*COMMAND, *seasons, *SMALL, *once, "--batch", "2", "--devices", "2",
         "--out", str(tmp_path / "two")],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    run(seasons, tmp_path / "one", *once, "--batch", "4")
    told = two.communicate(timeout=1000)[0]
    assert two.returncode == 0, told
    assert told.count("9 pictures;") == 1, "one process speaks for both"
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.shape == two.shape == (20, 5)
    assert np.abs(one - two).max() < 1e-4
    assert np.ptp(one[:, 1]) > 0.1, "the losses move"


KILLED = """
import os, signal, sys
from tools.photos import __main__ as door, store
whole = store.keep
def keep(folder, step, *rest):
    whole(folder, step, *rest)
    if step == 10:
        os.kill(os.getpid(), signal.SIGKILL)
store.keep = keep
door.main(sys.argv[1:])
"""


def test_killed_and_resumed_is_as_if_nothing_had_happened(seasons, tmp_path):
    cut = tmp_path / "cut"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *seasons, *SMALL, "--out", str(cut)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL
    assert [path.stem for path in store.checkpoints(cut / "checkpoints")] == [
        "00000005",
        "00000010",
    ]
    draft = cut / "checkpoints" / ".00000015.safetensors.half"
    draft.write_bytes(b"half")
    run(seasons, cut, "--resume")
    made, kept = bare_run(20)
    domains = [data.image_folder(folder, 16).images for folder in seasons]
    made.fit(domains, 4)
    names = [path.stem for path in store.checkpoints(cut / "checkpoints")]
    assert names == ["00000010", "00000015", "00000020"], "the last three"
    assert not draft.exists()
    check_same(store.newest(cut / "checkpoints")[0], kept[20])
    check_close(store.read(cut / "translator.safetensors")[0]["0.enter.weight"],
                kept[20]["means.0.enter.weight"])  # fmt: skip


def test_an_interrupt_ends_the_run_after_a_checkpoint():
    def show(step, _):
        if step == 10:
            os.kill(os.getpid(), signal.SIGINT)

    made, kept = bare_run(30, show=show)
    made.fit(pictures(), 2)
    assert made.stopped and list(kept) == [20] and len(made.losses) == 20


def test_mixed_precision_trains_in_sixteen_bits_and_keeps_thirty_two():
    exact, mixed = (bare_run(3, precision=p) for p in ("32-true", "bf16-mixed"))
    for made, _ in (exact, mixed):
        made.fit(pictures(), 2)
    off = (exact[0].losses - mixed[0].losses).abs().max()
    assert 0 < off < 0.1
    assert {tensor.dtype for tensor in mixed[1][3].values()} == {torch.float32}


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_kept():
    made, kept = bare_run(20, every=5)
    made.cycle.recipe["lr"] = (1e8, 1e8)
    with pytest.raises(Diverged, match=r"step \d+: \w+ is (nan|inf).*--resume"):
        made.fit(pictures(), 2)
    assert all(t.isfinite().all() for tensors in kept.values() for t in tensors.values())


# ------------------------------------------------------------------ the whole command


def test_a_run_leaves_pictures_translations_and_an_explorer(seasons, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(results, "export_explorer", EXPORT)
    Image.new("RGB", (40, 40), "red").save(tmp_path / "winter" / "0.jpg")
    out = tmp_path / "out"
    run(seasons, out, "--translate", seasons[1])
    told = capsys.readouterr().out
    assert "9 pictures" in told and "6 pictures; fewer than 20 are learned by heart" in told
    assert "step 20 of 20, about 0 s left" in told
    assert sorted(path.name for path in (out / "pictures").iterdir())[0] == "00000005.png"
    for picture in (out / "before_after.png", out / "pictures" / "00000020.png"):
        with Image.open(picture) as opened:
            assert min(opened.size) > 500
    names = {"0.png.png", "0.jpg.png", "1.png", "2.png", "3.png", "4.png"}
    assert {path.name for path in (out / "translated").iterdir()} == names
    with Image.open(out / "translated" / "3.png") as opened:
        assert opened.size == (16, 16) and opened.mode == "RGB"
        made = torch.tensor(np.asarray(opened)).permute(2, 0, 1) / 255
    net = definitions("05c_cyclegan").SceneGenerator()
    weights = store.read(out / "translator.safetensors")[0]
    net.load_state_dict(loop.part(weights, "0."))
    found = data.image_folder(seasons[1], 16)
    place = [str(name) for name in results.file_names(tmp_path / "winter", found)].index("3.png")
    check_close(made, net.translate(found.images[place : place + 1])[0], tolerance=0.003)
    assert float(re.search(r"off from torch by (\S+)", told).group(1)) < 1e-4
    for file in ("lecture/live/{}.json", "lecture/live/{}.onnx", "figures/{}_still.png"):
        assert (out / file.format(results.EXPLORER)).stat().st_size > 1000


def test_a_finished_run_translates_another_folder(seasons, tmp_path):
    run(seasons, tmp_path / "out", *BRIEF)
    before = store.newest(tmp_path / "out" / "checkpoints")[0]
    run(seasons, tmp_path / "out", *BRIEF, "--resume", "--translate", seasons[1])
    check_same(before, store.newest(tmp_path / "out" / "checkpoints")[0])
    assert len(list((tmp_path / "out" / "translated").iterdir())) == 9


def commands(text):
    """The commands of a text that start the door, as the words after its name."""
    text = re.sub(r"\\\n\s*", "", text)
    lines = re.findall(
        r"^\s*(?:python -m tools\.photos|fabric run .*?tools/photos) (.*)$", text, re.M
    )
    return [shlex.split(line) for line in lines]


def test_the_commands_in_help_and_readme_can_be_given():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(commands(door.EXAMPLES)) == 4 and len(commands(photos.__doc__)) == 1
    for words in commands(door.EXAMPLES + photos.__doc__ + "\n" + readme):
        asked = door.parser().parse_args(words)
        assert (asked.first.name, asked.second.name) == SEASONS
    told = door.parser().format_help()
    for action in door.parser()._actions:
        assert action.help and (action.default in (None, False) or action.dest == "help" or
                                str(action.default) in told or action.dest == "devices")  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "told"), [(4, "4 s"), (1234, "21 min"), (3 * 3600 + 300, "3 h 05 min")]
)
def test_time_left_is_told_as_one_says_it(seconds, told):
    assert door.told_time(seconds) == told


# ------------------------------------------------------------------ bad input


def test_odd_pictures_one_picture_and_none(seasons, tmp_path, capsys):
    one, odd, empty = (tmp_path / name for name in ("one", "odd", "empty"))
    for folder in (one, odd, empty):
        folder.mkdir()
    Image.new("L", (3, 2), 90).save(odd / "tiny_grey.png")
    Image.new("RGBA", (40, 20), (9, 9, 9, 0)).save(odd / "clear.png")
    Image.new("CMYK", (30, 30)).save(odd / "print.jpg")
    lying = Image.new("RGB", (60, 30), "white")
    exif = lying.getexif()
    exif[0x0112] = 6
    lying.save(odd / "lying.jpg", exif=exif)
    for number in range(5):
        Image.new("RGB", (30, 40), "blue").save(odd / f"plain{number}.png")
    Image.new("1", (9000, 9000)).save(odd / "bomb.png")
    (odd / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Image.new("RGB", (20, 20), "white").save(one / "only.png")
    door.main([str(odd), str(one), "--size", "16", "--steps", "2", "--out", str(tmp_path / "out")])
    told = capsys.readouterr().out
    assert "broken.png" in told and "bomb.png: 9000 x 9000 pixels are too many" in told
    assert "1 picture; fewer than 20" in told
    made = {path.name for path in (tmp_path / "out" / "translated").iterdir()}
    plain = {f"plain{number}.png" for number in range(5)}
    assert made == plain | {f"{name}.png" for name in ("tiny_grey", "clear", "print", "lying")}
    assert "empty holds no images" in refused([seasons[0], str(empty)], tmp_path / "new")
    (empty / "half.png").write_bytes(b"\x89PNG")
    told = refused([seasons[0], str(empty)], tmp_path / "new")
    assert "half.png" in told and "run the command again" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--size", "30"], r"--size 30: a multiple of four from 16 on, say 3\d"),
        (["--size", "8"], "say 16"),
        (["--steps", "0"], "--steps 0"),
        (["--batch", "-1"], "--batch -1"),
        (["--devices", "0"], "--devices 0"),
        (["--resume"], "no checkpoint to resume from"),
        (["--translate", "nowhere"], "nowhere is not a folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_read(tmp_path, seasons, words, told):
    assert re.search(told, refused(seasons, tmp_path / "out", *words))
    assert not (tmp_path / "out").exists()


def test_a_run_among_the_photographs_or_over_another_run_is_refused(seasons, tmp_path):
    assert "among the pictures" in refused(seasons, tmp_path / "summer" / "run")
    out = tmp_path / "out"
    store.keep(out / "checkpoints", 5, {"losses": torch.zeros(5, 4)}, {"size": 64, "steps": 20})
    assert "holds a run of 5 steps" in refused(seasons, out)
    told = refused(seasons, out, "--resume")
    assert "size 64 there, 16 here" in told and "steps" not in told.partition("Give")[0]


@pytest.mark.parametrize("damage", ["empty", "cut", "altered", "a pickle"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, capsys, damage):
    for step in (5, 10):
        store.keep(tmp_path, step, {"x": torch.full((100,), step)}, {})
    path = store.checkpoints(tmp_path)[-1]
    whole = path.read_bytes()
    path.write_bytes({
        "empty": b"", "cut": whole[:-9], "altered": whole[:-1] + bytes([whole[-1] ^ 1]),
        "a pickle": pickle.dumps({"x": 1}),
    }[damage])  # fmt: skip
    found, about = store.newest(tmp_path)
    assert about == {"step": 5} and (found["x"] == 5).all()
    assert "00000010.safetensors" in capsys.readouterr().out
    store.checkpoints(tmp_path)[0].unlink()
    with pytest.raises(store.CheckpointError, match="no checkpoint that can be read"):
        store.newest(tmp_path)


def test_a_checkpoint_of_other_networks_is_a_readable_difference(seasons, tmp_path):
    run(seasons, tmp_path / "out", *BRIEF)
    path = store.checkpoints(tmp_path / "out" / "checkpoints")[-1]
    tensors, about = store.read(path)
    tensors["means.0.enter.weight"] = torch.zeros(3, 3)
    store.write(path, tensors, about)
    told = refused(seasons, tmp_path / "out", *BRIEF, "--resume")
    assert "other networks" in told and "enter.weight" in told


@posix
def test_a_disk_that_fills_up_leaves_the_last_checkpoint_whole(seasons, tmp_path, monkeypatch):
    import resource

    whole, limits = store.keep, resource.getrlimit(resource.RLIMIT_FSIZE)

    def keep(folder, step, *rest):
        if step == 10:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        whole(folder, step, *rest)

    monkeypatch.setattr(store, "keep", keep)
    out = tmp_path / "out"
    try:
        told = refused(seasons, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "Free some space" in told and "00000005.safetensors: go on from it by --resume" in told
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["00000005.safetensors"]
    monkeypatch.setattr(store, "keep", whole)
    run(seasons, out, "--resume")
    assert (out / "before_after.png").exists()


def test_a_gpu_out_of_memory_is_told_what_to_do(seasons, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop.Run, "fit", full)
    assert "--batch 2" in refused(seasons, tmp_path / "out")
    assert "--size 64" in refused(seasons, tmp_path / "out", "--batch", "1", "--size", "128")


def test_pictures_are_spread_evenly():
    shown = results.spread(torch.arange(11.0).view(-1, 1, 1, 1), 6).flatten()
    assert all(b - a == 2 for a, b in pairwise(shown.tolist()))
    assert len(results.spread(torch.zeros(1, 3, 4, 4), 6)) == 1

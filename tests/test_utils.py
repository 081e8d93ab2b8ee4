"""The thin module: data, checks, results, progress, figures, explorer files."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from utils import data, explore, show, sound
from utils.checks import (
    Open,
    answered,
    check_close,
    check_monte_carlo,
    check_unseen,
    compare,
    exercise,
    monte_carlo,
    predict,
)
from utils.notebooks import solutions
from utils.results import record, record_samples, recorded_samples
from utils.train import Training, seed_everything


def test_digits_are_the_counts_they_claim_to_be():
    train, valid, test = data.digits()
    assert [len(s.x) for s in (train, valid, test)] == [1000, 350, 447]
    assert train.x.dtype == torch.float32 and train.y.dtype == torch.int64
    every = torch.cat([train.x, valid.x, test.x])
    assert torch.equal(every, every.round()) and every.min() == 0 and every.max() == 16


def test_check_close_says_where():
    check_close(torch.ones(3), np.ones(3))
    with pytest.raises(AssertionError, match=r"kl at \[1\] is 2, it should be 1 \(1 of 3"):
        check_close([1.0, 2.0, 1.0], torch.ones(3), what="kl")
    with pytest.raises(AssertionError, match=r"shape is \(2,\), it should be \(3,\)"):
        check_close(torch.ones(2), torch.ones(3))
    with pytest.raises(AssertionError, match="not every number is finite"):
        check_close([float("nan")], [1.0])
    with pytest.raises(AssertionError, match="compared with is not finite"):
        check_close([1.0], [float("nan")])
    with pytest.raises(AssertionError, match="numbers are needed, this is str"):
        check_close("three", [3.0])


def test_monte_carlo_check_knows_its_error():
    samples = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    check_monte_carlo(samples, 0.0)
    with pytest.raises(AssertionError, match="±"):
        check_monte_carlo(samples, 0.1)


def test_exercise_tells_open_right_and_wrong(capsys):
    def checker(answer):
        check_close(answered(answer()), 4.0, what="twice two")

    assert exercise("E", checker, lambda: 4.0)
    assert not exercise("E", checker, lambda: ...)
    assert not exercise("E", checker, lambda: 5.0)
    assert not exercise("E", checker, lambda: 1 / 0)
    with pytest.raises(Open):
        answered(...)


def test_solutions_are_found_by_number():
    assert set(solutions("03a_vae")) == {2, 3, 4, 5}


def test_results_keep_other_seeds_and_forget_older_code(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    monkeypatch.setenv("LECTURE_SOURCE", "one")
    record("n", nats=1.23456789, seconds=2)
    record("n", more=3)
    monkeypatch.setenv("SEED", "1")
    record("n", nats=torch.tensor(2.0))
    monkeypatch.setenv("LECTURE_SOURCE", "two")
    record("n", other=[1, 2])
    found = json.loads((tmp_path / "results/n.json").read_text())
    assert found == {
        "0": {"source": "one", "nats": 1.2346, "seconds": 2.0, "more": 3.0},
        "1": {"source": "two", "other": [1.0, 2.0]},
    }


def test_samples_are_kept_whole_and_leave_the_random_numbers_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    record_samples(
        "n",
        digits_x=lambda: torch.randint(0, 17, (1000, 8, 8)).float(),
        ring_x=lambda: np.random.randn(1000, 2),
    )
    assert (torch.rand(1), np.random.rand()) == expected
    found = recorded_samples("n")
    assert set(found) == {"digits_x", "ring_x"}
    assert found["digits_x"].dtype == np.uint8 and found["ring_x"].dtype == np.float32
    assert found["digits_x"].max() == 16 and found["digits_x"].min() == 0
    with pytest.raises(FileNotFoundError, match="make notebooks ONLY=09z"):
        recorded_samples("09z_nothing")


@pytest.mark.parametrize(
    ("name", "drawn", "told"),
    [
        ("digits", np.zeros((1000, 8, 8)), "call it <world>_<family>"),
        ("clouds_x", np.zeros((1000, 8, 8)), "call it <world>_<family>"),
        ("digits_x", np.zeros((1000, 64)), "expected"),
        ("digits_x", np.zeros((999, 8, 8)), "expected"),
        ("digits_x", np.full((1000, 8, 8), 0.5), "up to 16"),
        ("bars_x", np.full((1000, 4, 4), 2), "up to 1"),
        ("bars_x", np.full((1000, 4, 4), -1), "below 0"),
        ("ring_x", np.full((1000, 2), np.nan), "none missing"),
    ],
)
def test_samples_of_another_form_are_refused(name, drawn, told, tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    with pytest.raises(ValueError, match=told):
        record_samples("n", **{name: lambda: drawn})
    assert not (tmp_path / "results").exists()


def test_seed_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("SEED", "7")
    assert seed_everything() == 7
    first = torch.rand(1), np.random.rand()
    seed_everything()
    assert (torch.rand(1), np.random.rand()) == first


def test_training_counts_keeps_and_draws():
    run = Training(nn.Linear(1, 1), steps=40)
    for step in run:
        run.log(loss=torch.tensor(float(step), requires_grad=True))
    assert run.history["loss"] == [float(i) for i in range(40)]
    assert run.seconds > 0 and not run.stopped
    assert len(run.plot().lines[0].get_xdata()) == len(run.smooth("loss"))
    plt.close("all")


@pytest.mark.parametrize("name", ["s/picture", "s/picture.png"])
def test_figures_carry_their_words_and_their_source(name, tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    monkeypatch.setenv("LECTURE_SOURCE", "abc")
    fig, _ = plt.subplots()
    show.save_figure(name, fig, alt="A line that rises & falls <twice>.")
    file = next((tmp_path / "figures/s").iterdir())
    assert show.described(file) == ("A line that rises & falls <twice>.", "abc")
    before = file.read_bytes()
    show.save_figure(name, fig, alt="A line that rises & falls <twice>.")
    assert file.read_bytes() == before, "the same figure has to be the same file"
    with pytest.raises(ValueError, match="say in `alt`"):
        show.save_figure(name, fig, alt=" ")
    plt.close("all")


def test_ellipse_is_one_standard_deviation_away():
    mean, covariance = np.array([1.0, -2.0]), np.array([[2.0, 0.6], [0.6, 1.0]])
    points = show.ellipse(mean, covariance, radius=1.5) - mean
    distance = np.einsum("ni,ij,nj->n", points, np.linalg.inv(covariance), points) ** 0.5
    check_close(distance, np.full(len(distance), 1.5))


class Doubler(nn.Module):
    def forward(self, u):
        return {"image": (u.sum() / 4).clamp(0, 1).expand(1, 1, 2, 2), "twice": 2 * u}


def test_export_writes_what_the_browser_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    fig, _ = plt.subplots()
    show.save_figure("s/still.png", fig, alt="a still of it")
    plt.close("all")
    module = Doubler()
    controls = [explore.pad(["a", "b"], limit=1), explore.slider("c", low=0, high=2, value=1.0)]
    worst = explore.export(
        "s/double", module, controls, title="t", picture="p", still="s/still.png",
        path=[[0, 0, 1]],
    )  # fmt: skip
    assert worst < 1e-6
    assert module.training, "the module itself is left as it was"
    spec = json.loads((tmp_path / "lecture/live/s/double.json").read_text(encoding="utf-8"))
    assert [c["kind"] for c in spec["controls"]] == ["pad", "slider"]
    assert spec["still_alt"] == "a still of it"
    assert spec["first"].startswith("data:image/png;base64,")
    widget = explore.Explorer("s/double").widget
    assert widget.values == [0.0, 0.0, 1.0]
    assert len(widget.onnx) > 100


class Game(nn.Module):
    """u = (state 2, drawing 3): a step doubles the state."""

    def forward(self, u):
        x = torch.stack([torch.linspace(0, 1, 3), u[0, 2:]], 1)
        lines, arrows = torch.stack([x, 2 * x]), torch.cat([x, x], 1)
        after = torch.cat([2 * u[:, :2], u[:, 2:]], 1)
        grid = u[0, 2:].outer(u[0, 2:])
        return {"x": 1.0 * x, "lines": lines, "arrows": arrows, "after": after, "grid": grid}


def test_panels_steps_and_drawings_travel_to_the_browser(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    fig, _ = plt.subplots()
    show.save_figure("s/still", fig, alt="a still of the game")
    plt.close("all")
    kinds = [("x", "points"), ("x", "polygon"), ("x", "area"), ("lines", "lines")]
    kinds += [("arrows", "arrows"), ("grid", "density")]
    layers = [explore.layer(output, kind, "model") for output, kind in kinds]
    presets = {"flat": [0.5, 0.5, 0.5]}
    controls = [
        explore.state([1.0, 2.0], low=-3, high=3),
        explore.drawing("data", [0.1, 0.9, 0.3], low=0, high=1, presets=presets),
    ]
    worst = explore.export(
        "s/game", Game(), controls, title="t", picture="p", still="s/still.svg",
        panels=[explore.panel(xlim=(0, 1), ylim=(0, 1), layers=layers)], steps=[("go", "after")],
    )  # fmt: skip
    assert worst < 1e-6
    spec = json.loads((tmp_path / "lecture/live/s/game.json").read_text(encoding="utf-8"))
    assert spec["steps"] == [{"label": "go", "output": "after"}]
    assert spec["controls"][1]["presets"] == presets
    assert [part["kind"] for part in spec["panels"][0]["layers"]] == [kind for _, kind in kinds]
    shown = explore.Explorer("s/game")
    assert shown.widget.values == [1.0, 2.0, *map(pytest.approx, [0.1, 0.9, 0.3])]
    assert "image/png" in shown._repr_mimebundle_()[0], "an svg still has a picture in its place"
    with pytest.raises(ValueError, match="a layer is one of points"):
        explore.layer("x", "dots", "model")


class Sings(nn.Module):
    """u (1, 2) to a picture and to the sound that `make` makes of it."""

    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, u):
        return {"image": u.mean().expand(1, 1, 2, 2).clamp(0, 1), "sound": self.make(u)}


def hum(u):
    return u[:, 1:] * (u[:, :1] * torch.arange(400) / 20).sin()


HUMS = [explore.slider("pitch", low=1, high=3, value=2), explore.slider("size", low=0, high=1)]
LOOKS = {"title": "t", "picture": "p", "still": "s/still.png"}


def test_sound_travels_to_the_browser_and_changes_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    fig, _ = plt.subplots()
    show.save_figure("s/still.png", fig, alt="a still of it")
    plt.close("all")
    module = Sings(hum)
    files = [tmp_path / f"lecture/live/s/hum.{kind}" for kind in ("json", "onnx")]
    worst = sound.export("s/hum", module, HUMS, rate=4000, path=[[1, 1]], **LOOKS)
    assert 0 < worst < 1e-4 and module.training
    heard, onnx = json.loads(files[0].read_text(encoding="utf-8")), files[1].read_bytes()
    assert explore.export("s/hum", module, HUMS, path=[[1, 1]], **LOOKS) == worst
    silent = json.loads(files[0].read_text(encoding="utf-8"))
    assert heard == silent | {"sound": {"output": "sound", "rate": 4000}}
    assert onnx == files[1].read_bytes()


@pytest.mark.parametrize(
    "make, how, said",
    [
        (hum, {"rate": 2999}, "s/hum: 2999 samples a second; it takes 3000 to 48000"),
        (hum, {"rate": 48001}, "48001 samples a second"),
        (hum, {"rate": 8000.0}, "the rate 8000.0 is not a whole number"),
        (hum, {"rate": True}, "the rate True is not a whole number"),
        (hum, {"output": "song"}, "no output 'song' to hear among image, sound"),
        (lambda u: hum(u).expand(2, -1), {}, r"'sound' is \(2, 400\), not \(1, S\) or \(S,\)"),
        (lambda u: hum(u)[None], {}, r"is \(1, 1, 400\), not"),
        (lambda u: hum(u).sum(), {}, r"is \(\), not"),
        (lambda u: hum(u).double(), {}, "is float64, not float32"),
        (lambda u: hum(u).repeat(1, 38), {"rate": 3000}, "lasts 5.06667 s; .* at most 5"),
        (lambda u: hum(u)[:, :0], {}, "lasts 0 s; it takes more than 0"),
        (lambda u: hum(u).log(), {}, "holds numbers that are not finite"),
        (lambda u: 1.01 * hum(u), {}, r"reaches 1.0\d+, beyond \[-1, 1\], at the values \(3, 1\)"),
        (lambda u: hum(u) + u[:, 1:], {"path": [[2, 9]]}, r"beyond .* at the values"),
    ],
)
def test_sound_that_cannot_be_played_is_refused(tmp_path, monkeypatch, make, how, said):
    """By name, with the values at which it fails, before anything is written."""
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    with pytest.raises(ValueError, match=said):
        sound.export("s/hum", Sings(make), HUMS, **how, **LOOKS)
    assert not list(tmp_path.iterdir())


def test_sound_of_one_row_and_of_the_greatest_size_is_taken(monkeypatch):
    written = []
    monkeypatch.setattr(explore, "export", lambda *all, **named: written.append((all, named)))
    for make in (lambda u: hum(u)[0], lambda u: hum(u).sign() * 1.0009):
        sound.export("s/none", Sings(make), HUMS, **LOOKS)
    assert len(written) == 2 and written[0][1] == {"path": [], **LOOKS}


def test_animation_carries_its_words(tmp_path, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    monkeypatch.setenv("LECTURE_SOURCE", "abc")
    frames = []
    for slope in range(3):
        fig, ax = plt.subplots(figsize=(1, 1))
        ax.plot([0, slope])
        ax.set_ylim(0, 2)
        frames.append(fig)
    show.save_animation("s/moving", frames, alt="A line that turns")
    file = tmp_path / "figures/s/moving.webp"
    assert show.described(file) == ("A line that turns", "abc")
    with Image.open(file) as picture:
        assert picture.n_frames == 3
    assert not plt.get_fignums()


def test_explorers_of_a_notebook_share_one_runtime():
    first, second = explore.Explorer("03_vae/plane"), explore.Explorer("03_vae/code")
    assert first.widget.runtime is second.widget.runtime
    assert len(first.widget.runtime.wasm) > 1_000_000


# ------------------------------------------------------------------ leaks, predictions, answers


def work_on(train, labels):
    """A little training that looks at `train` and `labels`, as a function for check_unseen."""

    def work():
        model = nn.Linear(2, 1)
        batch = train[torch.randint(len(train), (16,))]
        (model(batch).squeeze(1) - labels[:16]).square().mean().backward()
        return [model.weight.grad, {"mean": batch.mean()}]

    return work


def test_garbage_where_training_must_not_look_changes_nothing():
    train, labels, test = torch.randn(50, 2), torch.rand(50), torch.randn(20, 2)
    kept = [tensor.clone() for tensor in (train, labels, test)]
    state = torch.get_rng_state()
    check_unseen(work_on(train, labels), [test], seen=[train, labels])
    assert torch.equal(torch.get_rng_state(), state), "the notebook's own chance goes on as before"
    for leak, told in (
        ([train], r"must not see: tensor 0, \(50, 2\)"),
        ([test, labels], "tensor 1"),
    ):
        with pytest.raises(AssertionError, match=told):
            check_unseen(work_on(train, labels), leak)
    with pytest.raises(AssertionError, match="should depend on what it is given"):
        check_unseen(work_on(train, labels), [], seen=[test])
    assert all(torch.equal(a, b) for a, b in zip(kept, (train, labels, test)))


def test_leak_check_puts_all_back_where_the_work_fails():
    data_seen, calls = torch.arange(6.0), []

    def work():
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("stopped")
        return data_seen.sum()

    with pytest.raises(RuntimeError):
        check_unseen(work, [data_seen])
    assert torch.equal(data_seen, torch.arange(6.0))


def test_a_prediction_is_kept_and_compared(monkeypatch):
    said = []
    monkeypatch.setattr("utils.checks.say", said.append)
    compare("JSD", 0.3368, unit="nats")
    predict("JSD", ...)
    predict("JSD", 0.3)
    compare("JSD", 0.3368, unit="nats")
    with pytest.raises(ValueError, match="a prediction is one number"):
        predict("JSD", "much")
    assert "no prediction was made, the answer is **0.3368 nats**" in said[0]
    assert "put your number" in said[1] and "you say 0.3" in said[2]
    assert "you said 0.3 nats, the answer is **0.3368 nats**" in said[3]


def test_exercise_shows_the_failing_line_and_sees_what_is_forbidden(monkeypatch):
    said = []
    monkeypatch.setattr("utils.checks.say", said.append)

    def checker(answer):
        check_close(answered(answer(torch.zeros(2))), [0.5, 0.5], what="the share")

    def crashing(x):
        y = x + 1
        return y[7]

    def forbidden(x):
        return (lambda v: v.softmax(0))(x)

    def silent(answer):
        if answer(1) != 2:
            raise AssertionError

    assert not exercise("E", checker, crashing)
    assert "IndexError in the line `return y[7]`" in said[-1]
    assert not exercise("E", checker, forbidden, forbidden=("softmax",))
    assert "softmax is not allowed here" in said[-1]
    assert exercise("E", checker, forbidden)
    assert not exercise("E", checker, lambda x: x)
    assert "not yet: the share at [0] is 0, it should be 0.5" in said[-1]
    assert not exercise("E", silent, lambda x: x)
    assert "this does not hold: `raise AssertionError`" in said[-1]


# ------------------------------------------------------------------ small errors that would look alike


def test_standard_error_is_that_of_the_mean():
    mean, error = monte_carlo([1.0, 2.0, 3.0, 4.0])
    assert mean == 2.5 and error == pytest.approx((5 / 3) ** 0.5 / 2)


def test_tolerance_is_absolute_near_zero_and_relative_beyond():
    check_close(0.9e-5, 0.0)
    check_close(1000.009, 1000.0)
    for actual, expected in [(1.1e-5, 0.0), (1000.011, 1000.0), (1.0, -1.0)]:
        with pytest.raises(AssertionError):
            check_close(actual, expected)


def test_images_stand_upright_in_reading_order():
    images = np.zeros((3, 2, 4))
    images[0, 0, 3], images[1, 1, 0], images[2, 0, 0] = 1.0, 0.5, 0.25
    ax = show.image_grid(images, columns=2)
    sheet = np.asarray(ax.images[0].get_array())
    assert sheet[0, 3] == 1.0 and sheet[1, 5] == 0.5 and sheet[3, 0] == 0.25
    assert ax.images[0].origin == "upper"
    colour = torch.zeros(1, 3, 2, 2)
    colour[0, 2, 0, 1] = 1.0
    sheet = np.asarray(show.image_grid(colour).images[0].get_array())
    assert sheet.shape[2] == 3 and sheet[0, 1, 2] == 1.0 and sheet.sum() == 1.0
    plt.close("all")


def test_a_smoothed_curve_is_the_mean_and_stands_in_its_middle():
    run = Training(nn.Linear(1, 1), steps=40)
    for step in run:
        run.log(loss=2.0 * step)
    check_close(run.smooth("loss", width=5), [2.0 * (i + 2) for i in range(36)])
    line = run.plot().lines[0]
    check_close(line.get_ydata(), 2 * line.get_xdata(), what="the curve over its steps")
    plt.close("all")

"""What a reader sees of an explorer, against what torch computes: each control, each kind of drawing.

The explorers here are made for the tests: no picture of theirs looks like its mirror image, and no
two of their numbers are alike.
"""

import base64
import io
import json
import re
import wave

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import ROOT
from matplotlib import pyplot as plt
from PIL import Image
from torch import nn

from tools import slides
from utils import explore, panels, show, sound
from utils.style import PALETTE, density_map

pytestmark = pytest.mark.browser
LIVE = sorted((ROOT / "lecture/live").glob("*/*.json"))
PATH = [[1, -0.5, 2, 0], [-1.5, 1, -1, 3], [0.2, 0.4, 0.5, 1]]

# Remember the words and the frames drawn on a canvas, in its pixels, until it is drawn anew.
SPY = """
for (const [name, remember] of Object.entries({
    fillRect: (context) => { context.canvas.texts = []; context.canvas.frames = []; },
    fillText: (context, text, x, y) => {
        const at = context.getTransform().transformPoint({ x, y });
        const { a, b } = context.getTransform();
        const size = parseFloat(context.font.match(/([\\d.]+)px/)[1]) * Math.hypot(a, b);
        context.canvas.texts.push({ text, x: at.x, y: at.y, size, upright: Math.abs(b) < 1e-6,
            align: context.textAlign });
    },
    strokeRect: (context, x, y, width, height) => {
        const scale = context.getTransform().a;
        context.canvas.frames.push([x, y, width, height].map((v) => v * scale));
    },
})) {
    const real = CanvasRenderingContext2D.prototype[name];
    CanvasRenderingContext2D.prototype[name] = function (...all) {
        remember(this, ...all);
        return real.apply(this, all);
    };
}
"""
# Frames come when the test says so: tick(milliseconds).
CLOCK = """
window.frames_ = new Map();
let id = 0;
window.requestAnimationFrame = (f) => { frames_.set(++id, f); return id; };
window.cancelAnimationFrame = (n) => frames_.delete(n);
window.tick = (now) => {
    const due = [...frames_.values()];
    frames_.clear();
    due.forEach((f) => f(now));
};
"""
# Remember the sounds made, as files.
EAR = """
window.blobs = [];
const make = URL.createObjectURL;
URL.createObjectURL = (blob) => { blobs.push(blob); return make.call(URL, blob); };
window.lastSound = async () => Array.from(new Uint8Array(await blobs.at(-1).arrayBuffer()));
"""
# A machine that plays nothing.
DEAF = """
HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException("no device", "NotSupportedError"));
"""


# ------------------------------------------------------------------ explorers made for the tests


def random_weights(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Pictures(nn.Module):
    """u (1, 4) to three colour images of 5 x 7 and the probabilities of three names."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", random_weights(4, 3 * 3 * 5 * 7, seed=1))
        self.register_buffer("names", 2 * random_weights(4, 3, seed=2))

    def forward(self, u):
        image = (u @ self.weights).sigmoid().view(3, 3, 5, 7)
        return {"image": image, "read": (u @ self.names).softmax(1)}


class Grey(nn.Module):
    """u (1, 12) to one grey image of 5 x 4 and three numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("weights", random_weights(12, 20, seed=3))

    def forward(self, u):
        image = (u @ self.weights).sigmoid().view(1, 1, 5, 4)
        return {"image": image, "numbers": u[0, :3] * torch.tensor([1.0, -10.0, 100.0])}


class Curves(nn.Module):
    """u (1, 2), a shift and a size, to one output of each kind that a panel draws."""

    def __init__(self):
        super().__init__()
        self.register_buffer(
            "dots", torch.tensor([[0.0, 0.0], [2.5, 0.5], [1.0, -1.5], [3.5, 0.7]])
        )
        walk = torch.tensor([[-0.5, -1.5], [0.0, 0.5], [1.0, -0.5], [3.0, 0.8]])
        self.register_buffer("walk", torch.stack([walk, walk * torch.tensor([1.0, 0.3])]))
        rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
        self.register_buffer("cells", ((rows + 1) * (columns + 2) / 28))

    def forward(self, u):
        x = torch.stack([u[0, 0], 0 * u[0, 0]])
        size = u[0, 1]
        line = self.walk[0]
        step = torch.tensor([[1.0, 0.4], [-0.8, 0.3], [0.5, 0.9], [0.2, -0.6]])
        return {
            "dots": self.dots * size + x, "walk": self.walk * size + x,
            "arrows": torch.cat([self.dots + x, step * size], 1),
            "area": torch.stack([line[:, 0], line[:, 1] * size], 1) + x,
            "shape": torch.tensor([[0.0, -1.0], [2.0, -0.5], [1.5, 0.8]]) * size + x,
            "cells": (self.cells * size).clamp(0, 1),
        }  # fmt: skip


class Board(nn.Module):
    """u (1, 9) = (two numbers, a factor, a curve of six): one step multiplies, the other adds."""

    def forward(self, u):
        state, factor, curve = u[:, :2], u[:, 2:3], u[:, 3:]
        line = torch.stack([torch.linspace(-1, 3, 6), curve[0]], 1)[None]
        return {
            "line": line, "points": torch.stack([state[0], state[0].flip(0)], 1),
            "times": torch.cat([state * factor, factor, curve], 1),
            "plus": torch.cat([state + 1, factor, curve], 1), "numbers": 1.0 * state[0],
        }  # fmt: skip


class Tone(nn.Module):
    """u (1, 2), pitch and loudness, to a tenth of a second of sound and its first half drawn."""

    def forward(self, u):
        t = torch.linspace(0, 0.1, 800)
        heard = u[:, 1:] * (0.7 * (2765 * u[:, :1] * t).sin() + 0.3 * (5530 * u[:, :1] * t).cos())
        return {"heard": heard, "wave": torch.stack([t, heard[0]], 1)[None, :400]}


LAYERS = {
    "dots": explore.layer("dots", "points", "data", size=12, alpha=0.7),
    "walk": explore.layer("walk", "lines", "model", size=6, alpha=0.8),
    "arrows": explore.layer("arrows", "arrows", "discriminator", size=5),
    "area": explore.layer("area", "area", "latent", alpha=0.5),
    "shape": explore.layer("shape", "polygon", "noise", alpha=0.6),
    "cells": explore.layer("cells", "density", "model", alpha=0.9),
}
WIDE, TALL = {"xlim": (-1, 4.5), "ylim": (-2, 1.2)}, {"xlim": (-2, 4), "ylim": (-2.5, 1.5)}


def export_all():
    """Write the explorers of this file into $LECTURE_OUT."""
    fig, ax = plt.subplots(figsize=(3, 2))
    show.save_figure("t/still.png", fig, alt="a still figure of the test")
    ax.set_position([0, 0, 1, 1])
    ax.plot([0, 1], [0, 1])
    pictures = [
        explore.pad(["a", "b"], limit=2, step=0.1, value=(0.5, -1), background=fig),
        explore.slider("c", low=-1, high=3, step=0.25, value=0.5),
        explore.slider("d", low=0, high=3, step=1, value=2, random="uniform",
                       names=["zero", "one", "two", "three"]),
    ]  # fmt: skip
    plt.close(fig)
    known = {"still": "t/still.png", "picture": "what is seen"}
    explore.export(
        "t/pictures", Pictures(), pictures, **known, title="Move fruit", path=PATH,
        labels=["first", "second", "third"], hint="drag the point to the corner.",
        caption={"output": "read", "text": "{label}, {percent} %", "labels": ["apple", "pear", "plum"]},
    )  # fmt: skip
    sliders = [explore.slider(f"s{i}", low=-3, high=3, value=0.1 * i) for i in range(12)]
    explore.export(
        "t/grey", Grey(), sliders, **known, title="Many sliders", path=[[1.0] * 12],
        caption={"output": "numbers", "text": "{0} and {2:0} and {1:3}"},
    )  # fmt: skip
    moves = [
        explore.slider("shift", low=-1, high=1, value=0.3, random="uniform"),
        explore.slider("size", low=0.2, high=1.2, value=0.9, random="uniform"),
    ]
    for name, kinds in {
        "t/marks": ["dots", "walk", "arrows"],
        "t/fills": ["area", "shape", "cells"],
    }.items():
        shown = [
            explore.panel(**limits, aspect=aspect, title=f"the {kind}", xlabel=f"{kind} x",
                          ylabel=f"{kind} y", layers=[LAYERS[kind]])
            for kind, limits, aspect in zip(kinds, [WIDE, TALL, WIDE], [0.8, 1.1, 0.8])
        ]  # fmt: skip
        explore.export(name, Curves(), moves, **known, title="Shift", path=[[1, 1]], panels=shown)
    over = [LAYERS["area"], LAYERS["shape"], LAYERS["walk"], LAYERS["dots"]]
    explore.export(
        "t/over", Curves(), moves, **known, title="All over each other", path=[[1, 1]],
        panels=[explore.panel(**TALL, layers=over), explore.panel(**WIDE, layers=over[::-1])],
    )  # fmt: skip
    board = [
        explore.state([1.4, -0.3], low=-1e6, high=1e6),
        explore.slider("factor", low=0, high=4, step=0.5, value=2, random="uniform"),
        explore.drawing("curve", [0, 1, 2, 1, 0, 3], low=0, high=4, panel=1,
                        presets={"flat": [2] * 6, "slope": [0, 0.5, 1, 1.5, 2, 2.5]}),
    ]  # fmt: skip
    limits = {"xlim": (-1, 3), "ylim": (-1, 4)}
    explore.export(
        "t/board", Board(), board, **known, title="Play", steps=[("times", "times"), ("plus", "plus")],
        caption={"output": "numbers", "text": "{0:0}/{1:1}"},
        panels=[explore.panel(**limits, layers=[explore.layer("points", "points", "data")]),
                explore.panel(**limits, layers=[explore.layer("line", "lines", "model")])],
    )  # fmt: skip
    sound.export(
        "t/tone", Tone(),
        [explore.slider("pitch", low=0.5, high=2, value=1),
         explore.slider("loudness", low=0, high=1, value=0.8)],
        **known, title="Sing", output="heard", rate=8000, path=[[2, 1]],
        panels=[explore.panel(xlim=(0, 0.05), ylim=(-1, 1), aspect=0.8,
                              layers=[explore.layer("wave", "lines", "model")])],
    )  # fmt: skip


MODULES = {
    "t/pictures": Pictures(), "t/grey": Grey(), "t/marks": Curves(), "t/fills": Curves(),
    "t/over": Curves(), "t/board": Board(), "t/tone": Tone(),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of the explorers made here, with a page for each."""
    folder = tmp_path_factory.mktemp("explorers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LECTURE_OUT", str(folder))
        export_all()
    for name in MODULES:
        for fill in (False, True):
            write_page(folder, folder / f"lecture/live/{name}.json", fill)
    for file in LIVE:
        write_page(folder, file, fill=True)
    return folder


def page_name(name, fill):
    return f"{name.replace('/', '-')}{'-slide' if fill else ''}.html"


def write_page(folder, file, fill):
    """A page with one explorer: as on a page that scrolls, or as on a slide that it fills."""
    spec = json.loads(file.read_text(encoding="utf-8"))
    name = spec["name"]
    onnx = file.with_suffix(".onnx").read_bytes()
    spec["model"] = base64.b64encode(onnx).decode()
    roles = {
        room: ";".join(f"--{role}:{colour}" for role, colour in PALETTE[room].items())
        for room in ("light", "dark")
    }
    place = "section" if fill else "main"
    style = (slides.DECKS / "explorer.css").read_text(encoding="utf-8")
    script = (slides.BUILD / "explorer/element.js").read_text(encoding="utf-8")
    data = json.dumps(spec).replace("<", "\\u003c")
    text = f"""<!doctype html><meta charset="utf-8"><style>
        html {{ {roles["light"]} }} html[data-dark] {{ {roles["dark"]} }} body {{ margin: 0 }}
        section {{ width: 1152px; height: 540px; display: flex; flex-direction: column }}
        section latent-explorer {{ font-size: 21px }} {style}</style>
        <{place}><p><latent-explorer name="{name}"><img class="still" alt="still" src="{spec["first"]}">
        </latent-explorer></p></{place}>
        <script type="application/json" data-explorer="{name}">{data}</script><script>{script}</script>"""
    (folder / page_name(name, fill)).write_text(text, encoding="utf-8")


class Shown:
    """An explorer on its page."""

    def __init__(self, page, name):
        self.page, self.name = page, name
        self.element = page.locator("latent-explorer").first
        page.wait_for_selector("latent-explorer[data-state]")
        assert self.element.get_attribute("data-state") == "live"

    def settle(self):
        """Wait until the newest values are drawn, and return them."""
        return self.element.evaluate(
            """async ({ explorer }) => {
                await explorer.taken;
                while (explorer.drawing) await explorer.drawing;
                return explorer.values;
            }"""
        )

    def put(self, *values):
        self.element.evaluate("({ explorer }, values) => explorer.set(0, values)", values)
        assert self.settle() == pytest.approx(values)

    def outputs(self):
        with torch.no_grad():
            return MODULES[self.name](torch.tensor([self.settle()], dtype=torch.float32))

    def pictures(self):
        uris = self.element.evaluate(
            "({ explorer }) => explorer.canvases.map((c) => c.toDataURL())"
        )
        return [pixels_of(uri) for uri in uris]

    def colour(self, role):
        dark = self.page.evaluate("() => document.documentElement.hasAttribute('data-dark')")
        return PALETTE["dark" if dark else "light"][role]

    def __getattr__(self, name):
        return getattr(self.element, name)


def pixels_of(uri):
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as picture:
        return np.asarray(picture.convert("RGB")).astype(float)


@pytest.fixture(scope="module")
def windows(chromium):
    """The pages that the tests of this file have opened, by what they show."""
    kept = {}
    yield kept
    for shown in kept.values():
        shown.page.context.close()


@pytest.fixture
def opened(made, chromium, windows):
    """Opens a page of `made`, or brings the one opened before back to its start."""
    used = []

    def open_page(name, *, fill=False, scripts=(), width=1280, height=900):
        key = (name, fill, scripts, width, height)
        if key not in windows:
            context = chromium.new_context(
                viewport={"width": width, "height": height}, offline=True
            )
            page = context.new_page()
            for script in (SPY, *scripts):
                page.add_init_script(script)
            page.errors = []
            page.on("pageerror", lambda error: page.errors.append(str(error)))
            page.goto((made / page_name(name, fill)).as_uri())
            windows[key] = Shown(page, name)
        shown = windows[key]
        shown.page.set_viewport_size({"width": width, "height": height})
        shown.page.evaluate("() => document.documentElement.removeAttribute('data-dark')")
        shown.element.evaluate("({ explorer }) => explorer.reset()")
        shown.settle()
        used.append(shown)
        return shown

    yield open_page
    assert all(shown.page.errors == [] for shown in used)


# ------------------------------------------------------------------ the pad


def centre_of(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


@pytest.mark.parametrize("fill", [False, True], ids=["page", "slide"])
@pytest.mark.parametrize(
    "across, down", [(0.5, 0.5), (0.9, 0.2), (0.15, 0.7), (0.02, 0.98), (1.3, 0.4), (0.6, -0.2)]
)
def test_pad_reads_what_the_mouse_points_at(opened, fill, across, down):
    shown = opened("t/pictures", fill=fill)
    pad = shown.locator(".pad")
    box = pad.bounding_box()
    to_x, to_y = box["x"] + across * box["width"], box["y"] + down * box["height"]
    shown.page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    shown.page.mouse.down()
    shown.page.mouse.move(to_x, to_y, steps=4)
    shown.page.mouse.up()
    values = shown.settle()
    wanted = [np.clip(4 * across - 2, -2, 2), np.clip(2 - 4 * down, -2, 2)]
    pixel = 4 / box["width"]
    assert values[:2] == pytest.approx(wanted, abs=1.5 * pixel)
    assert values[2:] == [0.5, 2], "the pad moves its two values and no other"
    said = [f"{v:.1f}".replace("-", "−") for v in values[:2]]
    assert shown.locator(".reading").inner_text().split() == ["a", "=", said[0], "b", "=", said[1]]
    assert pad.get_attribute("aria-valuetext") == f"a {said[0]}, b {said[1]}"
    inside = [np.clip(to_x, box["x"], box["x"] + box["width"])]
    inside += [np.clip(to_y, box["y"], box["y"] + box["height"])]
    assert centre_of(shown.locator(".knob")) == pytest.approx(inside, abs=2), "the knob is there"


def test_pad_is_moved_by_keys_along_both_axes(opened):
    shown = opened("t/pictures")
    shown.locator(".pad").focus()
    place = np.array([0.5, -1.0])
    moves = {"Right": (0.1, 0), "Up": (0, 0.1), "Left": (-0.1, 0), "Down": (0, -0.1)}
    for key, move in moves.items():
        for shift, times in (("", 1), ("Shift+", 10)):
            shown.page.keyboard.press(f"{shift}Arrow{key}")
            place = np.clip(place + np.multiply(move, times), -2, 2)
            assert shown.settle()[:2] == pytest.approx(place)
    for key, index, border in (("Up", 1, 2), ("Left", 0, -2), ("Down", 1, -2), ("Right", 0, 2)):
        for _ in range(6):
            shown.page.keyboard.press(f"Shift+Arrow{key}")
        assert shown.settle()[index] == border, "the border is kept"


def test_pad_listens_to_the_first_button_only(opened):
    shown = opened("t/pictures")
    shown.page.mouse.move(*centre_of(shown.locator(".pad")))
    shown.page.mouse.down(button="right")
    shown.page.mouse.up(button="right")
    assert shown.settle() == [0.5, -1, 0.5, 2]


def test_background_of_the_pad_is_seen_and_stands_upright(opened):
    """Its line rises from the lower left corner to the upper right, as in the figure."""
    shown = opened("t/pictures")
    pad = shown.locator(".pad")
    for dark in (False, True):
        shown.page.evaluate(
            "dark => document.documentElement.toggleAttribute('data-dark', dark)", dark
        )
        shown.evaluate("({ explorer }) => explorer.set(0, [2, -2])")
        shot = np.asarray(Image.open(io.BytesIO(pad.screenshot())).convert("L")).astype(float)
        size = len(shot)
        middle = shot[size // 3 : 2 * size // 3, size // 3 : 2 * size // 3]
        rows, columns = np.nonzero(np.abs(middle - np.median(middle)) > 40)
        assert len(rows) > 30, "the line is seen"
        assert np.corrcoef(rows, columns)[0, 1] < -0.9


# ------------------------------------------------------------------ sliders


def number_shown(value, step):
    digits = {0.05: 2, 0.25: 2, 0.5: 1, 1: 0, 0.1: 1}[step]
    return f"{value:.{digits}f}".replace("-", "−")


@pytest.mark.parametrize("name", ["t/pictures", "t/grey", "t/board"])
def test_each_slider_moves_its_own_value(opened, name):
    shown = opened(name)
    spec = spec_of_page(shown)
    first = number = 0
    for control in spec["controls"]:
        if control["kind"] == "slider":
            row, number = shown.locator(".slider").nth(number), number + 1
            assert row.locator(".name").inner_text() == control["label"]
            before = shown.settle()
            row.locator("input").focus()
            shown.page.keyboard.press("ArrowRight")
            after = shown.settle()
            wanted = list(before)
            wanted[first] += control["step"]
            assert after == pytest.approx(wanted, abs=1e-6)
            names = control.get("names")
            text = (
                names[round(after[first])] if names else number_shown(after[first], control["step"])
            )
            assert row.locator("output").inner_text() == text
            assert row.locator("input").get_attribute("aria-valuetext") == text
            handle = row.locator("input").evaluate("i => (i.value - i.min) / (i.max - i.min)")
            part = (after[first] - control["min"]) / (control["max"] - control["min"])
            assert handle == pytest.approx(part, abs=1e-6)
        first += np.size(control["value"])


def spec_of_page(shown):
    return shown.evaluate("({ explorer }) => explorer.spec")


def test_slider_runs_from_end_to_end_with_the_mouse(opened):
    shown = opened("t/pictures")
    ends = {"c": (2, -1, 3), "d": (3, 0, 3)}
    for label, (place, low, high) in ends.items():
        box = (
            shown.locator(".slider", has_text=re.compile(f"^{label}"))
            .locator("input")
            .bounding_box()
        )
        y = box["y"] + box["height"] / 2
        for part, wanted in ((0.001, low), (0.999, high)):
            shown.page.mouse.click(box["x"] + part * box["width"], y)
            assert shown.settle()[place] == wanted
        shown.page.mouse.click(box["x"] + 0.25 * box["width"], y)
        assert shown.settle()[place] == pytest.approx(low + 0.27 * (high - low), abs=0.5)


def test_names_of_a_slider_follow_its_value(opened):
    shown = opened("t/pictures")
    for value, name in enumerate(["zero", "one", "two", "three"]):
        shown.put(0, 0, 0, value)
        assert shown.locator(".slider output").nth(1).inner_text() == name
    for value, name in [(0.4, "zero"), (0.6, "one"), (2.4, "two"), (2.6, "three")]:
        shown.put(0, 0, 0, value)  # on the way, as when playing
        assert shown.locator(".slider output").nth(1).inner_text() == name


# ------------------------------------------------------------------ buttons


def test_random_stays_on_the_steps_and_has_the_spread_it_says(opened):
    shown = opened("t/pictures")
    drawn = shown.evaluate(
        """({ explorer, shadowRoot }) => {
            const button = [...shadowRoot.querySelectorAll("button")].find((b) => b.textContent === "random");
            return Array.from({ length: 600 }, () => { button.click(); return [...explorer.values]; });
        }"""
    )
    drawn = np.array(drawn)
    for column, (low, high, step) in zip(drawn.T, [(-2, 2, 0.1)] * 2 + [(-1, 3, 0.25), (0, 3, 1)]):
        assert column.min() >= low and column.max() <= high
        steps = (column - low) / step
        assert steps == pytest.approx(np.round(steps), abs=1e-6)
    noise = 4 / np.sqrt(len(drawn))
    for column in drawn.T[:2]:  # normal, cut at two standard deviations: its spread is 0.97
        assert abs(column.mean()) < noise
        assert column.std() == pytest.approx(0.96, abs=0.12)
        assert (np.abs(column) == 2).mean() < 0.1
    assert drawn[:, 2].min() == -1 and drawn[:, 2].mean() == pytest.approx(0.08, abs=0.2)
    shares = [(drawn[:, 3] == value).mean() for value in range(4)]
    assert shares == pytest.approx([0.25] * 4, abs=noise / 2)
    assert abs(np.corrcoef(drawn.T)[np.triu_indices(4, 1)]).max() < noise, "drawn apart"


def test_random_leaves_alone_what_it_may_not_move(opened):
    shown = opened("t/board")
    shown.get_by_role("button", name="random").click()
    values = shown.settle()
    assert values[:2] == [1.4, -0.3] and values[3:] == [0, 1, 2, 1, 0, 3]


@pytest.mark.parametrize("by", ["button", "Home on the pad", "Home on a slider"])
def test_reset_brings_all_values_back(opened, by):
    shown = opened("t/pictures")
    before = shown.pictures()
    shown.put(1, 1, 2, 0)
    if by == "button":
        shown.get_by_role("button", name="reset").click()
    else:
        shown.locator(".pad" if by.endswith("pad") else "input").first.focus()
        shown.page.keyboard.press("Home")
    assert shown.settle() == [0.5, -1, 0.5, 2]
    assert all((a == b).all() for a, b in zip(shown.pictures(), before))


def test_play_walks_the_path_in_order_and_round_again(opened):
    shown = opened("t/pictures", scripts=(CLOCK,))
    button = shown.get_by_role("button", name="play")
    button.click()
    tick = "now => window.tick(now)"
    stops = [[0.5, -1, 0.5, 2], *PATH, *PATH]
    for number, stop in enumerate(stops):
        shown.page.evaluate(tick, 700 + 1500 * number)
        assert shown.settle() == pytest.approx(stop, abs=1e-6)
        if number:
            continue
        for part, way in ((0.25, 0.1464), (0.5, 0.5), (0.75, 0.8536)):
            shown.page.evaluate(tick, 700 + 1500 * part)
            start, end = np.array(stops[:2], dtype=float)
            assert shown.settle() == pytest.approx(list(start + way * (end - start)), abs=1e-3)
    assert button.count() == 0, "the button says pause"
    shown.get_by_role("button", name="pause").click()
    shown.page.evaluate(tick, 99_000)
    assert shown.settle() == pytest.approx(stops[-1], abs=1e-6)


def test_who_takes_a_control_ends_the_walk(opened):
    shown = opened("t/pictures", scripts=(CLOCK,))
    shown.get_by_role("button", name="play").click()
    shown.page.evaluate("() => tick(0)")
    shown.locator(".pad").focus()
    shown.page.keyboard.press("ArrowUp")
    shown.page.evaluate("() => tick(800)")
    assert shown.settle() == pytest.approx([0.5, -0.9, 0.5, 2])
    assert shown.get_by_role("button", name="play").is_visible()


# ------------------------------------------------------------------ steps and drawings


def test_steps_are_taken_one_after_the_other(opened):
    shown = opened("t/board")
    state, caption = np.array([1.4, -0.3]), shown.locator(".caption")
    for label in ("times", "plus", "plus", "times"):
        shown.get_by_role("button", name=label).click()
        state = 2 * state if label == "times" else state + 1
        assert shown.settle() == pytest.approx([*state, 2, 0, 1, 2, 1, 0, 3])
        assert caption.inner_text() == "{:.0f}/{:.1f}".format(*state).replace("-", "−")
    shown.evaluate(
        """({ shadowRoot }) => {
            const button = [...shadowRoot.querySelectorAll("button")].find((b) => b.textContent === "plus");
            for (let i = 0; i < 20; i++) button.click();
        }"""
    )
    assert shown.settle()[:2] == pytest.approx(state + 20), "twenty clicks at once are twenty steps"


def test_a_step_starts_from_what_was_set_just_before(opened):
    shown = opened("t/board")
    shown.evaluate(
        """({ explorer, shadowRoot }) => {
            const buttons = [...shadowRoot.querySelectorAll("button")];
            const button = buttons.find((one) => one.textContent === "times");
            explorer.move(2, [3]);
            button.click();
        }"""
    )
    assert shown.settle()[:3] == pytest.approx([4.2, -0.9, 3])


def test_play_takes_the_steps_in_turn(opened):
    shown = opened("t/board", scripts=(CLOCK,))
    shown.get_by_role("button", name="play").click()
    state, now = np.array([1.4, -0.3]), 0
    for number in range(5):
        shown.page.evaluate("now => tick(now)", now)
        state = state + 1 if number % 2 else 2 * state
        assert shown.settle()[:2] == pytest.approx(state)
        shown.page.evaluate("now => tick(now)", now + 100)
        assert shown.settle()[:2] == pytest.approx(state), "slow enough to follow"
        now += 200


def place_on(shown, index, x, y):
    """Where on the screen (x, y) of a panel lies, by its frame."""
    box, frame, panel = shown.evaluate(
        """({ explorer }, index) => {
            const canvas = explorer.canvases[index];
            const { x, y, width } = canvas.getBoundingClientRect();
            return [{ x, y, scale: width / canvas.width }, canvas.frames[0], explorer.spec.panels[index]];
        }""",
        index,
    )
    across = (x - panel["xlim"][0]) / (panel["xlim"][1] - panel["xlim"][0])
    down = (panel["ylim"][1] - y) / (panel["ylim"][1] - panel["ylim"][0])
    left, top = frame[0] + across * frame[2], frame[1] + down * frame[3]
    return box["x"] + left * box["scale"], box["y"] + top * box["scale"]


@pytest.mark.parametrize("fill", [False, True], ids=["page", "slide"])
def test_curve_follows_the_mouse(opened, fill):
    """Six heights, evenly from x = -1 to 3; between two places of the mouse lies a straight line."""
    shown = opened("t/board", fill=fill)
    mouse = shown.page.mouse
    mouse.move(*place_on(shown, 1, -0.2, 3.5))
    mouse.down()
    mouse.move(*place_on(shown, 1, 2.2, 0.5))
    mouse.up()
    assert shown.settle() == pytest.approx([1.4, -0.3, 2, 0, 3.5, 2.5, 1.5, 0.5, 3], abs=0.03)
    mouse.move(*place_on(shown, 1, 2.2, 1))
    mouse.down()
    mouse.move(*place_on(shown, 1, 5, 9), steps=1)
    mouse.up()
    assert shown.settle()[7:] == pytest.approx([1, 4], abs=0.03), "cut at the border"
    kept = shown.settle()
    for panel, start in ((0, (1, 1)), (1, (-1.15, 2)), (1, (1, -1.25))):
        mouse.move(*place_on(shown, panel, *start))
        mouse.down()
        mouse.move(*place_on(shown, panel, 2, 3))
        mouse.up()
        assert shown.settle() == kept, "only its own panel is drawn on, inside its frame"


def test_curves_ready_made(opened):
    shown = opened("t/board")
    shown.get_by_role("button", name="slope").click()
    assert shown.settle() == [1.4, -0.3, 2, 0, 0.5, 1, 1.5, 2, 2.5]
    shown.get_by_role("button", name="flat").click()
    assert shown.settle()[3:] == [2] * 6


# ------------------------------------------------------------------ sound


@pytest.fixture
def ear(opened):
    """Opens the explorer that sings, at rest and silent; a sound goes on until it is stopped."""

    def open_silent(**how):
        shown = opened("t/tone", scripts=(EAR,), **how)
        shown.evaluate("({ explorer: { sound } }) => { sound.wanted = false; sound.silence(); }")
        rest(shown)
        shown.evaluate(
            "({ explorer: { sound } }) => { sound.audio.loop = true; blobs.length = 0; }"
        )
        return shown

    return open_silent


def rest(shown):
    """Wait until the values have rested."""
    shown.evaluate(
        "({ explorer }) => new Promise((done) => { explorer.onValues = done; explorer.rest(); })"
    )
    shown.settle()


def sings(shown, *, count):
    """Wait until the last of `count` sounds is heard, and return it as whole numbers."""
    shown.page.wait_for_function(
        """count => { const { sound } = document.querySelector("latent-explorer").explorer;
            return blobs.length === count && !sound.audio.paused && sound.audio.currentTime > 0; }""",
        arg=count,
    )
    data = bytes(shown.page.evaluate("() => lastSound()"))
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 800)
        return np.frombuffer(file.readframes(800), dtype="<i2").astype(int)


def is_silent(shown):
    return shown.evaluate("({ explorer }) => explorer.sound.audio.paused")


def check_heard(shown, samples):
    """As the module says, faded over 5 ms, which are 40 samples, at both ends."""
    place = np.arange(800)
    fade = np.clip(np.minimum(place, 799 - place) / 40, 0, 1)
    wanted = 32767 * fade * shown.outputs()["heard"][0].numpy()
    assert np.abs(samples - wanted).max() <= 0.51 + 32767 * 1e-4  # the sine of two programs
    assert np.abs(wanted).max() > 5000


def test_listen_plays_what_the_module_returns(ear):
    shown = ear()
    shown.put(1.45, 0.65)
    rest(shown)
    assert shown.page.evaluate("() => blobs.length") == 0 and is_silent(shown), "not unasked"
    button = shown.get_by_role("button", name="listen")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    check_heard(shown, sings(shown, count=1))
    button = shown.get_by_role("button", name="stop")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    assert is_silent(shown)
    assert shown.get_by_role("button", name="listen").get_attribute("aria-pressed") == "false"
    shown.put(0.7, 0.9)
    rest(shown)
    assert shown.page.evaluate("() => blobs.length") == 1, "who has stopped it hears no more"


def test_sound_ends_by_itself(ear):
    shown = ear()
    shown.evaluate("({ explorer }) => { explorer.sound.audio.loop = false; }")
    shown.get_by_role("button", name="listen").click()
    shown.page.wait_for_function(
        "() => document.querySelector('latent-explorer').explorer.sound.audio.ended"
    )
    shown.get_by_role("button", name="listen").wait_for()


def test_a_slider_let_go_plays_anew(ear):
    """By the mouse and by the keys: silent while it moves, then the sound of where it stands."""
    shown = ear()
    shown.get_by_role("button", name="listen").click()
    first = sings(shown, count=1)
    box = shown.locator("input").first.bounding_box()
    y = box["y"] + box["height"] / 2
    shown.evaluate(
        """(e) => {
            const { audio } = e.explorer.sound;
            e.addEventListener("explorer-drawn", () => { e.silent = audio.paused; }, { once: true });
        }"""
    )
    shown.page.mouse.move(box["x"] + 0.3 * box["width"], y)
    shown.page.mouse.down()
    shown.page.mouse.move(box["x"] + 0.8 * box["width"], y, steps=5)
    shown.page.mouse.up()
    assert shown.evaluate("e => e.silent")
    count = shown.page.wait_for_function("""() => {
        const { explorer } = document.querySelector("latent-explorer");
        return explorer.sound.wanted && !explorer.sound.audio.paused && blobs.length; }""")
    moved = sings(shown, count=count.json_value())
    assert shown.settle()[0] > 1.5 and np.abs(moved - first).max() > 1000
    check_heard(shown, moved)
    shown.page.keyboard.press("ArrowLeft")
    check_heard(shown, sings(shown, count=count.json_value() + 1))
    shown.get_by_role("button", name="reset").click()
    check_heard(shown, sings(shown, count=count.json_value() + 2))
    assert shown.evaluate(
        """({ explorer }) => {
            const before = explorer.resting;
            explorer.set(0, [2, 1], { silent: true });
            return explorer.sound.audio.paused && explorer.resting === before;
        }"""
    ), "what another window or Python moves is not heard here"


def test_enter_listens(ear):
    shown = ear()
    shown.locator("input").first.focus()
    shown.page.keyboard.press("Enter")
    check_heard(shown, sings(shown, count=1))
    shown.page.keyboard.press("Enter")
    assert is_silent(shown)
    shown.get_by_role("button", name="listen").focus()
    shown.page.keyboard.press("Enter")
    sings(shown, count=2)
    shown.get_by_role("button", name="reset").focus()
    shown.page.keyboard.press("Enter")
    check_heard(shown, sings(shown, count=3))


def test_silent_while_it_walks(ear):
    shown = ear()
    shown.get_by_role("button", name="listen").click()
    sings(shown, count=1)
    shown.get_by_role("button", name="play").click()
    shown.page.wait_for_function(
        "() => document.querySelector('latent-explorer').explorer.values[0] > 1.3"
    )
    assert is_silent(shown)
    shown.get_by_role("button", name="pause").click()
    check_heard(shown, sings(shown, count=2))


@pytest.mark.parametrize(
    "samples, wanted",
    [
        ([0.0, 3.0, -1.5, 0.75, 0.0], [0, 32767, -16384, 8192, 0]),
        ([0.0, 1.0, -1.0, 0.25, 0.0], [0, 32767, -32767, 8192, 0]),
        ([0.0, float("nan"), 1.0, 0.5, 0.0], [0] * 5),
        ([0.0, float("inf"), 1.0, -0.5, 0.0], [0] * 5),
    ],
    ids=["loud", "full", "nan", "infinite"],
)
def test_never_louder_than_one(ear, samples, wanted):
    """As a whole, so that it sounds alike; what is no number is silence."""
    shown = ear()
    samples = np.repeat(samples, 160).astype(np.float32)
    told = [str(v) for v in samples.tolist()]
    shown.evaluate(
        """({ explorer }, told) => {
            const data = Float32Array.from(told, (t) => Number({ inf: Infinity }[t] ?? t));
            explorer.latest = { ...explorer.latest, heard: { data, dims: [800] } };
        }""",
        told,
    )
    shown.get_by_role("button", name="listen").click()
    heard = sings(shown, count=1)
    shown.get_by_role("button", name="stop").click()
    assert np.abs(heard - np.repeat(wanted, 160)).max() <= 1


@pytest.mark.parametrize("fill", [False, True], ids=["page", "slide"])
def test_where_nothing_can_be_played_it_is_said(opened, fill):
    """Once, for as long as nothing moves; the sliders go on."""
    shown = opened("t/tone", scripts=(DEAF,), fill=fill)
    rest(shown)
    status = shown.locator(".status")
    shown.get_by_role("button", name="listen").click()
    shown.page.wait_for_function(
        "() => document.querySelector('latent-explorer').explorer.status.matches('.shown')"
    )
    assert status.inner_text() == "The sound did not start here."
    assert shown.get_by_role("button", name="listen").is_visible()
    box, place = status.bounding_box(), shown.bounding_box()
    assert box["height"] > 10 and box["y"] + box["height"] <= place["y"] + place["height"] + 1
    shown.put(1.2, 0.4)
    rest(shown)
    assert "shown" not in status.get_attribute("class").split()
    assert shown.outputs()["heard"].abs().max() > 0.3


def test_explorers_without_a_sound_have_no_button(opened):
    shown = opened("t/board")
    assert shown.get_by_role("button", name="listen").count() == 0
    shown.locator("input").first.focus()
    shown.page.keyboard.press("Enter")
    assert shown.settle() == [1.4, -0.3, 2, 0, 1, 2, 1, 0, 3]


# ------------------------------------------------------------------ pictures and words


def rgb(colour):
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)], dtype=float)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pictures_are_what_torch_computes(opened, dark):
    shown = opened("t/pictures")
    shown.page.evaluate("dark => document.documentElement.toggleAttribute('data-dark', dark)", dark)
    shown.put(1.2, -0.7, 1.75, 1)
    images = shown.outputs()["image"].permute(0, 2, 3, 1).numpy()
    pictures = shown.pictures()
    assert len(pictures) == 3
    for picture, image in zip(pictures, images):
        assert np.abs(picture - 255 * image).max() <= 1
    boxes = [view.bounding_box() for view in shown.locator("figure").all()]
    assert [box["x"] for box in boxes] == sorted(box["x"] for box in boxes), "from left to right"
    words = [view.inner_text() for view in shown.locator("figcaption").all()]
    assert words == ["first", "second", "third"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_grey_runs_from_paper_to_ink(opened, dark):
    shown = opened("t/grey")
    shown.page.evaluate("dark => document.documentElement.toggleAttribute('data-dark', dark)", dark)
    shown.put(*np.round(np.linspace(-2, 3, 12), 2).tolist())
    grey = shown.outputs()["image"][0, 0].numpy()[..., None]
    paper, ink = rgb(shown.colour("paper")), rgb(shown.colour("ink"))
    assert np.abs(shown.pictures()[0] - (paper + (ink - paper) * grey)).max() <= 1


def test_the_newest_values_win(opened):
    """Values that come while the model runs are drawn after it, the last of them in the end."""
    shown = opened("t/pictures")
    for value in range(4):
        shown.evaluate("({ explorer }, value) => explorer.set(0, [1, -1, 0.5, value])", value)
        shown.evaluate(
            "({ explorer }) => { for (let i = 0; i < 9; i++) explorer.set(0, [i / 9, 2, 2, 1]); }"
        )
        last = [-2 + value, 1, 3, value]
        shown.evaluate("({ explorer }, last) => explorer.set(0, last)", last)
        assert shown.settle() == last
        images = shown.outputs()["image"].permute(0, 2, 3, 1).numpy()
        for picture, image in zip(shown.pictures(), images):
            assert np.abs(picture - 255 * image).max() <= 1


def test_caption_names_the_largest(opened):
    shown = opened("t/pictures")
    seen = set()
    for values in ([2, -2, 3, 0], [-2, 2, -1, 3], [0, 2, 0, 0], [-2, -2, 3, 1], [-2, -2, -1, 0]):
        shown.put(*values)
        read = shown.outputs()["read"][0]
        name = ["apple", "pear", "plum"][read.argmax()]
        seen.add(name)
        assert shown.locator(".caption").inner_text() == f"{name}, {100 * read.max():.0f} %"
    assert len(seen) == 3, "the case shows all names"


def test_caption_holds_the_numbers_of_the_model(opened):
    shown = opened("t/grey")
    shown.put(-0.5, 0.25, 1.5, *[0.0] * 9)
    assert shown.locator(".caption").inner_text() == "−0.50 and 150 and −2.500"
    shown.put(-0.001, 0, -0.001, *[0.0] * 9)
    assert shown.locator(".caption").inner_text() == "0.00 and 0 and 0.000", "zero has no sign"


def test_words_in_the_browser_are_those_of_python(opened):
    """The caption of the still picture and that of the live one come from two programs."""
    for name in MODULES:
        shown = opened(name)
        spec = spec_of_page(shown)
        if spec["caption"]:
            python = panels.caption_shown(
                shown.outputs()[spec["caption"]["output"]], spec["caption"]
            )
            assert shown.locator(".caption").inner_text() == python
        values = panels.values_shown(spec["controls"])
        seen = shown.locator(".reading span").all_inner_texts()
        names, outputs = (
            shown.locator(f".slider {part}").all_inner_texts() for part in (".name", "output")
        )
        seen += [f"{label} = {value}" for label, value in zip(names, outputs)]
        assert values == ", ".join(seen)


def test_hint_is_under_the_picture(opened):
    shown = opened("t/pictures")
    assert shown.locator(".hint").inner_text() == "Try: drag the point to the corner."
    assert shown.locator(".frame").get_attribute("aria-label") == "Move fruit"
    labels = [canvas.get_attribute("aria-label") for canvas in shown.locator("canvas").all()]
    assert labels == [f"what is seen: {name}" for name in ("first", "second", "third")]
    assert opened("t/grey").locator(".hint").count() == 0


# ------------------------------------------------------------------ where nothing can move


def start_of(made, name):
    """The spec of an explorer, its outputs at the start, and its still picture as a figure."""
    file = made / f"lecture/live/{name}.json"
    spec = json.loads(file.read_text(encoding="utf-8"))
    first = [float(v) for control in spec["controls"] for v in np.ravel(control["value"])]
    with torch.no_grad():
        outputs = MODULES[name](torch.tensor([first]))
    figure = panels.start_picture(spec, outputs)
    plt.close(figure)
    return spec, outputs, figure


def test_still_holds_all_pictures_of_the_start_and_the_pad(made):
    spec, outputs, figure = start_of(made, "t/pictures")
    *views, pad = figure.axes
    assert [ax.get_title() for ax in views] == ["first", "second", "third"]
    for ax, image in zip(views, outputs["image"]):
        assert np.allclose(ax.images[0].get_array(), image.permute(1, 2, 0))
    assert np.ravel(pad.lines[0].get_xydata()).tolist() == [0.5, -1]
    assert (*pad.get_xlim(), *pad.get_ylim()) == (-2, 2, -2, 2) and pad.images
    assert figure.get_suptitle() == "Move fruit"
    values, caption, last = figure.get_supxlabel().split("\n")
    assert values == "a = 0.5, b = −1.0, c = 0.50, d = two"
    assert re.fullmatch(r"(apple|pear|plum), \d+ %", caption)
    assert last == "Run this cell to move it."
    height, width, _ = pixels_of(spec["first"]).shape
    assert (width, height) == pytest.approx(100 * figure.get_size_inches(), abs=1)


def test_still_holds_all_panels_of_the_start(made):
    spec, outputs, figure = start_of(made, "t/marks")
    dots, walk, arrows = figure.axes
    assert np.allclose(dots.collections[0].get_offsets(), outputs["dots"])
    for line, points in zip(walk.lines, outputs["walk"], strict=True):
        assert np.allclose(line.get_xydata(), points)
    quiver = arrows.collections[0]
    assert np.allclose(np.stack([quiver.X, quiver.Y, quiver.U, quiver.V], 1), outputs["arrows"])
    for ax, panel in zip(figure.axes, spec["panels"], strict=True):
        assert [*ax.get_xlim()] == panel["xlim"] and [*ax.get_ylim()] == panel["ylim"]
        words = [ax.get_title(), ax.get_xlabel(), ax.get_ylabel()]
        assert words == [panel["title"], panel["xlabel"], panel["ylabel"]]


def test_notebook_gets_the_still_with_words_for_it(made, monkeypatch):
    monkeypatch.setenv("LECTURE_OUT", str(made))
    bundle, about = explore.Explorer("t/pictures")._repr_mimebundle_()
    assert pixels_of("data:," + bundle["image/png"]).shape[1] > 600
    alt = about["image/png"]["alt"]
    assert alt == "Move fruit. what is seen. a = 0.5, b = −1.0, c = 0.50, d = two"


def test_labels_that_do_not_fit_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("LECTURE_OUT", str(tmp_path))
    controls = [explore.slider(name, low=0, high=1) for name in "abcd"]
    with pytest.raises(ValueError, match="two/many: 2 labels for 3 images"):
        explore.export(
            "two/many",
            Pictures(),
            controls,
            title="t",
            picture="p",
            still="s.svg",
            labels=["a", "b"],
        )


# ------------------------------------------------------------------ panels


def frame_of(shown, index):
    """A panel as drawn: its words, its frame (left, top, width, height), its spec, its style."""
    return shown.evaluate(
        """({ explorer }, index) => {
            const canvas = explorer.canvases[index];
            return { texts: canvas.texts, frames: canvas.frames, panel: explorer.spec.panels[index],
                     shape: [canvas.width, canvas.height] };
        }""",
        index,
    )


def check_axes(drawn):
    """Ticks where their numbers lie between the limits, labels below and beside."""
    panel, ((left, top, width, height),) = drawn["panel"], drawn["frames"]
    numbers = {True: [], False: []}
    for word in drawn["texts"]:
        if re.fullmatch(r"−?[\d.]+", word["text"]):
            numbers[word["align"] == "center"].append(word)
    for words, limits, start, length, axis in (
        (numbers[True], panel["xlim"], left, width, "x"),
        (numbers[False], panel["ylim"], top + height, -height, "y"),
    ):
        values = [float(word["text"].replace("−", "-")) for word in words]
        assert 3 <= len(values) <= 7
        assert np.allclose(np.diff(values), values[1] - values[0]), "even steps"
        inside = max(limits) - min(limits)
        assert min(values) >= limits[0] and max(values) <= limits[1]
        assert max(values) - min(values) > inside / 2
        for value, word in zip(values, words):
            wanted = start + length * (value - limits[0]) / inside
            shift = (
                0 if axis == "x" else 0.35 * word["size"]
            )  # from the middle of a digit to its foot
            assert word[axis] == pytest.approx(wanted + shift, abs=1.5)
    assert all(word["y"] > top + height for word in numbers[True])
    assert all(word["x"] < left for word in numbers[False])
    labels = {word["text"]: word for word in drawn["texts"]}
    if panel["xlabel"]:
        assert labels[panel["xlabel"]]["upright"] and labels[panel["xlabel"]]["y"] > top + height
    if panel["ylabel"]:
        assert not labels[panel["ylabel"]]["upright"] and labels[panel["ylabel"]]["x"] < left


def reference(drawn, outputs, colours, *, flip=None):
    """The panel drawn by matplotlib, (height, width, 3): data to pixels by the frame alone.

    `flip` "x" or "y" draws it mirrored, to see that a mirror image would be noticed.
    """
    panel, ((left, top, wide, high),) = drawn["panel"], drawn["frames"]
    width, height = drawn["shape"]
    figure = plt.figure(figsize=(width / 100, height / 100), dpi=100, layout="none")
    figure.set_facecolor(colours["paper"])
    ax = figure.add_axes([0, 0, 1, 1])
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    box = plt.Rectangle((left, top), wide, high, transform=ax.transData)

    def place(points):
        x = (points[..., 0] - panel["xlim"][0]) / (panel["xlim"][1] - panel["xlim"][0])
        y = (panel["ylim"][1] - points[..., 1]) / (panel["ylim"][1] - panel["ylim"][0])
        x, y = (1 - x if flip == "x" else x), (1 - y if flip == "y" else y)
        return np.stack([left + wide * x, top + high * y], -1)

    for order, layer in enumerate(panel["layers"]):
        values = np.asarray(outputs[layer["output"]], dtype=float)
        size, colour = max(0.8, layer["size"] * wide / 560), colours[layer["role"]]
        look = {"alpha": layer["alpha"], "clip_path": box, "color": colour, "zorder": order}
        stroke = look | {
            "linewidth": size * 0.72,
            "solid_capstyle": "butt",
            "solid_joinstyle": "miter",
            "snap": False,
        }
        fill = look | {"linewidth": 0}
        kind = layer["kind"]
        if kind == "points":
            for point in place(values):
                ax.add_patch(plt.Circle(point, size, **fill)).set_clip_path(box)
        elif kind == "lines":
            for line in place(values):
                ax.plot(*line.T, **stroke)
        elif kind == "polygon":
            ax.add_patch(plt.Polygon(place(values), **fill)).set_clip_path(box)
        elif kind == "area":
            curve = place(values)
            foot = [[curve[-1, 0], top + high], [curve[0, 0], top + high]]
            ax.add_patch(plt.Polygon([*curve, *foot], **fill)).set_clip_path(box)
        elif kind == "arrows":
            for x, y, dx, dy in values:
                start, end = place(np.array([[x, y], [x + dx, y + dy]]))
                ax.plot(*zip(start, end), **stroke)
                length = np.hypot(*(end - start))
                angle = np.arctan2(*(end - start)[::-1])
                head = min(11 * wide / 560, length / 2)
                for side in (-0.5, 0.5):
                    tip = end - head * np.array([np.cos(angle + side), np.sin(angle + side)])
                    ax.plot(*zip(end, tip), **stroke)
        else:
            shown = values[:, ::-1] if flip == "x" else values[::-1] if flip == "y" else values
            cells = density_map(colour)(np.clip(shown, 0, 1))
            cells[..., :3], cells[..., 3] = rgb(colour) / 255, np.clip(shown, 0, 1) * layer["alpha"]
            extent = (left, left + wide, top + high, top)
            ax.imshow(cells, extent=extent, aspect="auto", interpolation="bilinear", zorder=order)
            ax.set(xlim=(0, width), ylim=(height, 0))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    plt.close(figure)
    return np.asarray(Image.open(buffer).convert("RGB")).astype(float)


def strange(picture, wanted, drawn):
    """The share of what is drawn on a panel, in one picture or the other, that the other has not
    within a pixel."""
    left, top, wide, high = (round(v) for v in drawn["frames"][0])
    inside = (slice(top + 3, top + high - 3), slice(left + 3, left + wide - 3))
    paper = np.median(wanted[:2].reshape(-1, 3), 0)
    missing = marked = 0
    for one, other in ((picture, wanted), (wanted, picture)):
        near = [np.roll(other, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        beyond = np.maximum(np.min(near, 0) - one, one - np.max(near, 0))[inside].max(-1)
        drawn_on = (np.abs(one - paper).max(-1) > 24)[inside]
        missing += (beyond[drawn_on] > 40).sum()
        marked += drawn_on.sum()
    return missing / marked


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["t/marks", "t/fills", "t/over"])
def test_panels_are_what_torch_computes(opened, name, dark):
    """Each kind of layer, and layers over each other, against matplotlib; mirrored it would differ."""
    shown = opened(name, width=1600)
    shown.page.evaluate("dark => document.documentElement.toggleAttribute('data-dark', dark)", dark)
    shown.put(-0.4, 0.8)
    outputs, colours = shown.outputs(), PALETTE["dark" if dark else "light"]
    for index, picture in enumerate(shown.pictures()):
        drawn = frame_of(shown, index)
        check_axes(drawn)
        right = strange(picture, reference(drawn, outputs, colours), drawn)
        assert right < 0.005, f"panel {index}: {right:.3f} of what is drawn is not as it should be"
        for flip in ("x", "y"):
            wrong = strange(picture, reference(drawn, outputs, colours, flip=flip), drawn)
            assert wrong > 4 * max(right, 0.02), f"a mirror image along {flip} would not be seen"


def test_nothing_is_drawn_beyond_the_frame(opened):
    shown = opened("t/marks", width=1600)
    shown.put(1, 1.2)
    assert shown.outputs()["walk"][..., 0].max() > TALL["xlim"][1], "the case goes beyond"
    left, top, wide, high = (round(v) for v in frame_of(shown, 1)["frames"][0])
    beside = shown.pictures()[1][top : top + high - 10, left + wide + 3 :]
    assert beside.shape[1] >= 3
    assert (beside == rgb(PALETTE["light"]["paper"])).all()


def test_panels_stand_in_their_order_under_their_titles(opened):
    shown = opened("t/marks", width=1600)
    assert shown.locator("figcaption").all_inner_texts() == ["the dots", "the walk", "the arrows"]
    boxes = [canvas.bounding_box() for canvas in shown.locator("canvas").all()]
    assert [b["x"] for b in boxes] == sorted(b["x"] for b in boxes)
    widths = [frame_of(shown, i)["frames"][0][2] for i in range(3)]
    assert widths == pytest.approx([widths[0]] * 3), "panels of a row are equally wide"
    for index, aspect in enumerate((0.8, 1.1, 0.8)):
        _, _, width, height = frame_of(shown, index)["frames"][0]
        assert height / width == pytest.approx(aspect, rel=1e-3)


def test_other_room_other_colours_at_once(opened):
    """The room changes without a value that moves, without the model."""
    shown = opened("t/over")
    shown.settle()
    shown.evaluate(
        "e => { e.drawn = 0; e.addEventListener('explorer-drawn', () => { e.drawn += 1; }); }"
    )
    shown.page.evaluate("() => document.documentElement.toggleAttribute('data-dark', true)")
    for picture in shown.pictures():
        assert picture[0, 0] == pytest.approx(rgb(PALETTE["dark"]["paper"]))
    assert shown.evaluate("e => e.drawn") == 0


# ------------------------------------------------------------------ the place


@pytest.mark.parametrize("name", list(MODULES))
def test_explorer_fills_a_slide_and_stays_inside(opened, name):
    shown = opened(name, fill=True)
    spills, share, height = shown.evaluate(
        """({ explorer, shadowRoot }) => {
            const place = explorer.host.getBoundingClientRect();
            const parts = [...shadowRoot.querySelectorAll(".frame, canvas, .pad, .controls > *, .words p")];
            const spills = parts.filter((part) => {
                const box = part.getBoundingClientRect();
                return box.left < place.left - 1 || box.right > place.right + 1
                    || box.top < place.top - 1 || box.bottom > place.bottom + 1;
            }).map((part) => part.className || part.tagName);
            const seen = [explorer.stage, shadowRoot.querySelector(".pad")].filter(Boolean);
            const area = seen.reduce((sum, part) => sum + part.offsetWidth * part.offsetHeight, 0);
            const { offsetWidth, offsetHeight } = explorer.host;
            const high = explorer.padBox ? 0 : explorer.stage.offsetHeight / offsetHeight;
            return [spills, area / (offsetWidth * offsetHeight), high];
        }"""
    )
    assert spills == []
    assert share > 0.4 or height > 0.8, f"what is moved takes {share:.2f} of the place"


@pytest.mark.parametrize("width", [900, 600, 480, 360])
def test_picture_and_pad_stand_side_by_side(opened, width):
    shown = opened("t/pictures", width=width)
    stage, pad = shown.locator(".stage").bounding_box(), shown.locator(".pad").bounding_box()
    assert pad["x"] >= stage["x"] + stage["width"]
    assert pad["y"] < stage["y"] + stage["height"] and pad["x"] + pad["width"] <= width


@pytest.mark.parametrize("name", list(MODULES))
def test_narrow_page_shows_everything(opened, name):
    shown = opened(name, width=320)
    assert shown.page.evaluate("() => document.documentElement.scrollWidth") <= 320
    for canvas in shown.locator("canvas").all():
        assert canvas.bounding_box()["width"] > 80


def test_explorer_follows_a_window_that_changes(opened):
    shown = opened("t/marks", width=1280)
    before = shown.locator("canvas").first.bounding_box()["width"]
    shown.page.set_viewport_size({"width": 500, "height": 900})
    shown.page.wait_for_function(
        "before => document.querySelector('latent-explorer').explorer.canvases[0].offsetWidth < before",
        arg=before,
    )
    drawn = frame_of(shown, 0)
    check_axes(drawn)
    assert drawn["shape"][0] == pytest.approx(
        shown.locator("canvas").first.bounding_box()["width"], abs=1
    )


def test_panels_are_sharp_on_a_fine_screen(made, chromium):
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, device_scale_factor=2)
    page = context.new_page()
    page.add_init_script(SPY)
    page.goto((made / page_name("t/marks", False)).as_uri())
    shown = Shown(page, "t/marks")
    width = shown.locator("canvas").first.bounding_box()["width"]
    assert frame_of(shown, 0)["shape"][0] == pytest.approx(2 * width, abs=2)
    context.close()


# ------------------------------------------------------------------ told to others


def test_values_are_told_once_they_rest(opened):
    """To Python by onValues, and to those who do not see the picture by the status."""
    shown = opened("t/pictures")
    told = shown.evaluate(
        """({ explorer }) => new Promise((done) => {
            const told = [];
            explorer.onValues = (values) => { told.push(values); done(told); };
            for (let i = 0; i < 50; i++) explorer.set(1, [i / 50, 3]);
            explorer.set(0, [1, 2]);
        })"""
    )
    assert told == [[1, 2, 3, 2]]
    shown.settle()
    shown.element.evaluate("({ explorer }) => explorer.rest()")
    shown.page.wait_for_function(
        "() => { const { explorer } = document.querySelector('latent-explorer');"
        "return explorer.status.textContent === explorer.captionLine.textContent; }"
    )


# ------------------------------------------------------------------ the committed ones

by_file = pytest.mark.parametrize("file", LIVE, ids=lambda path: f"{path.parent.name}/{path.stem}")


def computed(file, values):
    """What the committed model returns in Python, {output: array}."""
    session = onnxruntime.InferenceSession(
        str(file.with_suffix(".onnx")), providers=["CPUExecutionProvider"]
    )
    outputs = session.run(None, {"u": np.array([values], dtype=np.float32)})
    return {output.name: value for output, value in zip(session.get_outputs(), outputs)}


@by_file
def test_committed_explorer_shows_what_its_model_computes(opened, file):
    """At its start and elsewhere; panels against matplotlib, images and captions to the digit."""
    spec = json.loads(file.read_text(encoding="utf-8"))
    shown = opened(spec["name"], fill=True)
    first = [float(v) for control in spec["controls"] for v in np.ravel(control["value"])]
    assert shown.settle() == pytest.approx(first, abs=1e-6)
    for stop in [first, *spec["path"][:1]]:
        shown.put(*stop)
        outputs = computed(file, stop)
        if spec["caption"]:
            read = torch.tensor(outputs[spec["caption"]["output"]])
            assert shown.locator(".caption").inner_text() == panels.caption_shown(
                read, spec["caption"]
            )
        for index, picture in enumerate(shown.pictures()):
            if spec["panels"]:
                drawn = frame_of(shown, index)
                check_axes(drawn)
                wrong = strange(picture, reference(drawn, outputs, PALETTE["light"]), drawn)
                assert wrong < 0.01, f"{wrong:.3f} of panel {index} is not what the model computes"
                continue
            image = np.moveaxis(outputs["image"][index], 0, 2).clip(0, 1)
            paper, ink = rgb(PALETTE["light"]["paper"]), rgb(PALETTE["light"]["ink"])
            wanted = 255 * image if image.shape[2] == 3 else paper + (ink - paper) * image
            assert np.abs(picture - wanted).max() <= 1.5

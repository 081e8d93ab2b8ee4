"""The maintainer's tools: what a mark covers, how minutes are counted, how much room a bound has."""

import json

import nbformat
import numpy as np
import pytest
from conftest import ROOT

from tools import minutes, notebooks, sources, spread, table
from utils.notebooks import cells

new_code, new_text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def mark(*texts):
    return sources.mark(notebook(*map(new_code, texts)))


# ------------------------------------------------------------------ the mark


def test_mark_asks_nothing_for_words_and_layout():
    plain = mark("def f(x):\n    return x + 1", "y = f(2)")
    assert plain == mark('def f(x):\n    """Adds."""\n    return x+1  # one', "y = f(\n    2)")
    assert plain == sources.mark(
        notebook(new_text("# Title"), new_code("def f(x):\n    return x + 1"), new_code("y = f(2)"))
    )
    assert plain != mark("def f(x):\n    return x + 2", "y = f(2)")
    assert mark("x = None") != mark("x = ...") != mark("x = 0")
    assert mark("assert x < 1") == mark("assert y > 2 and x") and mark("assert f()") != mark("")
    drawn = notebook(new_code("x = 1"), new_code("f(x)", metadata={"tags": ["samples"]}))
    assert sources.mark(drawn) == mark("x = 1") != sources.mark(drawn, samples=True)


DEFINED = 'from utils.notebooks import definitions\ngan = definitions("04b_gan_failures")'


def test_mark_covers_the_model_cells_of_other_notebooks(monkeypatch):
    before = mark(DEFINED)

    def other(name, *tags):
        found = json.loads(json.dumps(cells(name, *tags)))
        if name == "04b_gan_failures" and tags == ("model",):
            found[-1]["source"] = [*found[-1]["source"], "\nrate = lambda part: 1.0"]
        return found

    assert before == mark(DEFINED)
    monkeypatch.setattr(sources, "cells", other)
    assert before != mark(DEFINED)


def test_mark_covers_what_is_reached_in_utils_and_no_more():
    names = {
        ("utils.data", "digits"),
        ("utils.data.digits", "digits"),
        ("utils.data.digits", "Split"),
    }
    reached = set()
    sources._follow([sources.ast.parse("from utils import data\ndata.digits()")], set(), reached)
    assert names <= reached and not any(module.endswith("scenes") for module, _ in reached)
    reached = set()
    sources._follow(
        [sources.ast.parse("from utils.style import role\nprint(role.data)")], set(), reached
    )
    assert ("utils.style", "PALETTE") in reached
    assert '"noise"' in sources._text("utils.style", "PALETTE"), "the palette's colours count"


def test_every_notebook_depends_on_what_it_takes_from_others():
    models = set()
    text = (ROOT / "notebooks" / "05e_training_with_alignment.ipynb").read_text(encoding="utf-8")
    code = [c.source for c in nbformat.reads(text, 4).cells if c.cell_type == "code"]
    sources._follow([sources.ast.parse(c) for c in code], models, set())
    assert {"05c_cyclegan", "04b_gan_failures"} <= {name for name, _, _ in models}


# ------------------------------------------------------------------ minutes


def book():
    figure = nbformat.v4.new_output("display_data", data={"image/png": "x"})
    drawn = new_code("plot()", outputs=[figure], metadata={"jupyter": {"source_hidden": True}})
    return notebook(
        new_text("# Title\n\n" + 95 * "word "),
        new_text("## Core"),
        new_code("a = 1\n\nb = 2"),
        drawn,
        new_text("**Exercise 1 (hard).** Do it.\n\n<details>" + 500 * "word " + "</details>"),
        new_text("## Deeper: more\n\n" + 95 * "word "),
        new_text("### Deeper: inside"),
        new_text("### A part inside"),
        new_text("## Core again\n\n$$x=1$$"),
        new_text("### Deeper: a part\n\n" + 95 * "word "),
        new_text("### Core part"),
    )


def test_minutes_of_core_and_deeper_parts():
    core, deeper = minutes.measure(book())
    words = 95 + 1 + 1 + 2 + 4 + 2 + 2  # titles count as words too; folded answers do not
    expected = words / 95 + 2 * 0.09 + 0.9 + 8 + 0.5
    assert core == pytest.approx(expected, abs=0.06)
    assert deeper == pytest.approx((95 + 2 + 2 + 3 + 95 + 3) / 95, abs=0.06)
    assert minutes.has_deeper(book()) and minutes.rounded(52.6) == 55 and minutes.rounded(1) == 5


# ------------------------------------------------------------------ the room of a bound


def test_distance_is_counted_in_standard_deviations():
    found = [{"0|a < 1": [m], "0|all": [float("inf")]} for m in (0.9, 1.0, 1.1)]
    (distance, key, mean, _), (sure, *_) = spread.distances(found)
    assert key == "0|a < 1" and distance == pytest.approx(10) and mean == pytest.approx(1)
    assert sure == float("inf")
    failed = spread.distances([{"0|a": [0.5]}, {"0|a": [-0.1]}, {"0|a": [0.5]}])
    assert failed[0][0] == float("-inf"), "a bound that failed once has no room"


def test_every_comparison_of_an_assertion_is_watched(tmp_path, monkeypatch):
    path = tmp_path / "09a_x.ipynb"
    text = (
        "from utils.checks import check_close, exercise\nimport numpy as np\nvalues = [1.0, 2.0]\n"
        "assert 0 < values[0] < 1.5 and all(v < 3 for v in values), 'no'\n"
        "assert len(values) == 2\nassert values[0] > 5\n"
        "check_close(1.0, 1.0 + 1e-6, what='one')\n"
        "try:\n    check_close(1.0, 2.0)\nexcept AssertionError:\n    caught = True\n"
        "assert caught"
    )
    plain = notebook(new_code(text))
    plain.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(plain, path)
    found, _ = spread.measure(path, 0)
    assert found["0|0 < values[0] < 1.5"] == [1.0, 0.5]
    assert found["0|all((v < 3 for v in values))"] == [2.0, 1.0]
    assert found["0|values[0] > 5"] == [-4.0], (
        "a bound that fails is told, and the notebook goes on"
    )
    assert found["0|len(values) == 2"] == [float("inf")] == found["0|caught"]
    assert 0.8 < found["0|check_close|one"][0] < 1


def test_a_number_far_from_its_spread_is_strange(tmp_path, monkeypatch):
    """Good news too: a Fréchet distance of 5 where ten runs gave 14 has another meaning."""
    file = tmp_path / "spread.json"
    kept = {"recorded": {"frechet": [14.0, 0.5], "share[1]": [0.5, 0.0], "modes": [8.0, 0.0]}}
    file.write_text(json.dumps({"04a_gan": kept}))
    monkeypatch.setattr(spread, "FILE", file)
    usual = {"frechet": 15.2, "share[0]": 3.0, "share[1]": 0.52, "modes": 8.0, "unknown": 1.0}
    assert not spread.strange(usual, "04a_gan")
    for key, value in [("frechet", 24.0), ("frechet", 5.0), ("share[1]", 0.3), ("modes", 6.0)]:
        (told,) = spread.strange(usual | {key: value}, "04a_gan")
        assert key in told and "in ten runs it was" in told
    folder = tmp_path / "results"
    folder.mkdir()
    values = {"kl_nats": 1.0, "seconds": 3.0, "draw_ms": 2.0, "share": [0.1, 0.2], "source": "x"}
    (folder / "n.json").write_text(json.dumps({"0": values}))
    assert spread.numbers(tmp_path, "n", "0") == {"kl_nats": 1.0, "share[0]": 0.1, "share[1]": 0.2}


def test_seeds_asked_for(monkeypatch):
    path = next(p for p in notebooks.all_notebooks() if p.stem.startswith("05e"))
    monkeypatch.delenv("SEEDS", raising=False)
    monkeypatch.setenv("SEED", "7")
    assert notebooks.seeds_of(path) == ["7"]
    monkeypatch.setenv("SEEDS", "all")
    assert set(notebooks.seeds_of(path)) >= {"0", "1", "2", "3", "4"}
    monkeypatch.setenv("SEEDS", "0, 3")
    assert notebooks.seeds_of(path) == ["0", "3"]


def test_the_readme_shows_the_mean_and_the_interval_of_the_mean():
    assert table.interval([1.0, 2.0, 3.0]) == pytest.approx(4.30265 * 1.0 / 3**0.5, rel=1e-4)
    values = [seed["frechet_train"] for seed in table.recorded("04a_gan").values()]
    assert len(values) >= 3 and len(set(values)) > 1
    row = next(line for line in table.results_table().splitlines() if "to training digits" in line)
    assert f"| {len(values)} | **{sum(values) / len(values):.0f}** ±" in row
    assert f"| {min(values):.0f} to {max(values):.0f} |" in row


def test_mark_counts_the_samples_that_a_notebook_names(tmp_path, monkeypatch):
    """New samples, new mark; those of a notebook that is not named ask for nothing."""
    texts = "from utils.results import recorded_samples", 'x = recorded_samples("03a_vae")'
    monkeypatch.setattr(sources, "SAMPLES", tmp_path)

    def keep(name, source):
        np.savez(tmp_path / f"{name}.npz", source=np.array(source))
        return mark(*texts)

    first = keep("03a_vae", "one")
    assert keep("04a_gan", "two") == first != keep("03a_vae", "two")


def test_a_stored_notebook_does_not_say_that_the_browser_part_was_not_built():
    cell = nbformat.v4.new_code_cell("explore.Explorer('x')")
    told = f"The live picture {notebooks.NO_BROWSER_PART} of the course. Build it: make lecture\n"
    texts = (told, "a number\n")
    cell.outputs = [nbformat.v4.new_output("stream", name="stdout", text=text) for text in texts]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebooks.clean(notebook)
    assert [output.text for output in notebook.cells[0].outputs] == ["a number\n"]
    assert told.strip() in (ROOT / "utils" / "explore.py").read_text(encoding="utf-8")

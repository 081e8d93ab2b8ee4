"""The rules of the house: what a maintainer could break without noticing."""

import ast
import json
import re

import nbformat
import numpy as np
import pytest
import yaml
from conftest import ROOT

from tools import minutes, notebooks, routes, slides, sources, spread, table
from tools.repository import tracked
from utils.results import recorded_samples
from utils.show import described
from utils.style import PALETTE

NOTEBOOKS = notebooks.all_notebooks()
DECKS = slides.decks()
FIGURES = sorted(p for p in (ROOT / "figures").rglob("*") if p.suffix in (".svg", ".png", ".webp"))
LIVE = sorted((ROOT / "lecture" / "live").rglob("*.json"))
CYCLEGANS = ("05c_cyclegan", "05d_document_cyclegan", "05e_training_with_alignment")
TRAINING_SECONDS = dict.fromkeys(
    [*CYCLEGANS, "04f_biggan_tricks", "06a_diffusion", "06b_media"], 120
)
MEMORY_MB = 1500
IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(path):
    return [c for c in read(path).cells if c.cell_type == "code"]


by_name = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
by_deck = pytest.mark.parametrize("deck", DECKS, ids=lambda p: p.stem)


# ------------------------------------------------------------------ the environment


def test_environment_yml_agrees_with_the_requirements():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *packages, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.txt"]}
    versions = dict(p.split("=", 1) for p in packages if "=" in p)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'requires-python = ">=3\.(\d+)"', project).group(1)
    assert int(versions["python"].split(".")[1]) >= int(oldest)
    pinned = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert f"torch=={versions['pytorch-cpu']}\n" in pinned
    package = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))
    assert int(versions["nodejs"]) >= int(re.search(r"\d+", package["engines"]["node"]).group())


def test_requirements_pin_all_that_the_project_names():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)^\]", project, re.S | re.M).group(1)
    wanted = {re.match(r"[\w-]+", name).group() for name in re.findall(r'"([^"]+)"', listed)}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {m.group(1) for m in (re.match(r"([\w.-]+)==", line) for line in lines) if m}
    assert "-e ." in lines
    assert wanted <= pins
    assert not any(name.startswith("nvidia") for name in pins)


def test_imports_are_declared():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    known = {
        "sklearn": "scikit-learn",
        "skimage": "scikit-image",
        "PIL": "pillow",
        "yaml": "pyyaml",
        "IPython": "ipykernel",
    }
    known |= {
        "traitlets": "ipywidgets",
        "nbformat": "nbclient",
        "jupyter_client": "nbclient",
        "websocket": "jupyterlab",
        "ot": "pot",
        "lightning_fabric": "lightning-fabric",
    }
    ours = {"utils", "tools", *(p.stem for p in (ROOT / "tests").glob("*.py"))}
    sources = {str(p): p.read_text(encoding="utf-8") for p in tracked() if p.suffix == ".py"}
    for path in NOTEBOOKS:
        sources[str(path)] = "\n".join(c.source for c in code_cells(path))
    import sys

    for where, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in {n.split(".")[0] for n in names} - ours - set(sys.stdlib_module_names):
                assert f'"{known.get(name, name)}' in project, f"{where} imports {name}"


def test_no_registry_is_named():
    hosts = ["files.python" + "hosted.org", "registry." + "npmjs", "download." + "pytorch.org"]
    hosts += ["pypi" + ".org/simple", "conda." + "anaconda.org"]
    for path in tracked():
        if path.suffix in (".png", ".onnx"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for host in hosts:
            assert host not in text, f"{path.relative_to(ROOT)} names {host}"


def test_binder_would_find_its_files(tmp_path):
    """What repo2docker reads stands at the root, and postBuild can be executed."""
    assert (ROOT / "environment.yml").exists()
    assert (ROOT / "postBuild").stat().st_mode & 0o100


# ------------------------------------------------------------------ notebooks


@by_name
def test_notebook_is_stored_as_executed(path):
    notebook = read(path)
    assert notebook.metadata.lecture.source == sources.mark(notebook), (
        f"the code of {path.name} is newer than its outputs: make notebooks ONLY={path.stem[:3]}"
    )
    counts = [c.execution_count for c in notebook.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


@by_name
def test_notebook_outputs_are_clean(path):
    assert path.stat().st_size < 720_000
    for number, cell in enumerate(code_cells(path), 1):
        text = json.dumps(cell.outputs)
        for bad in (
            *("/home/", "/root/", "/tmp/", "Traceback (most recent", "Warning", "\\u001b["),
            notebooks.NO_BROWSER_PART,
        ):
            assert bad not in text, f"cell [{number}] shows {bad}"
        for output in cell.outputs:
            assert output.output_type in ("display_data", "execute_result", "stream")
            assert output.get("name") != "stderr", f"cell [{number}] writes to stderr"
            assert notebooks.WIDGET not in output.get("data", {})
    assert "widgets" not in read(path).metadata


@by_name
def test_notebook_has_the_parts_a_reader_expects(path):
    notebook = read(path)
    first = notebook.cells[0].source
    assert first.startswith("# ") and "?" in first
    for word in ("**Do:**", "**Learn:**", "**Need:**", "**Time:**", "../lecture/"):
        assert word in first, f"the opening lacks {word}"
    text = "\n".join(c.source for c in notebook.cells)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    assert "Summary" in headings and "**Sources" in text and "Predict" in text
    assert "seed_everything()" in text and "record(" in text
    for cell in code_cells(path):
        lines = cell.source.splitlines()
        assert len(lines) <= 40, cell.source[:60]
        assert max(map(len, lines), default=0) <= 88, max(lines, key=len)
    assert not re.search(r"[\x00-\x08\x0b-\x1f]", text), "a control character: a lost backslash?"
    assert text.count("assert ") + text.count("check_") >= 10


@by_name
def test_the_opening_says_how_long_it_takes(path):
    notebook = read(path)
    assert minutes.sentence(path, notebook) in notebook.cells[0].source, "run: make results"


@by_deck
def test_the_first_slide_says_how_long_it_takes(deck):
    text = deck.read_text(encoding="utf-8")
    first, second = text.split("\n---\n")[1:3]
    assert minutes.lecture_line(text) in first and "key s" not in second, "run: make results"
    everything, short = minutes.measure_deck(text)
    assert short <= minutes.SHORT_MINUTES and short < everything


def test_routes_are_up_to_date_and_each_step_comes_after_what_it_needs():
    assert routes.PAGE.read_text(encoding="utf-8") == routes.page(), "run: make results"
    for name, _, steps in routes.ROUTES:
        done = []
        for path in (path for step in steps for path in routes.files(step)):
            if path.suffix == ".md":
                continue
            need = re.search(
                r"\*\*Need:\*\*(.*?)(?=\n- \*\*|\n\n)", read(path).cells[0].source, re.S
            )
            for other in re.findall(r"\b0\d[a-z]\b", re.sub(r"\(\S+\)", "", need[1])):
                assert other < path.stem and other in done, f"{name}: {path.stem} needs {other}"
            done.append(path.stem[:3])


@by_name
def test_exercises_have_checkers_and_solutions(path):
    from utils.notebooks import solutions

    text = "\n".join(c.source for c in read(path).cells)
    checkers = set(map(int, re.findall(r"def check_(\d+)\(", text)))
    assert len(checkers) >= 3
    assert checkers == set(solutions(path.stem))


@by_name
def test_what_training_must_not_see_is_shuffled_once(path):
    """A notebook that holds data back looks for leaks: garbage there may change nothing."""
    code = "\n".join(c.source for c in code_cells(path))
    if re.search(r"\btest\.x\b|_for_scoring\(|\btest\b.*= .*data\.", code):
        assert "check_unseen(" in code


# ------------------------------------------------------------------ two readings


RESETS_AT_ITS_END = {"03b"}  # where nothing is trained or measured any more


@by_name
def test_checkers_leave_the_random_numbers_alone(path):
    """Else all that comes after them is alike in every seed, and the seeds show no spread."""
    checkers = [c.source for c in code_cells(path) if "checker" in c.metadata.get("tags", [])]
    resets = [
        text for text in checkers
        if re.search(r"(torch|random)\.(manual_)?seed\(", text) and "fork_rng" not in text
    ]  # fmt: skip
    assert bool(resets) == (path.stem[:3] in RESETS_AT_ITS_END), "the list may only shrink"


TWO_READINGS = [p for p in NOTEBOOKS if minutes.has_deeper(read(p))]
by_pattern = pytest.mark.parametrize("path", TWO_READINGS, ids=lambda p: p.stem)
ONLY_TO_LOOK = re.compile(
    r"save_figure\(|save_animation\(|show_figure\(|^record\(|(explore|sound)\.export\(", re.M
)


def test_four_notebooks_show_the_pattern():
    assert {p.stem[:3] for p in TWO_READINGS} >= {"01a", "03a", "04a", "05c"}


@by_pattern
def test_core_path_fits_in_an_hour(path):
    core, deeper = minutes.measure(read(path))
    assert core <= minutes.CORE_MINUTES and deeper > 0


@by_pattern
def test_deeper_parts_begin_collapsed(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown" and re.search(r"^#+ Deeper:", cell.source, re.M):
            assert re.match(r"#+ Deeper: ", cell.source), "the heading has to begin its cell"
            assert cell.metadata.get("jp-MarkdownHeadingCollapsed") is True, cell.source[:60]


@by_pattern
def test_what_only_draws_or_records_is_folded(path):
    for cell in code_cells(path):
        tags = cell.metadata.get("tags", [])
        if "model" not in tags and (ONLY_TO_LOOK.search(cell.source) or "checker" in tags):
            assert minutes.is_folded(cell), cell.source[:80]


@by_pattern
def test_exercises_are_of_four_kinds_and_marked(path):
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    titles = re.findall(r"\*\*Exercise (\d+) \((easy|medium|hard), ([^)]+)\)", text)
    assert {"predict", "change and explain", "build"} <= {kind for _, _, kind in titles}
    assert "hard" in {level for _, level, _ in titles}
    assert [int(number) for number, _, _ in titles] == list(range(1, len(titles) + 1))
    code = "\n".join(c.source for c in code_cells(path))
    asked = set(re.findall(r'^predict\(\s*"([^"]+)", \.\.\.\)', code, re.M))
    assert asked and asked <= set(re.findall(r'\bcompare\(\s*"([^"]+)"', code))
    for cell in code_cells(path):
        if re.search(r"^compare\(", cell.source, re.M):
            assert cell.metadata.get("jupyter", {}).get("outputs_hidden"), (
                "the answer is folded away"
            )


# ------------------------------------------------------------------ what was measured


@by_name
def test_training_stays_in_its_budget(path):
    limit = TRAINING_SECONDS.get(path.stem, 60)
    for seed, found in table.recorded(path.stem).items():
        assert found["seconds"] <= limit, (
            f"{path.stem} trained {found['seconds']} s with seed {seed}"
        )


@by_name
def test_memory_stays_in_its_budget(path):
    """Fault 27: the peak of the kernel, recorded when executed; also when all cells run twice."""
    for seed, found in table.recorded(path.stem).items():
        assert found["memory_mb"] <= MEMORY_MB, f"seed {seed}"
    assert table.recorded(path.stem)["0"]["memory_twice_mb"] <= MEMORY_MB


@by_name
def test_every_bound_has_room(path):
    """Fault 22: three standard deviations of ten seeds, with one thread and with two."""
    kept = json.loads(spread.FILE.read_text(encoding="utf-8")).get(path.stem, {"seeds": 0})
    assert kept["seeds"] >= 10, "run: make spread"
    present = kept["source"] == sources.mark(read(path))
    assert present, f"of an earlier version of the code; run: make spread ONLY={path.stem[:3]}"
    for distance, assertion, mean, sd in kept.get("nearest", []):
        assert distance >= spread.LEAST, f"{assertion}: margin {mean} ± {sd}"


@by_name
def test_recorded_numbers_lie_in_their_spread(path):
    """Two-sided: what is far better than ten seeds gave has another meaning, too."""
    for seed in table.recorded(path.stem):
        told = spread.strange(spread.numbers(ROOT, path.stem, seed), path.stem)
        assert not told, f"seed {seed}; if this is meant: make spread ONLY={path.stem[:3]}"


@by_name
def test_results_come_from_the_present_code_with_three_seeds(path):
    present = sources.mark(read(path))
    found = table.recorded(path.stem)
    assert {"0", "1", "2"} <= set(found)
    for seed, values in found.items():
        assert values["source"] == present, (
            f"seed {seed} of {path.stem} was measured with other code: "
            f"SEED={seed} make notebooks ONLY={path.stem[:3]}"
        )


@by_name
def test_samples_come_from_the_present_code(path):
    """A cell tagged `samples` is the last one that draws, and its file is as old as its notebook."""
    notebook = read(path)
    cells = [c for c in notebook.cells if "samples" in c.metadata.get("tags", [])]
    file = ROOT / "results/samples" / f"{path.stem}.npz"
    assert bool(cells) == file.exists()
    if not cells:
        return
    (cell,) = cells
    after = notebook.cells[notebook.cells.index(cell) + 1 :]
    assert all(c.cell_type == "markdown" for c in after), "cells tagged samples come last"
    calls = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Call)]
    (call,) = [n for n in calls if getattr(n.func, "id", "") == "record_samples"]
    names = [keyword.arg for keyword in call.keywords]
    assert set(recorded_samples(path.stem)) == set(names)
    with np.load(file) as kept:
        assert (str(kept["seed"]), str(kept["source"])) == ("0", sources.mark(notebook, True)), (
            f"{file.name} is older than its notebook: make notebooks ONLY={path.stem[:3]}"
        )


# ------------------------------------------------------------------ figures and live models


def test_every_figure_is_drawn_by_one_notebook_cell():
    saved = {}
    for path in NOTEBOOKS:
        text = "\n".join(c.source for c in code_cells(path))
        for kind, name in re.findall(r'save_(figure|animation)\(\s*"([^"]+)"', text):
            ending = ".webp" if kind == "animation" else ".svg"
            name = name if "." in name else name + ending
            assert name not in saved, f"{name} is saved by two cells"
            saved[name] = path
    drawn = {p.relative_to(ROOT / "figures").as_posix() for p in FIGURES}
    assert drawn == set(saved)
    for name, path in saved.items():
        alt, source = described(ROOT / "figures" / name)
        assert len(alt.split()) >= 5, f"{name} has no alt text"
        assert source == sources.mark(read(path)), f"{name} is older than the code of {path.name}"


def test_every_figure_is_shown():
    shown = {
        (deck.parent / source).resolve()
        for deck in DECKS
        for _, source in IMAGE.findall(deck.read_text(encoding="utf-8"))
    }
    stills = {(ROOT / "figures" / json.loads(p.read_text())["still"]).resolve() for p in LIVE}
    lone = [str(p.relative_to(ROOT)) for p in FIGURES if p.resolve() not in shown | stills]
    assert not lone


LINE_OF_TEXT = re.compile(
    r'<g [^>]*transform="translate\((\S+) (\S+)\)(?: rotate\((\S+)\))? scale\((\S+) -\S+\)">(.*?)</g>',
    re.S,
)
LETTER = re.compile(r'<use [^>]*(?:translate\(|\bx=")([\d.]+)')
CAPITAL = 70  # its height, in the units in which Matplotlib draws letters


@pytest.mark.parametrize("path", [p for p in FIGURES if p.suffix == ".svg"], ids=lambda p: p.stem)
def test_no_text_of_a_figure_is_cut(path):
    """Each line lies inside the picture, from its capitals' tops to where its last letter begins."""
    svg = path.read_text(encoding="utf-8")
    width, height = map(float, re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups())
    for x, y, turn, scale, letters in LINE_OF_TEXT.findall(svg):
        x, y, scale = float(x), float(y), float(scale)
        length = scale * max(map(float, LETTER.findall(letters)), default=0)
        if turn == "-90":
            left, right, top, bottom = x - CAPITAL * scale, x, y - length, y
        else:
            left, right, top, bottom = x, x + length, y - CAPITAL * scale, y
        assert min(left, top) > -1 and right < width + 1 and bottom < height + 1, (x, y)


def test_live_models_come_from_the_present_code():
    by_section = {p.stem[:2]: [] for p in NOTEBOOKS}
    for path in NOTEBOOKS:
        by_section[path.stem[:2]].append(sources.mark(read(path)))
    for path in LIVE:
        spec = json.loads(path.read_text(encoding="utf-8"))
        assert spec["source"] in by_section[spec["name"][:2]], (
            f"{path.name} is older than its notebook"
        )
        assert path.with_suffix(".onnx").exists()
        assert str(ROOT) not in path.with_suffix(".onnx").read_bytes().decode("latin-1")


# ------------------------------------------------------------------ decks


def deck_slides(deck):
    return deck.read_text(encoding="utf-8").split("\n---\n")[1:]


@by_deck
def test_deck_covers_its_outline_rows(deck):
    wanted = json.loads((ROOT / "tests/outline.json").read_text(encoding="utf-8"))[deck.stem]
    found = re.findall(r"_outline: ([\d., ]+)", deck.read_text(encoding="utf-8"))
    covered = {row.strip() for rows in found for row in rows.split(",")}
    assert set(wanted) <= covered


@by_deck
def test_every_slide_has_notes_and_every_picture_words(deck):
    for slide in deck_slides(deck):
        comments = re.findall(r"<!--(.*?)-->", slide, re.S)
        notes = [c for c in comments if not re.match(r"\s*_\w+:", c)]
        assert notes and all(n.strip() for n in notes), f"no notes: {slide.strip()[:60]}"
        for alt, source in IMAGE.findall(slide):
            assert source.startswith("../figures/")
            drawn = described((deck.parent / source).resolve())[0]
            assert alt == drawn, f"{source} says of itself: {drawn}"


@by_deck
def test_links_between_deck_and_notebooks_arrive(deck):
    links = re.findall(
        r"\]\(\.\./notebooks/(\w+)\.ipynb(?:#([^)]+))?\)", deck.read_text(encoding="utf-8")
    )
    assert links
    for name, anchor in links:
        text = "\n".join(c.source for c in read(ROOT / "notebooks" / f"{name}.ipynb").cells)
        anchors = {h.replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.M)}
        assert not anchor or anchor in anchors, f"{name}.ipynb has no part {anchor}"


@by_name
def test_links_in_notebooks_arrive(path):
    text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    anchors = {h.replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.M)}
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("http"):
            assert (path.parent / target.split("#")[0]).resolve().exists(), target


# ------------------------------------------------------------------ words


BANNED = re.compile(
    r"\b(heaps?|judg(?:e|es|ed|ing)|pupils?|translators?|copyists?|bent|shaken|running averages?)\b",
    re.I,
)


def test_the_words_are_those_of_the_field():
    """What was learned here can be looked up elsewhere; STYLE: Words."""
    told = []
    for path in [*NOTEBOOKS, *DECKS, ROOT / "README.md", ROOT / "NOTATION.md", *LIVE]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join(c.source for c in read(path).cells)
        elif path.suffix == ".json":
            spec = json.loads(text)
            text = json.dumps({k: v for k, v in spec.items() if k not in ("first", "controls")})
            text += json.dumps([c | {"background": ""} for c in spec["controls"]])
        told += [
            f"{path.name}: {word}" for word in sorted({w.lower() for w in BANNED.findall(text)})
        ]
    assert not told


def test_a_symbol_has_one_meaning_within_a_section():
    rows, sections = [], None
    for line in (ROOT / "NOTATION.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("| ") and line.count("|") == 6 and not line.startswith("| symbol"):
            cells = [cell.strip() for cell in line.strip("|").replace("\\|", "!").split("|")]
            sections = cells[4]
            for symbol in re.findall(r"\$([^$]+)\$", cells[0]):
                for part in re.split(r",\\ |, ", symbol):
                    rows += [(part.strip(), section, cells[2]) for section in sections.split()]
    assert len(rows) > 30
    seen = {}
    for symbol, section, meaning in rows:
        where = seen.setdefault((symbol, section), meaning)
        assert where == meaning, f"{symbol} is {where!r} and {meaning!r} in section {section}"


# ------------------------------------------------------------------ README and palette


def test_readme_is_up_to_date():
    assert table.filled() == table.README.read_text(encoding="utf-8"), "run: make results"


def test_readme_links_arrive():
    for target in re.findall(r"\]\(([^)\s]+)\)", table.README.read_text(encoding="utf-8")):
        if not target.startswith(("http", "#")):
            assert (ROOT / target).exists(), target


def test_utils_stays_thin():
    for path in (ROOT / "utils").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, path.name
        assert not re.search(r"class \w+\(.*nn\.Module|torch\.optim|\.backward\(", text), path.name


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("room", ["light", "dark"])
def test_colours_can_be_read_on_their_paper(room):
    """WCAG AA: 4.5 to 1 for text."""
    roles = PALETTE[room]
    for name in ("ink", "muted", "data", "model", "latent", "noise", "discriminator"):
        pair = sorted([luminance(roles["paper"]), luminance(roles[name])])
        assert (pair[1] + 0.05) / (pair[0] + 0.05) >= 4.5 - 0.6 * (name == "discriminator"), name

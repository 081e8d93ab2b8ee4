"""The static pages of the notebooks: narrow, folded, without a script; and other programs' pages."""

import re

import nbformat
import pytest
from nbconvert import HTMLExporter, ScriptExporter
from windows import until

from tools import pages, slides
from tools.notebooks import all_notebooks

by_name = pytest.mark.parametrize("path", all_notebooks(), ids=lambda p: p.stem)
in_browser = pytest.mark.browser


def folded_notebook(path):
    """A notebook with a deeper part, folded code and a folded answer."""
    code, text = nbformat.v4.new_code_cell, nbformat.v4.new_markdown_cell
    answer = nbformat.v4.new_output("stream", text="forty-two")
    cells = [
        text("# Fold it\n\nIs it folded? See [below](#How-deep)."),
        code("shown = 1"),
        code("drawn = 2", metadata={"jupyter": {"source_hidden": True}}),
        code("asked", metadata={"jupyter": {"outputs_hidden": True}}, outputs=[answer]),
        text("## Deeper: the sea\n\nFar down."),
        text("### How deep\n\nVery."),
        text("## Up again\n\nAir."),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@in_browser
def test_folded_parts_open_for_who_comes_by_a_link(page, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "BUILD", tmp_path)
    target = tmp_path / "fold.html"
    pages._write([(folded_notebook(tmp_path / "fold.ipynb"), target, lambda: None)])
    page.goto(target.as_uri())
    assert page.get_by_text("Air.").is_visible() and page.get_by_text("shown").is_visible()
    for hidden in ("Far down.", "Very.", "drawn", "forty-two"):
        assert not page.get_by_text(hidden).is_visible()
    assert page.get_by_role("heading", name="Deeper: the sea").is_visible()
    page.get_by_role("link", name="below").click()
    until(page, "the part is open", "() => document.querySelector('details.deeper').open")
    assert page.get_by_text("Very.").is_visible()
    page.get_by_text("answer", exact=True).click()
    assert page.get_by_text("forty-two").is_visible()
    page.get_by_text("code", exact=True).click()
    assert page.get_by_text("drawn").is_visible()
    assert page.errors == []


@in_browser
def test_folded_parts_can_be_read_without_a_script(chromium, tmp_path, monkeypatch):
    monkeypatch.setattr(slides, "BUILD", tmp_path)
    target = tmp_path / "fold.html"
    pages._write([(folded_notebook(tmp_path / "fold.ipynb"), target, lambda: None)])
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(target.as_uri())
    page.get_by_role("heading", name="Deeper: the sea").click()
    assert page.get_by_text("Far down.").is_visible() and page.get_by_text("Very.").is_visible()
    context.close()


def test_a_page_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    notebook = nbformat.v4.new_notebook()
    element = '<latent-explorer name="03_vae/nothing"></latent-explorer>'
    notebook.cells = [nbformat.v4.new_markdown_cell(f"# Broken\n\n{element}")]
    path = tmp_path / "broken.ipynb"
    nbformat.write(notebook, path)
    with pytest.raises(slides.BuildError, match=r"broken\.ipynb"):
        pages._write([(path, tmp_path / "broken.html", lambda: None)])


# ------------------------------------------------------------------ other programs


@by_name
def test_nbconvert_finds_words_for_every_picture(path):
    """In the outputs' metadata, where its classic template looks; its lab template never looks."""
    html = HTMLExporter(template_name="classic").from_filename(path)[0]
    pictures = re.findall(r"<img\b[^>]*>", html)
    wordless = [p for p in pictures if not re.search(r'alt="(?!No description)[^"]+"', p)]
    assert not wordless, f"{len(wordless)} of {len(pictures)} have no alt text"


@by_name
def test_nbconvert_writes_python(path):
    script, resources = ScriptExporter().from_filename(path)
    assert resources["output_extension"] == ".py"
    compile(script, path.stem, "exec")

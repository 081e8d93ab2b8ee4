"""Explorers in a browser: found, waited for, moved."""

import re

from windows import until

from tools import slides

EXPLORER = re.compile(r'<latent-explorer name="([\w/]+)">')


def live_slides():
    """(deck, slide number, explorer name) of every live slide."""
    return [
        (deck, number, name)
        for deck in slides.decks()
        for number, slide in enumerate(slides.parts(deck)[1:], 1)
        for name in EXPLORER.findall(slide)
    ]


def live(page, name):
    """The explorer once it shows its first computed picture."""
    until(
        page,
        f"{name} comes alive or gives up",
        "name => document.querySelector(`latent-explorer[name='${name}']`)?.dataset.state",
        name,
    )
    explorer = page.locator(f'latent-explorer[name="{name}"]').first
    assert explorer.get_attribute("data-state") == "live"
    return explorer


def settle(explorer):
    """Wait until the newest values are drawn; return them."""
    return explorer.evaluate(
        """async ({ explorer }) => {
            await explorer.taken;
            while (explorer.drawing) await explorer.drawing;
            return explorer.values;
        }"""
    )


def picture(explorer):
    """All that the explorer shows now, once the newest values are drawn."""
    settle(explorer)
    return explorer.evaluate("e => e.explorer.canvases.map(c => c.toDataURL()).join()")


def drag(page, box, start, end):
    """Drag the mouse between two points of a box, given as fractions of its width and height."""
    (x, y), (to_x, to_y) = [
        (box["x"] + a * box["width"], box["y"] + b * box["height"]) for a, b in (start, end)
    ]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to_x, to_y, steps=8)
    page.mouse.up()
    assert page.evaluate("getSelection().type") != "Range", "dragging must not mark what it passes"

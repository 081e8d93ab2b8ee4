"""Decks in a browser: opened, waited for, pressed on."""

import re

from tools import slides

LONG = re.compile(r"<!-- _class: [^>]*\blong\b")


def until(page, what, script, value=None):
    """Wait until a script of the page is true; say what was waited for if it never is."""
    from playwright.sync_api import TimeoutError

    try:
        page.wait_for_function(script, arg=value, timeout=60_000)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}") from None


def open_deck(page, deck, number=1):
    page.goto((slides.BUILD / f"{deck.stem}.html").as_uri() + f"#{number}")
    until(page, "the keys are at work", "() => document.querySelector('.deck-help')")
    shows(page, number)


def shows(page, number):
    until(
        page,
        f"slide {number} is shown",
        """number => document.querySelectorAll('svg[data-marpit-svg]')[number - 1]
            .classList.contains('bespoke-marp-active')""",
        number,
    )


def press(page, *keys):
    for key in keys:
        page.keyboard.press(key)


def short(deck):
    """The numbers of the slides on the short route."""
    return [n for n, text in enumerate(slides.parts(deck)[1:], 1) if not LONG.search(text)]


def slide_with(deck, text):
    """The number of the first slide that holds a text."""
    return next(n for n, slide in enumerate(slides.parts(deck)[1:], 1) if text in slide)

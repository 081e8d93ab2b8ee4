"""English that every CPython carries: the language reference behind `help("if")`."""

import re
from pydoc_data.topics import topics
from typing import NamedTuple

__all__ = ["Text", "text"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PROSE = 0.87  # at least this share of a paragraph of prose is letters and blanks
SHARED = 30  # a test paragraph with so many letters in a row of the training text is dropped
BLOCK = 25  # paragraphs that stay together


class Text(NamedTuple):
    """One string to learn from, and one that shares no passage with it."""

    train: str
    test: str


def text(*, letters=True, spaces=True):
    """The prose of Python's own documentation, some 37,000 words, as `train` and `test`.

    With `letters` it is lower-case letters and single spaces; without `spaces` letters alone. Else
    the paragraphs stand as they were written. Programs, tables and grammar are left out. Topics
    quote each other, so what was said before is left out too. Every fourth block of 25 paragraphs
    is for testing, but for the paragraphs that share 30 letters in a row with the training text.

    The text differs from one version of Python to the next, by a few percent between neighbours.
    A number measured on it is compared with a bound, never with a value.

    Source: The Python Language Reference, Python Software Foundation, in `pydoc_data.topics`.
    """
    first = {_key(paragraph): paragraph for paragraph in reversed(list(_paragraphs()))}
    prose = list(first.items())[::-1]
    blocks = [prose[i : i + BLOCK] for i in range(0, len(prose), BLOCK)]
    train = [pair for i, block in enumerate(blocks) if i % 4 != 3 for pair in block]
    known = {piece for key, _ in train for piece in _pieces(key)}
    held = [pair for block in blocks[3::4] for pair in block if known.isdisjoint(_pieces(pair[0]))]
    return Text(*(_joined([p for _, p in part], letters, spaces) for part in (train, held)))


def _paragraphs():
    """Paragraphs of whole sentences, with hardly a sign that is neither a letter nor a blank."""
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            signs = " ".join(paragraph.split())
            plain = sum(sign.isalpha() or sign == " " for sign in signs)
            if len(signs.split()) >= 8 and plain >= PROSE * len(signs) and signs[-1] in ".:;)":
                yield paragraph.strip("\n")


def _words(paragraph):
    return re.findall("[a-z]+", paragraph.lower())


def _key(paragraph):
    return "".join(_words(paragraph))


def _pieces(key):
    return {key[i : i + SHARED] for i in range(max(1, len(key) - SHARED + 1))}


def _joined(paragraphs, letters, spaces):
    if not letters:
        return "\n\n".join(paragraphs)
    return (" " if spaces else "").join(word for p in paragraphs for word in _words(p))

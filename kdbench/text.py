"""Untrusted text for a terminal, a page or a table, made free of control characters."""

from __future__ import annotations

LONGEST = 500
"""Maximum number of characters kept of a note, of the reason of a failure, or of a foreign name."""
HIDDEN = "\ufffd"
"""Replaces unprintable characters: control characters, bidirectional overrides, lone surrogates."""


def printable(text: str, most: int | None = None, keep: str = "") -> str:
    """Replace unprintable characters of a text by U+FFFD.

    Args:
        text: Any text.
        most: Maximum length; longer text is cut and ends in an ellipsis. None: no limit.
        keep: Characters to keep, such as line breaks.
    """
    cut = text if most is None or len(text) <= most else f"{text[: most - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(letter if letter.isprintable() or letter in keep else HIDDEN for letter in cut)


def line(text: str, most: int | None = None) -> str:
    """Return text as one printable line."""
    return printable(" ".join(text.split()), most)

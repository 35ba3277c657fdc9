"""Text of others on its way to a terminal, a page or a table: nothing of it may act there."""

from __future__ import annotations

LONGEST = 500
"""Letters that are kept of a note, of the reason of a failure, or of a name that others give."""
HIDDEN = "\ufffd"
"""Stands for a character that cannot be seen: a control character, a bidirectional override, a lone surrogate."""


def printable(text: str, most: int | None = None, keep: str = "") -> str:
    """Return text without what cannot be seen: such a character becomes U+FFFD.

    Args:
        text: Any text.
        most: Longest length; what is longer ends in an ellipsis. None: any.
        keep: Characters that stay, such as line breaks.
    """
    cut = text if most is None or len(text) <= most else f"{text[: most - 1]}…"
    if cut.isprintable():
        return cut
    return "".join(letter if letter.isprintable() or letter in keep else HIDDEN for letter in cut)


def unfit(text: str, most: int = LONGEST) -> str:
    """Return why a text of others is not taken, in words; empty where it is.

    Args:
        text: Any text.
        most: Longest length.
    """
    if not text.isprintable():
        return "it has characters that cannot be seen"
    return f"it has {len(text)} letters, more than {most}" if len(text) > most else ""


def line(text: str, most: int | None = None) -> str:
    """Return text as one printable line."""
    return printable(" ".join(text.split()), most)

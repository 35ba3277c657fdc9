"""Griffe extension of the guide: what docstrings have of reStructuredText, as markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|meth|func|attr):`~?([^`]+)`")
RULE = re.compile(r"=+( +=+)+")


class Markdown(griffe.Extension):
    """Turns each docstring when its object is found."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for every object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value)


def markdown(text: str) -> str:
    """Roles as code, double backticks as single ones, underlined titles as bold, tables as markdown's."""
    text = re.sub(r"``([^`\n]+)``", r"`\1`", ROLE.sub(r"`\1`", text))
    text = re.sub(r"(?m)^(\S.*)\n={5,}$", r"**\1**", text)
    text = re.sub(r"::$", ":", text, flags=re.M)
    lines: list[str] = []
    for in_table, part in groupby(_marked(text.splitlines()), key=lambda marked: marked[0]):
        block = [line for _, line in part]
        lines += _table(block) if in_table else block
    return "\n".join(lines)


def _marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is of a table, which begins and ends with a rule before an empty line."""
    inside = False
    for place, line in enumerate(lines):
        rule = RULE.fullmatch(line) is not None
        yield inside or rule, line
        last = rule and not "".join(lines[place + 1 : place + 2]).strip()
        inside = (inside or rule) and not last


def _table(block: list[str]) -> list[str]:
    """A simple table of two columns; lines that begin with a space go on with the one before."""
    width = block[0].index(" =") + 1
    rows: list[list[str]] = []
    for line in block:
        if RULE.fullmatch(line):
            continue
        name, text = line[:width].strip(), line[width:].strip()
        if name:
            rows.append([name, text])
        else:
            rows[-1][1] += f" {text}"
    head = (
        rows.pop(0) if sum(RULE.fullmatch(line) is not None for line in block) > 2 else ["name", "what it is"]
    )
    cells = [[f"`{part}`" for part in name.split(", ")] for name, _ in rows]
    body = [f"| {', '.join(names)} | {text} |" for names, (_, text) in zip(cells, rows, strict=True)]
    return ["", f"| {head[0]} | {head[1]} |", "| --- | --- |", *body, ""]

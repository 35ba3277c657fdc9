"""Lists of methods as typed: ``none,mimic,fine-grained[variant=I,G]``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from kdbench.combined import PLUS
from kdbench.errors import UserError
from kdbench.selectors import SELECTOR, methods_in, split

BRACKETED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|[\[{].*[\]}]", re.DOTALL)


def methods_of(text: str) -> list[str]:
    """Return the selectors that a list stands for, in its order.

    Methods are separated by commas. In a method's brackets a comma separates options, and what has no ``=``
    is one more value of the option before it: ``m[a=1,2,b=3]`` stands for ``m[a=1,b=3]`` and ``m[a=2,b=3]``.
    A value that is a list itself stays in its own brackets: ``m[stages=[2,3]]``. Methods of a sum are separated by
    ``+``.

    Raises:
        UserError: For an empty item, a value without its option, or unbalanced brackets or quotes.
    """
    return [selector for item in split(text, text) for selector in _expanded(item.strip(), text)]


def _expanded(item: str, text: str) -> Iterator[str]:
    """Yield the selectors that an item stands for; of a sum, every choice of one part with every one of another."""
    return map(PLUS.join, product(*(list(_alternatives(part.strip(), text)) for part in methods_in(item))))


def _alternatives(item: str, text: str) -> Iterator[str]:
    match = SELECTOR.fullmatch(item)
    if match is None:
        raise UserError(f"'{item}' in '{text}' is not a method: write name or name[option=value,value,...].")
    name, inside = match.groups()
    if not (inside or "").strip():
        yield name
        return
    choices = _choices(inside, item)
    for values in product(*choices.values()):
        chosen = ",".join(f"{option}={value}" for option, value in zip(choices, values, strict=True))
        yield f"{name}[{chosen}]"


def _choices(inside: str, item: str) -> dict[str, list[str]]:
    """Option -> its values, as written."""
    choices: dict[str, list[str]] = {}
    last: list[str] | None = None
    for part in split(inside, item):
        option, value = _assigned(part.strip())
        if option:
            if option in choices:
                raise UserError(f"option '{option}' is given twice in '{item}'.")
            last = choices[option] = []
        if last is None or not value:
            raise UserError(f"'{part.strip()}' in '{item}' is neither option=value nor one more value.")
        last.append(value)
    return choices


def _assigned(part: str) -> tuple[str, str]:
    """Option and value; the option is empty where there is no ``=`` outside of brackets and quotes."""
    if "=" not in BRACKETED.sub("", part):
        return "", part
    option, _, value = part.partition("=")
    return option.strip(), value.strip()

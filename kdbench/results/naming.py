"""The labels of rows, and the rows that a selector stands for: from records alone, without their plugins.

A record has all options of its method, and its selector, which leaves out the options that were at their defaults
when the record was made. So a later change of a default does not change the label of a row.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress

from kdbench.errors import UserError
from kdbench.results.record import Record
from kdbench.selectors import parse, says, selector_of

Key = tuple[str, int, str]


def key_of(cell: Record) -> Key:
    """Return what the cells of a row share: method, revision and all options."""
    return cell.method, cell.revision, cell.options_text


def fits(selector: str, cell: Record) -> bool:
    """Whether a selector stands for a cell: its options are the cell's, and it leaves out only defaults.

    Args:
        selector: A selector as typed.
        cell: A cell, whose defaults are the options that its own selector leaves out.

    Raises:
        UserError: If the selector is malformed.
    """
    name, given = parse(selector)
    if selector == cell.selector:
        return True
    return name == cell.method and _named(cell) <= given.keys() and _are_options(given, cell)


def contradiction(cell: Record) -> str:
    """Say what in a cell's selector contradicts its method or options; blank if nothing does."""
    try:
        name, given = parse(cell.selector)
    except UserError as error:
        return str(error)
    if name != cell.method:
        return f"selector '{cell.selector}' is not of method '{cell.method}'"
    wrong = [key for key in given if not _are_options({key: given[key]}, cell)]
    return f"selector '{cell.selector}' has another '{wrong[0]}' than the options" if wrong else ""


def _are_options(given: Mapping[str, str], cell: Record) -> bool:
    return all(key in cell.options and says(text, cell.options[key]) for key, text in given.items())


def _named(cell: Record) -> set[str]:
    """Return the names of the options in a cell's selector; none if it is malformed."""
    with suppress(UserError):
        return set(parse(cell.selector)[1])
    return set()


def method_in(label: str) -> str:
    """Return the method in a row's label: a selector, possibly followed by the revision in parentheses."""
    selector = label.partition(" (")[0]
    with suppress(UserError):
        return parse(selector)[0]
    return selector.partition("[")[0]


def labels(rows: Mapping[Key, Iterable[Record]]) -> dict[Key, str]:
    """Return the label of each row: its selector, with what distinguishes it from rows of the same selector.

    Args:
        rows: Key -> cells of the row.
    """
    first = {
        key: min(cells, key=lambda cell: (len(cell.selector), cell.selector)) for key, cells in rows.items()
    }
    shown = {key: _named(cell) for key, cell in first.items()}
    called = {key: cell.selector for key, cell in first.items()}
    while fresh := [key for same in _clashes(called) for key in _distinguished(same, first, shown)]:
        for key in fresh:
            options = {name: first[key].options[name] for name in shown[key]}
            called[key] = selector_of(first[key].method, options)
    for same in _clashes(called):
        several = len({key[1] for key in same}) < len(same)
        called |= {
            key: f"{called[key]} ({_exactly(key) if several else f'revision {key[1]}'})" for key in same
        }
    return called


def _distinguished(same: list[Key], first: Mapping[Key, Record], shown: Mapping[Key, set[str]]) -> list[Key]:
    """Show the options in which rows of one label differ; return the rows that now show more."""
    options = {key: first[key].options for key in same}
    names = {name for each in options.values() for name in each}
    differing = {name for name in names if len({repr(each.get(name)) for each in options.values()}) > 1}
    fresh = [key for key in same if not differing & options[key].keys() <= shown[key]]
    for key in fresh:
        shown[key].update(differing & options[key].keys())
    return fresh


def _exactly(key: Key) -> str:
    return f"revision {key[1]}, options {hashlib.sha256(key[2].encode()).hexdigest()[:6]}"


def _clashes(called: Mapping[Key, str]) -> list[list[Key]]:
    """Return the groups of rows that have the same label."""
    same: dict[str, list[Key]] = defaultdict(list)
    for key, label in called.items():
        same[label].append(key)
    return [keys for keys in same.values() if len(keys) > 1]

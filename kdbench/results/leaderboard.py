"""Leaderboards as pandas frames: every method against the plain student of the same seeds and recipe."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from kdbench.results.board import Board
from kdbench.results.columns import BOOTSTRAP, COLUMNS, GROUP, TEACHER_ROW
from kdbench.results.record import Record
from kdbench.specs import PLAIN

__all__ = [
    "COLUMNS",
    "GROUP",
    "TEACHER_ROW",
    "leaderboard",
    "origins",
    "ranked_under",
    "recipe_of",
]


def recipe_of(record: Record) -> str:
    """Hash of all that must be equal for two cells to be comparable: data, models, schedule, precision."""
    return record.recipe


def leaderboard(records: Iterable[Record], dataset: str, *, bootstrap: bool = False) -> pd.DataFrame:
    """The ranking of one dataset, one block of rows a (pair, recipe, teacher).

    Scores are fractions in [0, 1] after the last iteration; blanks are NaN. Smoke runs are counted, never ranked.

    Args:
        records: Records of any dataset, in any order.
        dataset: Which to rank.
        bootstrap: Add the columns ``BOOTSTRAP``: a percentile interval of the difference.

    Returns:
        A frame with ``COLUMNS``, then those of the secondary metrics: the teacher, the plain student, then the
        methods by mean paired difference.
    """
    known = _unique(record for record in records if record.dataset == dataset)
    teachers = [record for record in known if record.kind == "teacher" and record.schedule != "smoke"]
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    smoke: dict[str, Counter[str]] = defaultdict(Counter)
    for record in known:
        if record.kind == "cell" and record.schedule == "smoke":
            smoke[record.pair_name][record.selector] += 1
        elif record.kind == "cell":
            groups[record.pair_name, record.schedule, record.recipe, record.metric].append(record)
    rows = []
    for key in sorted(groups):
        counted = smoke[key[0]] if key[1] == "default" else {}
        for board in _boards(groups[key], teachers, counted, bootstrap):
            rows += board.rows()
    return _frame(rows, bootstrap)


def _frame(rows: Sequence[Mapping[str, object]], bootstrap: bool) -> pd.DataFrame:
    kinds = COLUMNS | (dict.fromkeys(BOOTSTRAP, "float64") if bootstrap else {})
    secondary = sorted({name for row in rows for name in row.keys() - kinds.keys()})
    kinds = kinds | dict.fromkeys(secondary, "float64")
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    return frame


def _unique(records: Iterable[Record]) -> list[Record]:
    """One record an identity, sorted: a done one if there is one, and an own one before one of others."""
    same: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        same[record.identity].append(record)
    unique = [max(found, key=_preference) if len(found) > 1 else found[0] for found in same.values()]
    return sorted(unique, key=lambda record: (record.selector, record.seed, record.identity))


def _preference(record: Record) -> tuple[bool, bool, str]:
    return record.done, record.reported_by is None, record.to_json()


def origins(teachers: Iterable[Record]) -> dict[str, str]:
    """Identity of each teacher -> that of the teacher it began with: another one where a stage came after it."""
    return {teacher.identity: teacher.spec.get("base") or teacher.identity for teacher in teachers}


def ranked_under(cell: Record, began_with: Mapping[str, str]) -> str:
    """Identity of the teacher that a cell is ranked under: an ensemble's first, a staged one's base.

    Args:
        cell: A distilled student's record.
        began_with: See :func:`origins`.
    """
    taught_by = cell.teacher.identity if cell.teacher else cell.teacher_identity or ""
    return began_with.get(taught_by, taught_by)


def _boards(
    cells: Sequence[Record], teachers: Sequence[Record], smoke: Mapping[str, int], bootstrap: bool
) -> list[Board]:
    """One ranking a teacher; the plain students serve them all.

    A method that prepared its teacher in a further stage is ranked under the teacher that the stage began with.
    """
    began_with = origins(teachers)
    plain = [cell for cell in cells if cell.method == PLAIN]
    methods: dict[str, list[Record]] = defaultdict(list)
    for cell in cells:
        if cell.method != PLAIN:
            methods[ranked_under(cell, began_with)].append(cell)
    if not methods:
        methods[_only_teacher(plain, teachers)] = []
    return [Board(plain, methods[key], teachers, key, smoke, bootstrap) for key in sorted(methods)]


def _only_teacher(plain: Sequence[Record], teachers: Sequence[Record]) -> str:
    """The teacher that awaits methods, where there are only plain students."""
    known = {cell.teacher.identity for cell in plain if cell.teacher}
    known = known or {t.identity for t in teachers if _is_teacher_of(t, plain[0])}
    return known.pop() if len(known) == 1 else ""


def _is_teacher_of(teacher: Record, cell: Record) -> bool:
    """Whether a teacher is the one that a cell's pair describes: not of an ensemble, not after a stage."""
    pair = cell.spec["pair"]
    described = {
        "model": pair.get("teacher"),
        "recipe": pair.get("teacher_schedule"),
        "seed": 0,
        "base": None,
    }
    same = ("dataset", "data", "schedule", "precision", "device", "processes")
    described |= {name: cell.spec.get(name) for name in same}
    return all(teacher.spec.get(name) == value for name, value in described.items())

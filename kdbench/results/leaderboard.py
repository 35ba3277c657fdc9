"""Leaderboards: every method against the plain student of the same seeds and recipe, ranking by ranking."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from kdbench.results.board import Board, Ranking
from kdbench.results.record import Record
from kdbench.results.row import COLUMNS, METRIC, OCCASIONAL, Row
from kdbench.specs import PLAIN

if TYPE_CHECKING:
    import pandas as pd


def frame_of(found: Iterable[Ranking]) -> pd.DataFrame:
    """Return rankings as one frame: ``COLUMNS``, then the secondary metrics and occasional costs by name."""
    import pandas as pd

    rows = list(chain.from_iterable(ranking.rows for ranking in found))
    kinds = COLUMNS | dict.fromkeys(secondary_columns(rows), "float64")
    frame: pd.DataFrame = pd.DataFrame(map(dict, rows), columns=list(kinds)).astype(kinds)
    return frame


def secondary_columns(rows: Iterable[Row]) -> list[str]:
    """Return the columns of the secondary metrics and occasional costs that any row has, sorted."""
    return sorted({name for row in rows for name in row if name.startswith(METRIC) or name in OCCASIONAL})


def rankings(records: Iterable[Record]) -> list[Ranking]:
    """Rank the methods of each dataset, pair, recipe and teacher, sorted by these; smoke runs are only counted.

    Args:
        records: Records of any dataset, in any order.
    """
    known = one_each(records)
    teachers = [record for record in known if record.kind == "teacher" and record.schedule != "smoke"]
    groups: dict[tuple[str, ...], list[Record]] = defaultdict(list)
    smoke: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for record in known:
        if record.kind == "cell" and record.schedule == "smoke":
            smoke[record.dataset, record.pair_name][record.selector] += 1
        elif record.kind == "cell":
            key = (record.dataset, record.pair_name, record.schedule, record.recipe, record.metric)
            groups[key].append(record)
    return [
        board.ranking()
        for key in sorted(groups)
        for board in _boards(groups[key], teachers, smoke[key[:2]] if key[2] == "default" else {})
    ]


def one_each(records: Iterable[Record]) -> list[Record]:
    """Return one record for each identity, sorted; a done one is preferred, then an own one."""
    same: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        same[record.identity].append(record)
    unique = [max(found, key=_preference) if len(found) > 1 else found[0] for found in same.values()]
    return sorted(unique, key=lambda record: (record.selector, record.seed, record.identity))


def _preference(record: Record) -> tuple[bool, bool, str]:
    return record.done, record.reported_by is None, record.to_json()


def origins(teachers: Iterable[Record]) -> dict[str, str]:
    """Return the identity of each teacher -> that of the teacher that its stage began with, or its own."""
    return {teacher.identity: teacher.spec.get("base") or teacher.identity for teacher in teachers}


def ranked_under(cell: Record, began_with: Mapping[str, str]) -> str:
    """Return the identity of a cell's teacher in rankings: the first of an ensemble, the base of a staged one.

    Args:
        cell: A distilled student's record.
        began_with: The result of :func:`origins`.
    """
    taught_by = cell.teacher.identity if cell.teacher else cell.teacher_identity or ""
    return began_with.get(taught_by, taught_by)


def _boards(cells: Sequence[Record], teachers: Sequence[Record], smoke: Mapping[str, int]) -> list[Board]:
    """Return a board for each teacher; the plain students are in all of them."""
    began_with = origins(teachers)
    plain = [cell for cell in cells if cell.is_plain]
    controls = [cell for cell in cells if cell.is_control]
    methods: dict[str, list[Record]] = defaultdict(list)
    for cell in cells:
        if cell.method != PLAIN:
            methods[ranked_under(cell, began_with)].append(cell)
    if not methods:
        methods[_only_teacher([*plain, *controls], teachers)] = []
    return [Board(plain, controls, methods[key], teachers, key, smoke) for key in sorted(methods)]


def _only_teacher(plain: Sequence[Record], teachers: Sequence[Record]) -> str:
    """Return the teacher of plain students for which no method was run; blank if it is not clear."""
    known = {cell.teacher.identity for cell in plain if cell.teacher}
    known = known or {t.identity for t in teachers if _is_teacher_of(t, plain[0])}
    return known.pop() if len(known) == 1 else ""


def _is_teacher_of(teacher: Record, cell: Record) -> bool:
    """Whether a teacher is the one that a cell's pair describes, neither of an ensemble nor after a stage."""
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

"""A row of a ranking: its columns, its cells and their costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

from kdbench.results.naming import method_in
from kdbench.results.record import Record
from kdbench.results.statistics import mean, ratio
from kdbench.specs import PLAIN

TEACHER_ROW = "teacher"
METRIC = "metric:"
"""Prefix of the columns of secondary metrics."""
GROUP = ("dataset", "pair", "schedule", "recipe", "teacher", "metric", "device", "precision")
"""Columns that all rows of a ranking share."""
SHARES = ("gradient_share_start", "gradient_share_quarter", "gradient_share_half")
"""Shares of the method in the gradient's norm on backbone and neck."""
COLUMNS = {
    **dict.fromkeys([*GROUP, "method"], "str"),
    "seeds": "int64",
    "mean": "float64",
    "std": "float64",
    "shared_seeds": "int64",
    **dict.fromkeys(("difference", "low", "high", "gap_closed", "time_ratio"), "float64"),
    "failed": "int64",
    "verdict": "str",
    **dict.fromkeys(("reason", "same_as", "interval", "machines"), "str"),
    **dict.fromkeys(("p", "scatter", "relative_gain"), "float64"),
    "control": "str",
    **dict.fromkeys(("control_difference", "control_low", "control_high"), "float64"),
    "control_verdict": "str",
    "selection": "str",
    "best": "float64",
    **dict.fromkeys(("skipped", "smoke", "missing", "reported", "trials"), "int64"),
    **dict.fromkeys(("time_low", "time_high"), "float64"),
    **dict.fromkeys(("seconds_per_iteration", "peak_memory_mib", "added_parameters"), "float64"),
    **dict.fromkeys(SHARES, "float64"),
    **dict.fromkeys(("student_parameters", "student_flops", "paper_difference"), "float64"),
    **dict.fromkeys(("paper_setting", "plugin", "command"), "str"),
}
"""Column -> dtype.

``device`` is the class of the training's device (``cpu``, ``cuda``) and ``precision`` its precision. Scores (mean,
std, best), differences (difference, low, high, paper_difference), gap_closed and relative_gain (the difference over
the plain student's score of the same seeds) are fractions; std is over seeds. A positive difference is an
improvement, even of a metric of which less is better.
``difference``, ``low``, ``high`` and ``p`` are from :class:`kdbench.results.model.RankingModel`: all intervals of a
ranking hold at once with 95 %, and ``p`` is adjusted accordingly. ``interval`` is ``pooled``, or ``own`` where
the row scatters more than the others; ``scatter`` is its deviation over theirs. ``reason`` says why a verdict
is ``cannot tell``; ``same_as`` is the row whose computation this row repeats, and which counts instead;
``machines`` names the kinds of machine if the plain student's differs. ``control`` is the plain student with which
the row is compared at equal training time (:mod:`kdbench.results.equal_time`), and the other ``control_`` columns
have the difference to it; all intervals against one control hold at once with 95 %. ``selection`` is the evaluation
that ranks: the last; ``best`` is the mean at the best one, which flatters and never ranks. failed, skipped, smoke
and missing count cells that are in no mean; missing cells are asked for by a benchmark file and were not run.
``reported`` is the number of seeds that others report. ``trials`` is the number of trials by which a tuning study
chose the options, 0 without one. ``seconds_per_iteration`` and the gradient shares (of the method in the gradient's
norm on backbone and neck, in [0, 1]) are means over seeds; ``time_ratio`` is a geometric mean over the seeds in
which the method and the plain student took turns in one process, ``time_low`` and ``time_high`` are the least and
the largest; memory, parameters and FLOPs are the largest of the seeds. ``paper_difference`` is the paper's own, in
the setting ``paper_setting``. Further columns
``metric:NAME`` are means of the other metrics after the last iteration; compressed students have ``student_bits``.
"""
LARGEST = ("peak_memory_mib", "added_parameters", "student_parameters", "student_flops")
OCCASIONAL = ("student_bits",)
"""Further columns, of rows that have something in them: the bits of a compressed student's parameters."""
_BLANK = {"str": "", "int64": 0, "float64": math.nan}

Block = tuple[int, bool]
"""Seed, and whether on the CPU: what two scores that are compared must share."""


class Row(Mapping[str, Any]):
    """A row of a ranking: a mapping from its columns (``COLUMNS`` and more) to values, with its cells.

    Args:
        cells: Records of the row, done or not; of several with one seed the last counts.
        values: Column -> value; other columns are blank.
    """

    def __init__(self, cells: Iterable[Record], values: Mapping[str, Any]) -> None:
        self.cells = tuple(cells)
        self._values = {name: _BLANK[kind] for name, kind in COLUMNS.items()} | dict(values)

    def __getitem__(self, column: str) -> Any:
        return self._values[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def but(self, **changes: Any) -> Row:
        """Return the same row with other values in some columns."""
        return Row(self.cells, self._values | changes)

    @cached_property
    def done(self) -> dict[int, Record]:
        """Seed -> done record."""
        return {cell.seed: cell for cell in self.cells if cell.done}

    def scores(self, metric: str | None = None) -> dict[int, float]:
        """Return seed -> metric after the last iteration, where it was measured; default: the one that ranks."""
        return {
            seed: cell.metrics.last[name]
            for seed, cell in self.done.items()
            if cell.metrics is not None and (name := metric or cell.metric) in cell.metrics.last
        }

    @property
    def blocks(self) -> dict[Block, float]:
        """Block -> score, negated if less is better."""
        done = self.done
        return {(s, done[s].device == "cpu"): done[s].sign * score for s, score in self.scores().items()}

    def gains(self, other: Row) -> list[float]:
        """Return the differences to another row in each block that both have, positive if this one is better."""
        own, theirs = self.blocks, other.blocks
        return [score - theirs[block] for block, score in own.items() if block in theirs]

    @property
    def is_reference(self) -> bool:
        """Whether the row is not ranked: the teacher, the plain student, or a control that trained longer."""
        return self["method"] == TEACHER_ROW or method_in(self["method"]) == PLAIN


def twins(rows: Iterable[Row]) -> dict[str, str]:
    """Return the label of each row that repeats another row's computation -> the shortest label of them.

    Such rows have the same seeds, at least two, and the same curves in every metric, up to single precision.
    """
    same: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        curves = {seed: [_rounded(point) for point in cell.curve] for seed, cell in sorted(row.done.items())}
        varied = len(set(row.scores().values())) > 1
        if varied and all(len(curve) > 1 for curve in curves.values()):
            same[repr(curves)].append(row["method"])
    first = {key: min(labels, key=lambda label: (len(label), label)) for key, labels in same.items()}
    return {label: first[key] for key, labels in same.items() for label in labels if label != first[key]}


def latest_last(plain: Iterable[Record]) -> list[Record]:
    """Return plain students sorted by revision, since the last one of a seed counts."""
    return sorted(plain, key=lambda cell: (cell.revision, cell.identity))


def version_order(plugin: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key of a plugin such as ``name 1.10.0``: the numbers of its version."""
    parts = plugin.rpartition(" ")[2].split(".")
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def _rounded(point: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in sorted(point.items())}


def best(cells: Sequence[Record]) -> float:
    """Return the mean at the best evaluation; NaN unless every cell has one."""
    values = [cell.metrics.best.get(cell.metric, math.nan) for cell in cells if cell.metrics is not None]
    return mean(values)


def secondary(cells: Sequence[Record]) -> dict[str, float]:
    """Return the means of the secondary metrics after the last iteration, each over the cells that have it."""
    last = [cell.metrics.last for cell in cells if cell.metrics is not None]
    names = dict.fromkeys(chain.from_iterable(last)).keys() - {cell.metric for cell in cells}
    return {f"{METRIC}{name}": mean([each[name] for each in last if name in each]) for name in names}


def spent(cells: Sequence[Record]) -> dict[str, float]:
    """Return the costs of cells, NaN if unknown: means of times and gradient shares, the largest of the others."""
    found = {name: mean(_figures(cells, name)) for name in ("seconds_per_iteration", *SHARES)}
    found |= {name: float(max(_figures(cells, name), default=math.nan)) for name in LARGEST}
    return found | {name: float(max(values)) for name in OCCASIONAL if (values := _figures(cells, name))}


def _figures(cells: Iterable[Record], name: str) -> list[float]:
    return [value for cell in cells if (value := getattr(cell.cost, name)) is not None]


def time_ratios(own: Mapping[int, Record], plain: Mapping[int, Record]) -> dict[str, float]:
    """Return the columns on the time of an iteration relative to the plain student's.

    Only seeds count in which the two took turns in one process: other times tell more about the load of the machine
    than about the method.

    Args:
        own: Seed -> record.
        plain: Seed -> record of the plain student.

    Returns:
        Geometric mean over the seeds, least and largest; NaN without such a seed.
    """
    same = [seed for seed in own.keys() & plain.keys() if _in_turns(own[seed], plain[seed])]
    ours, theirs = _seconds(own, same), _seconds(plain, same)
    each = [value for seed in ours if (value := ratio({seed: ours[seed]}, theirs)) > 0]
    low, high = min(each, default=math.nan), max(each, default=math.nan)
    return {"time_ratio": ratio(ours, theirs), "time_low": low, "time_high": high}


def machines(own: Mapping[int, Record], plain: Mapping[int, Record]) -> str:
    """Return the kinds of machine of a row and its plain students if they differ; else blank."""
    pairs = {(own[seed].machine, plain[seed].machine) for seed in own.keys() & plain.keys()}
    mixed = sorted(f"{one} against {other}" for one, other in pairs if one != other)
    return "; ".join(mixed)


def _in_turns(one: Record, other: Record) -> bool:
    together = one.cost.timed_with
    return together is not None and together == other.cost.timed_with and one.machine == other.machine


def _seconds(cells: Mapping[int, Record], seeds: Iterable[int]) -> dict[int, float]:
    return {seed: value for seed in seeds if (value := cells[seed].cost.seconds_per_iteration) is not None}

"""Reproduction of a result: the recorded row, what has changed since, and how close the new result is."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.errors import UserError
from kdbench.plugins import suggestion
from kdbench.results.naming import fits, key_of
from kdbench.results.record import Record
from kdbench.results.row import TEACHER_ROW
from kdbench.results.statistics import ROUND_OFF, deviation
from kdbench.results.store import record_in
from kdbench.selectors import canonical, method_of

ONE_SEED_NOISE = 0.02
"""Assumed standard deviation over seeds of a row with one seed, as a fraction."""
SPREAD = 1.96 * math.sqrt(2)
"""Number of standard deviations of a run within which two runs differ in 95 % of cases."""
ROUNDING = 1e-6
"""Difference below which metrics are equal: some are summed in single precision."""
ABSENT = "(absent)"


@dataclass(frozen=True)
class Noise:
    """How much a row's scores vary from seed to seed.

    Attributes:
        std: Standard deviation over the seeds, as a fraction.
        seeds: Number of seeds; with one the deviation is :data:`ONE_SEED_NOISE`.
    """

    std: float
    seeds: int

    @property
    def bound(self) -> float:
        """Largest plausible difference of two runs, as a fraction."""
        return SPREAD * self.std

    def __str__(self) -> str:
        of = f"over {self.seeds} seeds" if self.seeds > 1 else "assumed, as the row has one seed"
        return (
            f"std {100 * self.std:.1f} {of}, so two runs may differ by {100 * self.bound:.1f} "
            "(1.96 sqrt 2 times that)"
        )


@dataclass(frozen=True)
class Agreement:
    """The verdict on a new result beside the recorded one.

    Attributes:
        agrees: Whether it is close enough.
        why: The reason, in one line.
        then: The record.
        now: The new result.
    """

    agrees: bool
    why: str
    then: Record
    now: Record


def find_row(
    row: str, records: Iterable[Record], dataset: str | None, pair: str | None, seed: int | None
) -> Record:
    """Find the cell that a user's words stand for.

    Args:
        row: A record's file, the first digits (at least 6) of its identity, or a selector.
        records: The records of the store.
        dataset: Name of the dataset; None if only one fits.
        pair: Name of the pair; None if only one fits.
        seed: Seed of the cell; None for that of the identity, or the lowest.

    Raises:
        UserError: If no cell fits, or cells of several rows do.
    """
    cells = [cell for cell in records if cell.kind == "cell"]
    if Path(row).is_file():
        return at_seed(record_in(Path(row)), cells, seed)
    here = [c for c in cells if dataset in (None, c.dataset) and pair in (None, c.pair_name)]
    if re.fullmatch("[0-9a-f]{6,64}", row):
        found = [cell for cell in here if cell.identity.startswith(row)]
        if not found:
            raise UserError(f"no record's identity starts with '{row}': give a record's file, or a selector.")
        rows: dict[tuple[str, ...], Record] = {(cell.identity,): cell for cell in found}
    else:
        found = _of_selector(row, here, cells)
        rows = {_row(cell): cell for cell in found}
    if len(rows) > 1:
        shown = ", ".join(sorted(f"{c.identity[:12]} ({c.dataset}, {c.pair_name})" for c in rows.values()))
        raise UserError(f"'{row}' means several rows: give one of {shown}, or `dataset` and `pair`.")
    return at_seed(min(found, key=lambda cell: cell.seed), cells, seed)


def _of_selector(row: str, here: Sequence[Record], everywhere: Sequence[Record]) -> list[Record]:
    """Return the done cells of a method; smoke runs only if there are no others."""
    if row == TEACHER_ROW:
        raise UserError("the teacher is not a row of its own: reproduce one that was taught by it.")
    found = [cell for cell in here if cell.done and fits(row, cell)]
    if not found:
        if other := sorted({cell.pair_name for cell in everywhere if cell.done and fits(row, cell)}):
            raise UserError(f"no result of '{row}' there to reproduce. It has results on {', '.join(other)}.")
        meant, known = canonical(*method_of(row)), {cell.selector for cell in everywhere}
        raise UserError(
            f"no result of '{meant}' there to reproduce.{suggestion(meant, known) if known else ''}"
        )
    return [cell for cell in found if cell.schedule != "smoke"] or found


def at_seed(cell: Record, records: Iterable[Record], seed: int | None) -> Record:
    """Return the cell of the same row at a seed; itself for None. Raises UserError if it is missing or failed."""
    if seed is not None and seed != cell.seed:
        found = {other.seed: other for other in row_of(cell, records)}
        if seed not in found:
            there = ", ".join(map(str, sorted(found))) or "none"
            raise UserError(f"{cell.selector} on {cell.pair_name} has no result of seed {seed}: {there}.")
        cell = found[seed]
    if cell.kind == "teacher":
        raise UserError("that is a teacher's record: reproduce a row that was taught by it.")
    if not cell.done:
        raise UserError(f"that run is {cell.status} ({cell.reason}): there is no result to reproduce.")
    return cell


def row_of(cell: Record, records: Iterable[Record]) -> list[Record]:
    """Return the done cells of a cell's row, which differ only in their seeds."""
    return [other for other in records if other.kind == "cell" and other.done and _row(other) == _row(cell)]


def _row(cell: Record) -> tuple[str, ...]:
    return cell.recipe, cell.teacher_identity or "", *map(str, key_of(cell))


def noise_of(cell: Record, records: Iterable[Record]) -> Noise:
    """Return how much a cell's row varies over its seeds."""
    scores = {other.seed: other.score for other in [*row_of(cell, records), cell] if other.score is not None}
    spread = deviation(scores.values())
    return Noise(ONE_SEED_NOISE if math.isnan(spread) else spread, len(scores))


def differences(then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return a line for each key in which two specs differ: ``pair.schedule.lr: 0.01 then, 0.02 now``."""
    one, two = dict(_leaves(then, prefix)), dict(_leaves(now, prefix))
    keys = [key for key in {**one, **two} if one.get(key, ABSENT) != two.get(key, ABSENT)]
    return [f"{key}: {one.get(key, ABSENT)} then, {two.get(key, ABSENT)} now" for key in keys]


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def judge(then: Record, now: Record, noise: Noise, same_spec: bool = True) -> Agreement:
    """Judge whether a new result agrees with the recorded one.

    On the CPU of the same kind of machine, with the same versions, every metric must be identical up to rounding;
    elsewhere the ranking metric must be within the noise.

    Args:
        then: The recorded result.
        now: The new result.
        noise: The noise of the recorded row.
        same_spec: Whether both were run with the same spec.
    """
    if not now.done or now.score is None or then.score is None:
        return Agreement(False, f"the new run is {now.status}: {now.reason}", then, now)
    apart = _furthest(then, now)
    if apart < ROUNDING:
        rounded = f", up to rounding ({apart:.0e})" if apart else ""
        return Agreement(True, f"identical in every metric{rounded}", then, now)
    gap = now.score - then.score
    within = abs(gap) <= noise.bound + ROUND_OFF
    shown = (
        f"{then.metric} differs by {100 * gap:+.2f}, {'within' if within else 'beyond'} the noise ({noise})"
    )
    others = [] if same_spec else ["the spec"]
    others += _unlike(then, now)
    if not others:
        why = f"not identical on the CPU of the same kind of machine: {shown}"
        return Agreement(False, why, then, now)
    return Agreement(within, f"{shown}; what differs: {', '.join(others)}", then, now)


def _furthest(then: Record, now: Record) -> float:
    """Return the largest difference between two metrics of one name; infinite if one is missing."""
    old, new = ({} if record.metrics is None else record.metrics.last for record in (then, now))
    return max((abs(value - new.get(name, math.inf)) for name, value in old.items()), default=math.inf)


def _unlike(then: Record, now: Record) -> list[str]:
    """Return the reasons why numbers may differ: a GPU, another machine, other versions."""
    found = ["a GPU's sums"] if then.device == now.device != "cpu" else []
    if then.device != now.device:
        found.append(f"device {then.device} -> {now.device}")
    if then.host_class != now.host_class:
        found.append(f"machine {then.host_class} -> {now.host_class}")
    for name in sorted(then.versions.keys() & now.versions.keys()):
        if then.versions[name] != now.versions[name]:
            found.append(f"{name}: {then.versions[name]} -> {now.versions[name]}")
    return found

"""What a row's trainings cost, from the records of its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from kdbench.results.record import Record
from kdbench.results.statistics import mean, ratio

LARGEST = ("peak_memory_mib", "added_parameters", "student_parameters", "student_flops")


def costs(cells: Iterable[Record]) -> dict[str, float]:
    """Mean time of an iteration, and the largest memory (MiB), parameters and multiply-adds; NaN if unknown."""
    spent = [cell.cost for cell in cells]
    seconds = [cost.seconds_per_iteration for cost in spent if cost.seconds_per_iteration is not None]
    found = {"seconds_per_iteration": mean(seconds)}
    for name in LARGEST:
        values = [value for cost in spent if (value := getattr(cost, name)) is not None]
        found[name] = float(max(values, default=math.nan))
    return found


def time_ratio(own: Mapping[int, Record], plain: Mapping[int, Record]) -> float:
    """Time of an iteration relative to the plain student's, where both ran on the same kind of machine.

    Args:
        own: Seed -> record.
        plain: Seed -> record of the plain student.
    """
    same = [seed for seed in own.keys() & plain.keys() if _machine(own[seed]) == _machine(plain[seed])]
    return ratio(_seconds(own, same), _seconds(plain, same))


def _machine(cell: Record) -> tuple[str, str]:
    return cell.device, cell.host_class


def _seconds(cells: Mapping[int, Record], seeds: Iterable[int]) -> dict[int, float]:
    return {seed: value for seed in seeds if (value := cells[seed].cost.seconds_per_iteration) is not None}

"""What a row's trainings cost, from the records of its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from kdbench.results.record import Record
from kdbench.results.statistics import mean, ratio

LARGEST = ("peak_memory_mib", "added_parameters", "student_parameters", "student_flops")


def costs(cells: Iterable[Record]) -> dict[str, float | str]:
    """Mean time of an iteration, the largest memory (MiB), parameters and multiply-adds, and the latency.

    What is unknown is NaN.
    """
    cells = list(cells)
    spent = [cell.cost for cell in cells]
    seconds = [cost.seconds_per_iteration for cost in spent if cost.seconds_per_iteration is not None]
    found: dict[str, float | str] = {"seconds_per_iteration": mean(seconds), **latency(cells)}
    for name in LARGEST:
        values = [value for cost in spent if (value := getattr(cost, name)) is not None]
        found[name] = float(max(values, default=math.nan))
    return found


def latency(cells: Iterable[Record]) -> dict[str, float | str]:
    """Median latency (ms) of the cells that have one, and the kind of machine that it was measured on.

    Where they were measured on several kinds of machine there is no latency: NaN, and the machines are named.
    """
    timed = [(cell.cost.latency_ms, " on ".join(_machine(cell))) for cell in cells if cell.cost.latency_ms]
    machines = sorted({machine for _, machine in timed})
    value = median(ms for ms, _ in timed) if len(machines) == 1 else math.nan
    return {"latency_ms": value, "latency_on": "; ".join(machines)}


def time_ratio(own: Mapping[int, Record], plain: Mapping[int, Record]) -> float:
    """Time of an iteration relative to the plain student's, over the seeds in which the two took turns.

    Other times say more of what else ran on the machine than of the method: they are left out.

    Args:
        own: Seed -> record.
        plain: Seed -> record of the plain student.

    Returns:
        Geometric mean of the ratios; NaN where there is none.
    """
    same = [seed for seed in own.keys() & plain.keys() if _in_turns(own[seed], plain[seed])]
    return ratio(_seconds(own, same), _seconds(plain, same))


def _in_turns(one: Record, other: Record) -> bool:
    together = one.cost.timed_with
    return together is not None and together == other.cost.timed_with and _machine(one) == _machine(other)


def _machine(cell: Record) -> tuple[str, str]:
    return cell.device, cell.host_class


def _seconds(cells: Mapping[int, Record], seeds: Iterable[int]) -> dict[int, float]:
    return {seed: value for seed in seeds if (value := cells[seed].cost.seconds_per_iteration) is not None}

"""The time of each method's iteration relative to the plain student's. Imports neither numpy nor pandas."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from kdbench.results.record import Record
from kdbench.results.row import time_ratios
from kdbench.specs import PLAIN

Costs = Mapping[str, float]
"""Pair (with the device if it is not the CPU) -> time of an iteration relative to the plain student's."""


def method_costs(records: Iterable[Record]) -> dict[str, Costs]:
    """Return method -> its costs at its default options; a method that was not timed is left out.

    As in a leaderboard, only seeds count in which the method and the plain student took turns in one process.

    Args:
        records: Records of any dataset, in any order.
    """
    cells: dict[tuple[str, ...], dict[int, Record]] = defaultdict(dict)
    for record in records:
        is_default = record.schedule == "default" and record.selector == record.method
        if record.kind == "cell" and record.done and is_default:
            cells[record.method, record.pair_name, record.device_class, record.recipe][record.seed] = record
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for (method, pair, device, recipe), own in sorted(cells.items()):
        ratio = time_ratios(own, cells.get((PLAIN, pair, device, recipe), {}))["time_ratio"]
        if method != PLAIN and not math.isnan(ratio):
            found[method][pair if device == "cpu" else f"{pair} on {device}"] = ratio
    return dict(found)


def cost_range(costs: Costs) -> str:
    """Return the smallest and largest cost: ``1.15x to 1.48x``; one if they read the same, blank for none."""
    if not costs:
        return ""
    low, high = (f"{end(costs.values()):.2f}x" for end in (min, max))
    return low if low == high else f"{low} to {high}"

"""How long cells will take, from the records of earlier ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

from kdbench.execution.sweep_cells import Item
from kdbench.results.record import Record


@dataclass
class Rates:
    """Seconds an iteration of students, as recorded: the median over the records of a pair and method."""

    of_method: dict[tuple[str, str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    of_pair: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))

    def learn(self, records: Iterable[Record]) -> None:
        """Take in what records say."""
        for record in records:
            seconds = record.cost.seconds_per_iteration
            if record.kind == "cell" and record.done and seconds:
                self.of_method[record.pair_name, record.schedule, record.method].append(seconds)
                self.of_pair[record.pair_name, record.schedule].append(seconds)

    def seconds(self, item: Item) -> float | None:
        """Time of a cell's iterations, s: as the same method took, else any on the pair; None if unknown."""
        cell = item.plan.cell
        pair = (cell.pair.name, cell.schedule)
        seen = self.of_method.get((*pair, cell.method)) or self.of_pair.get(pair)
        return median(seen) * cell.pair.schedule.iterations if seen else None

    def total(self, items: Iterable[Item]) -> tuple[float, int]:
        """Time of cells one after the other, s, and of how many of them it is unknown."""
        each = [self.seconds(item) for item in items]
        return sum(seconds for seconds in each if seconds is not None), each.count(None)

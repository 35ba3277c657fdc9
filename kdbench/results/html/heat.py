"""Which classes a method helps: differences to the plain student, class by class, as a coloured table."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.colors import LinearSegmentedColormap

from kdbench.results.board import Ranking
from kdbench.results.plots.picture import MOST
from kdbench.results.statistics import mean
from kdbench.specs import PLAIN

WORST, MIDDLE, BEST = "#d6604d", "#f7f7f7", "#4393c3"


@dataclass(frozen=True)
class PerClass:
    """Mean paired differences, as fractions.

    Attributes:
        metric: The metric of a class, such as AP50 or IoU.
        classes: Names, in alphabetical order.
        differences: Label of a row -> a difference for each class; NaN where no seed has both.
    """

    metric: str
    classes: tuple[str, ...]
    differences: dict[str, tuple[float, ...]]

    @property
    def largest(self) -> float:
        """The largest absolute difference, above 0."""
        return max([*(abs(v) for values in self.differences.values() for v in values if v == v), 1e-3])

    def colour(self, value: float) -> str:
        """Return the colour of a difference, red below zero and blue above; blank for NaN."""
        if value != value:
            return ""
        scale = LinearSegmentedColormap.from_list("differences", [WORST, MIDDLE, BEST])
        red, green, blue, _ = scale(0.5 + 0.5 * value / self.largest)
        return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def per_class(ranking: Ranking) -> PerClass | None:
    """Return the differences by class of a ranking's first rows; None if no record has values by class."""
    plain = ranking.row(PLAIN)
    last = [cell.metrics.last for cell in plain.done.values() if cell.metrics] if plain else []
    keys = sorted({key for values in last for key in values if "/" in key})
    kinds = {key.partition("/")[0] for key in keys}
    if not kinds or not ranking.methods:
        return None
    kind = ranking.metric if ranking.metric in kinds else min(kinds)
    keys = [key for key in keys if key.startswith(f"{kind}/")]
    found = {
        row["method"]: tuple(mean(ranking.differences(row["method"], key)) for key in keys)
        for row in ranking.methods[:MOST]
    }
    return PerClass(kind, tuple(key.partition("/")[2] for key in keys), found)

"""Which classes a method helps: differences to the plain student, class by class."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from kdbench.results.board import Ranking
from kdbench.results.formats import percent
from kdbench.results.plots.picture import COLOURS, MOST, WIDTH, Picture
from kdbench.results.statistics import mean
from kdbench.specs import PLAIN
from kdbench.text import printable

MIDDLE = "#f7f7f7"
WORST, BEST = "#d6604d", "#4393c3"
NUMBERS = 14
"""Classes up to which each cell of the picture has its number."""


@dataclass(frozen=True)
class PerClass:
    """Mean paired differences, as fractions.

    Attributes:
        metric: What is measured a class, such as AP50 or IoU.
        classes: Names, in alphabetical order.
        differences: Row label -> a difference a class; NaN where no seed has both.
    """

    metric: str
    classes: tuple[str, ...]
    differences: dict[str, tuple[float, ...]]

    @property
    def largest(self) -> float:
        """The largest difference in either direction, above 0."""
        found = [abs(v) for values in self.differences.values() for v in values if v == v]
        return max([*found, 1e-3])


def per_class(ranking: Ranking) -> PerClass | None:
    """Return the differences by class of the first rows of a ranking; None where no record has values by class."""
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


def colour(value: float, largest: float) -> tuple[float, float, float, float]:
    """Colour of a difference: red below zero, blue above, as red, green, blue, alpha in [0, 1]."""
    scale = LinearSegmentedColormap.from_list("differences", [WORST, MIDDLE, BEST])
    red, green, blue, alpha = scale(0.5 + 0.5 * value / largest)
    return float(red), float(green), float(blue), float(alpha)


def classes(ranking: Ranking) -> Picture | None:
    """Draw the heat map; None where no record has values by class."""
    found = per_class(ranking)
    if found is None:
        return None
    names = list(found.differences)

    def draw() -> Figure:
        size = (WIDTH + 0.3 * max(0, len(found.classes) - 8), 0.24 * len(names) + 1.5)
        figure = Figure(figsize=size, layout="constrained")
        axis = figure.subplots()
        values = [[value / found.largest for value in found.differences[name]] for name in names]
        scale = LinearSegmentedColormap.from_list("differences", [WORST, MIDDLE, BEST])
        axis.imshow(values, cmap=scale, vmin=-1, vmax=1, aspect="auto")
        axis.set_xticks(range(len(found.classes)), [printable(name, 20) for name in found.classes])
        axis.tick_params(axis="x", rotation=40 if max(map(len, found.classes)) > 3 else 0, length=0)
        axis.set_yticks(range(len(names)), [printable(name, 40) for name in names])
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(f"{found.metric} points against the plain student")
        axis.spines[:].set_visible(False)
        if len(found.classes) <= NUMBERS:
            for y, name in enumerate(names):
                for x, value in enumerate(found.differences[name]):
                    axis.text(
                        x, y, percent(value, "+"), ha="center", va="center", size=6.5, color=COLOURS["ink"]
                    )
        return figure

    title = f"Difference by class: {ranking.first['dataset']}, {ranking.first['pair']}"
    return Picture(title, " ".join(_sentence(found, name) for name in names), draw)


def _sentence(found: PerClass, name: str) -> str:
    values = zip(found.classes, found.differences[name], strict=True)
    told = [f"{label} {percent(value, '+') or 'not known'}" for label, value in values]
    return f"{name}: {', '.join(told)}."

"""The critical-difference diagram (Demšar 2006): average ranks, and which of them differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from kdbench.results.plots.picture import COLOURS, WIDTH, Picture
from kdbench.text import printable


def rank_diagram(average: Mapping[str, float], critical: float, rankings: int) -> Picture | None:
    """Draw the diagram; a bar joins methods whose ranks differ by less than the critical difference.

    Args:
        average: Method -> average rank over the same rankings; 1 is best.
        critical: The critical difference at 5 %, in ranks.
        rankings: Number of rankings that they are averages of.

    Returns:
        None for fewer than two methods.
    """
    if len(average) < 2:
        return None
    order = sorted(average, key=lambda name: (average[name], name))
    joined = cliques([average[name] for name in order], critical)

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 0.24 * (len(order) + len(joined)) + 1.2), layout="constrained")
        axis = figure.subplots()
        heights = range(len(order) - 1, -1, -1)
        axis.plot([average[name] for name in order], heights, "o", color=COLOURS["accent"], ms=6)
        axis.set_yticks(heights, [printable(name, 40) for name in order])
        axis.tick_params(axis="y", length=0, labelcolor=COLOURS["ink"])
        for depth, (first, last) in enumerate(joined, 1):
            ends = [average[order[first]], average[order[last]]]
            axis.plot(ends, [-depth] * 2, color=COLOURS["ink"], lw=3, solid_capstyle="butt")
        axis.set_ylim(-len(joined) - 0.7, len(order) - 0.5)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.set_title(f"critical difference {critical:.2f}")
        words = f"average rank over {rankings} rankings, 1 is best\n(bars: not told apart)"
        figure.supxlabel(words, size=8.5, color=COLOURS["muted"])
        return figure

    best = ", ".join(f"{name} {average[name]:.2f}" for name in order)
    groups = "; ".join(" to ".join((order[first], order[last])) for first, last in joined)
    text = (
        f"Average ranks over {rankings} rankings, 1 is best: {best}. Critical difference {critical:.2f}. "
        f"Not told apart: {groups or 'no two of them'}."
    )
    return Picture("Average ranks with the critical difference", text, draw)


def cliques(values: Sequence[float], critical: float) -> list[tuple[int, int]]:
    """Return first and last index of the longest runs of sorted ranks within the critical difference."""
    found: list[tuple[int, int]] = []
    for first in range(len(values)):
        last = max(i for i in range(first, len(values)) if values[i] - values[first] < critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found

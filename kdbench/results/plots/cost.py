"""Accuracy against cost: which methods no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdbench.results.plots.picture import COLOURS, WIDTH, Picture, printable
from kdbench.results.plots.rankings import MOST, Ranking
from kdbench.results.record import PLAIN

Point = tuple[float, float]


def front(points: Sequence[Point]) -> list[int]:
    """Places of the points that no other beats: none is as cheap and better, or as good and cheaper.

    Args:
        points: (cost, gain) of each.

    Returns:
        Places, by rising cost.
    """
    best, found = -math.inf, list[int]()
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        equal = found and points[found[-1]] == points[place]
        if points[place][1] > best or equal:
            found.append(place)
            best = points[place][1]
    return found


def cost(ranking: Ranking) -> Picture | None:
    """Difference to the plain student against the time of an iteration; None where no time is comparable."""
    rows = list(enumerate(ranking.methods, 1))[:MOST]
    timed = [(n, r) for n, r in rows if not math.isnan(r["difference"]) and not math.isnan(r["time_ratio"])]
    if not timed:
        return None
    names = [PLAIN, *(row["method"] for _, row in timed)]
    colours = ["ink", *(v if (v := row["verdict"]) in COLOURS else "neutral" for _, row in timed)]
    marks = ["0", *(str(number) for number, _ in timed)]
    points = [(1.0, 0.0), *((row["time_ratio"], 100 * row["difference"]) for _, row in timed)]
    best = front(points)

    columns = 2 if max(map(len, names)) <= 28 else 1

    def draw() -> Figure:
        lines = math.ceil(len(points) / columns)
        figure = Figure(figsize=(WIDTH, 2.8 + 0.165 * lines), layout="constrained")
        axis = figure.subplots()
        axis.axhline(0, color=COLOURS["grid"], lw=1)
        axis.plot(*zip(*_stairs([points[i] for i in best]), strict=True), color=COLOURS["accent"], lw=1.2)
        for point, mark, colour in zip(points, marks, colours, strict=True):
            axis.plot(*point, "o", ms=12, color=COLOURS[colour], mec=COLOURS["surface"])
            axis.annotate(mark, point, ha="center", va="center_baseline", size=7, color=COLOURS["surface"])
        axis.set_xlabel("time of an iteration, plain student = 1 (left is cheaper)")
        axis.set_ylabel(f"{ranking.metric} points (up is better)")
        axis.margins(0.08)
        axis.grid()
        axis.set_axisbelow(True)
        handles = [Line2D([], [], ls="", label=_entry(m, n)) for m, n in zip(marks, names, strict=True)]
        figure.legend(
            handles=handles, loc="outside lower left", ncols=columns, handlelength=0, handletextpad=0
        )
        return figure

    told = [f"{names[i]} ({points[i][0]:.2f}x, {points[i][1]:+.1f})" for i in best]
    others = [
        f"{n} ({p[0]:.2f}x, {p[1]:+.1f})"
        for i, (n, p) in enumerate(zip(names, points, strict=True))
        if i not in best
    ]
    text = (
        f"Not beaten in both, from cheap to dear: {', '.join(told)}. Beaten: {', '.join(others) or 'none'}."
    )
    return Picture(f"Accuracy against cost: {ranking.first['dataset']}, {ranking.first['pair']}", text, draw)


def _entry(mark: str, name: str) -> str:
    return printable(f"{mark}  {name}", 40)


def _stairs(points: Sequence[Point]) -> list[Point]:
    """The corners of the front: what can be had for a cost."""
    corners = [points[0]]
    for point in points[1:]:
        corners += [(point[0], corners[-1][1]), point]
    return corners

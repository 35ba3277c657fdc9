"""Accuracy against cost, and the methods that no other beats in both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter
from matplotlib.transforms import offset_copy

from kdbench.results.board import Ranking
from kdbench.results.plots.picture import COLOURS, MOST, WIDTH, Picture
from kdbench.specs import PLAIN
from kdbench.text import printable

FAR = 4
"""Factor between costs above which their axis is logarithmic."""
Point = tuple[float, float]
SIZE = 12.0
"""Diameter of a mark, in points (1/72 inch)."""
DIRECTIONS = 12
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center_baseline"}


def front(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points that no other beats, by rising cost.

    A point beats another if it is as cheap and better, or as good and cheaper.

    Args:
        points: Cost and gain of each point.
    """
    best, found = -math.inf, list[int]()
    for place in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        equal = found and points[found[-1]] == points[place]
        if points[place][1] > best or equal:
            found.append(place)
            best = points[place][1]
    return found


def cost(ranking: Ranking) -> Picture | None:
    """Draw differences to the plain student against the time of an iteration; None if no time is comparable."""
    rows = list(enumerate(ranking.methods, 1))[:MOST]
    timed = [(n, r) for n, r in rows if not math.isnan(r["difference"]) and not math.isnan(r["time_ratio"])]
    if not timed:
        return None
    names = [PLAIN, *(row["method"] for _, row in timed)]
    kinds = ["ink", *(v if (v := row["verdict"]) in COLOURS else "neutral" for _, row in timed)]
    numbers = ["0", *(str(number) for number, _ in timed)]
    points = [(1.0, 0.0), *((row["time_ratio"], 100 * row["difference"]) for _, row in timed)]
    best = front(points)
    columns, most = (2, 28) if max(map(len, names)) <= 28 else (1, 64)

    def draw() -> Figure:
        lines = math.ceil(len(points) / columns)
        figure = Figure(figsize=(WIDTH, 2.8 + 0.165 * lines), layout="constrained")
        axis = figure.subplots()
        axis.axhline(0, color=COLOURS["grid"], lw=1)
        axis.plot(*zip(*_stairs([points[i] for i in best]), strict=True), color=COLOURS["accent"], lw=1.2)
        axis.set_xlabel("time of an iteration, plain student = 1 (left is cheaper)")
        axis.set_ylabel(f"{ranking.metric} points (up is better)")
        axis.margins(0.08)
        _spaced(axis, [place for place, _ in points])
        axis.grid()
        axis.set_axisbelow(True)
        handles = [
            Line2D([], [], ls="", label=f"{k}  {printable(n, most)}")
            for k, n in zip(numbers, names, strict=True)
        ]
        figure.legend(
            handles=handles, loc="outside lower left", ncols=columns, handlelength=0, handletextpad=0
        )
        marks(axis, points, numbers, [COLOURS[kind] for kind in kinds])
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


def _spaced(axis: Axes, costs: Sequence[float]) -> None:
    """Make the axis logarithmic if a few costly methods would leave little room for the others."""
    if max(costs) <= FAR * min(costs):
        return
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_locator(NullLocator())


def _stairs(points: Sequence[Point]) -> list[Point]:
    """Return the corners of the front: the best score for each cost."""
    corners = [points[0]]
    for point in points[1:]:
        corners += [(point[0], corners[-1][1]), point]
    return corners


def marks(axis: Axes, points: Sequence[Point], texts: Sequence[str], colours: Sequence[str]) -> None:
    """Draw a mark for each point; a mark that is moved aside has a line to its point.

    Args:
        axis: The axis, in a figure that has everything else that takes room.
        points: The points, in data units.
        texts: The text in each mark: one or two letters.
        colours: The colour of each mark.
    """
    axis.plot(*zip(*points, strict=True), ls="")  # for the limits
    figure = axis.get_figure(root=True)
    assert figure is not None, "an axis that is drawn on has a figure"
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    at = [(scale * x, scale * y) for x, y in axis.transData.transform(points).tolist()]
    for point, here, there, text, colour in zip(points, at, apart(at, SIZE), texts, colours, strict=True):
        aside = (there[0] - here[0], there[1] - here[1])
        moved = offset_copy(axis.transData, figure, *aside, units="points")
        if any(aside):
            axis.plot(*point, "o", ms=3, color=colour)
            axis.annotate("", point, aside, textcoords="offset points", arrowprops=_leader(colour))
        axis.plot(*point, "o", ms=SIZE, color=colour, mec=COLOURS["surface"], transform=moved, clip_on=False)
        axis.text(*point, text, transform=moved, size=7, color=COLOURS["surface"], **_CENTRED)


def _leader(colour: str) -> dict[str, Any]:
    return {"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 0, "shrinkB": 0}


def apart(points: Sequence[Point], size: float) -> list[Point]:
    """Return a centre for the mark of each point, no two of them closer than a mark's diameter.

    Marks with enough room stay on their points; the others move to the nearest free place.

    Args:
        points: The points, in one unit for both directions.
        size: The diameter, in that unit.
    """
    crowd = [sum(math.dist(one, other) < size for other in points) for one in points]
    found: dict[int, Point] = {}
    for place in sorted(range(len(points)), key=lambda i: (crowd[i], i)):
        found[place] = next(
            near
            for near in _around(points[place], size)
            if all(math.dist(near, other) >= size for other in found.values())
        )
    return [found[place] for place in range(len(points))]


def _around(point: Point, size: float) -> Iterator[Point]:
    """Yield a point, then points on wider and wider rings around it."""
    yield point
    for ring in count(2):
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS
            yield point[0] + ring / 2 * size * math.cos(angle), point[1] + ring / 2 * size * math.sin(angle)

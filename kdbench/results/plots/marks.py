"""Round marks with a number in them, kept apart where points are crowded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from matplotlib.axes import Axes
from matplotlib.transforms import offset_copy

from kdbench.results.plots.picture import COLOURS

Point = tuple[float, float]
SIZE = 12.0
"""Diameter of a mark, in points (1/72 inch)."""
DIRECTIONS = 12
_CENTRED: dict[str, Any] = {"ha": "center", "va": "center_baseline"}


def marks(axis: Axes, points: Sequence[Point], texts: Sequence[str], colours: Sequence[str]) -> None:
    """Draw a mark for each point; one that is moved aside has a line to its point.

    Args:
        axis: Where to draw; its figure has all else that takes room already.
        points: In data units.
        texts: What each mark says: one or two letters.
        colours: Of each, as matplotlib takes them.
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
    """Centres of marks near the points, no two of them closer than a mark's diameter.

    Marks with room stay on their points; the others go to the nearest free place around them.

    Args:
        points: In one unit across and up.
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
    """A point, then points on wider and wider rings around it."""
    yield point
    for ring in count(2):
        for step in range(DIRECTIONS):
            angle = 2 * math.pi * step / DIRECTIONS
            yield point[0] + ring / 2 * size * math.cos(angle), point[1] + ring / 2 * size * math.sin(angle)

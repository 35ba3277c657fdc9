"""Differences to the plain student: interval, mean and seeds of each method, and beside the papers' own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdbench.results.board import Ranking
from kdbench.results.formats import gain, percent
from kdbench.results.plots.picture import COLOURS, MOST, WIDTH, Picture
from kdbench.results.row import TEACHER_ROW, Row
from kdbench.specs import PLAIN
from kdbench.text import printable


def intervals(rankings: Sequence[Ranking]) -> Picture | None:
    """Draw a panel for each ranking; None if none has a difference."""
    shown = [(ranking, rows) for ranking in rankings if (rows := _measured(ranking)[:MOST])]
    if not shown:
        return None

    def draw() -> Figure:
        heights = [len(rows) + 1.6 for _, rows in shown]
        figure = Figure(figsize=(WIDTH, 0.36 * sum(heights)), layout="constrained")
        axes = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (ranking, rows) in zip(axes, shown, strict=True):
            _panel(axis, ranking, rows, named=len(shown) > 1)
        return figure

    title = f"Difference to the plain student: {', '.join(_name(ranking) for ranking, _ in shown)}"
    sentences = [_levels(ranking) + ". " + " ".join(map(_sentence, rows)) for ranking, rows in shown]
    return Picture(title, " ".join(sentences) + _left_out(rankings), draw)


def _sentence(row: Row) -> str:
    return f"{row['method']}: {gain(row)}, {row['verdict']}."


def _measured(ranking: Ranking) -> list[Row]:
    return [row for row in ranking.methods if not math.isnan(row["difference"])]


def _left_out(rankings: Sequence[Ranking]) -> str:
    more = sum(max(0, len(_measured(ranking)) - MOST) for ranking in rankings)
    return f" {more} further rows are in the table alone." if more else ""


def _name(ranking: Ranking) -> str:
    return f"{ranking.first['dataset']}, {ranking.first['pair']}"


def _levels(ranking: Ranking) -> str:
    plain, teacher = percent(ranking.level(PLAIN)), percent(ranking.level(TEACHER_ROW))
    return f"Plain student {plain or 'not run'} {ranking.metric}, teacher {teacher or 'not known'}"


def _panel(axis: Axes, ranking: Ranking, rows: Sequence[Row], named: bool) -> None:
    axis.axvline(0, color=COLOURS["ink"], lw=1)
    axis.set_xlim(*_span(rows, [value for row in rows for value in _points(ranking, row)]))
    for height, row in enumerate(reversed(rows)):
        _row(axis, ranking, row, height)
    _bare(axis, len(rows) - 0.25)
    axis.set_xlabel(f"{ranking.metric} points against the plain student of the same seed")
    levels = _levels(ranking)
    axis.set_title(printable(f"{_name(ranking)}\n{levels}" if named else levels, 150).replace("\ufffd", "\n"))


def _points(ranking: Ranking, row: Row) -> list[float]:
    return [100 * value for value in ranking.differences(row["method"])]


def _span(rows: Sequence[Row], points: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis that shows all points, and all intervals from the pooled noise.

    An interval from a row's own few seeds can be ten times as wide: the axis cuts it off.
    """
    pooled = [100 * row[end] for row in rows if row["interval"] != "own" for end in ("low", "high")]
    shown = [value for value in (0.0, *points, *pooled) if not math.isnan(value)]
    margin = 0.04 * (max(shown) - min(shown)) or 1.0
    return min(shown) - margin, max(shown) + margin


def _bare(axis: Axes, top: float) -> None:
    """Leave only the grid and the lower axis."""
    axis.set_yticks([])
    axis.set_ylim(-0.5, top)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.set_axisbelow(True)


def _row(axis: Axes, ranking: Ranking, row: Row, height: int) -> None:
    colour = COLOURS.get(row["verdict"], COLOURS["neutral"])
    _bar(axis, row, height, colour)
    seeds = _points(ranking, row)
    axis.plot(seeds, [height] * len(seeds), "o", ms=3.5, color=colour, alpha=0.75, mew=0)
    marker = {"better": "^", "worse": "v"}.get(row["verdict"], "D")
    axis.plot([100 * row["difference"]], [height], marker, ms=6.5, color=colour)
    ends = f"{gain(row)} {row['verdict']}".removesuffix(" no evidence")
    _labels(axis, height + 0.17, printable(row["method"], 38), ends, 8)


def _bar(axis: Axes, row: Row, height: int, colour: str) -> None:
    """Draw the interval of a row that has one, with an arrow where the axis cuts it off."""
    if row["shared_seeds"] < 2:
        return
    low, high = 100 * row["low"], 100 * row["high"]
    axis.plot([low, high], [height] * 2, color=colour, lw=4, alpha=0.35)
    left, right = axis.get_xlim()
    cut = [(left, "<")] * (low < left) + [(right, ">")] * (high > right)
    for end, marker in cut:
        axis.plot(end, height, marker, ms=5, color=colour, clip_on=False)


def _labels(axis: Axes, height: float, left: str, right: str, size: float) -> None:
    """Write two texts above a row."""
    behind = {"facecolor": COLOURS["surface"], "edgecolor": "none", "pad": 0.4}
    how: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "va": "bottom", "bbox": behind}
    axis.text(0, height, left, size=8.5, **how)
    axis.text(1, height, right, ha="right", size=size, color=COLOURS["muted"], **how)


def paper(ranking: Ranking) -> Picture | None:
    """Draw measured and published differences to the plain student; None if nothing is published."""
    rows = [row for row in _measured(ranking) if not math.isnan(row["paper_difference"])][:MOST]
    if not rows:
        return None

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 0.44 * (len(rows) + 2.2)), layout="constrained")
        axis = figure.subplots()
        axis.axvline(0, color=COLOURS["ink"], lw=1)
        means = [100 * row[name] for row in rows for name in ("difference", "paper_difference")]
        axis.set_xlim(*_span(rows, means))
        for height, row in enumerate(reversed(rows)):
            _bar(axis, row, height, COLOURS["accent"])
            axis.plot(100 * row["difference"], height, "D", color=COLOURS["accent"], ms=6)
            axis.plot(100 * row["paper_difference"], height, "s", color=COLOURS["paper"], ms=6)
            setting = printable(row["paper_setting"], 40)
            _labels(axis, height + 0.24, printable(row["method"], 34), setting, 7.5)
        _bare(axis, len(rows) - 0.2)
        axis.set_xlabel("points against the plain student, each in its own setting and metric")
        figure.legend(handles=_key(ranking.metric), loc="outside upper left", ncols=2)
        return figure

    title = f"Paper beside measured: {_name(ranking)}"
    return Picture(title, " ".join(map(_beside, rows)), draw)


def _key(metric: str) -> list[Line2D]:
    measured = Line2D([], [], ls="", marker="D", color=COLOURS["accent"], label=f"measured here ({metric})")
    return [measured, Line2D([], [], ls="", marker="s", color=COLOURS["paper"], label="the paper's")]


def _beside(row: Row) -> str:
    theirs = percent(row["paper_difference"], "+")
    return f"{row['method']}: measured {gain(row)}, paper {theirs} ({row['paper_setting']})."

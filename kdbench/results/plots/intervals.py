"""Each method's difference to the plain student: interval, mean and seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kdbench.results.board import Ranking
from kdbench.results.formats import gain, percent
from kdbench.results.plots.picture import COLOURS, MOST, WIDTH, Picture
from kdbench.results.row import TEACHER_ROW, Row
from kdbench.specs import PLAIN
from kdbench.text import printable


def intervals(rankings: Sequence[Ranking]) -> Picture | None:
    """Draw a panel for each ranking; None where none has a difference."""
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
    sentences = [_levels(ranking) + ". " + " ".join(map(words, rows)) for ranking, rows in shown]
    return Picture(title, " ".join(sentences) + _left_out(rankings), draw)


def words(row: Row) -> str:
    """Return a row's difference as a sentence."""
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
    for height, row in enumerate(reversed(rows)):
        _row(axis, ranking, row, height)
    axis.set_yticks([])
    axis.set_ylim(-0.5, len(rows) - 0.25)
    axis.spines["left"].set_visible(False)
    axis.grid(axis="x")
    axis.set_axisbelow(True)
    axis.set_xlabel(f"{ranking.metric} points against the plain student of the same seed")
    levels = _levels(ranking)
    axis.set_title(printable(f"{_name(ranking)}\n{levels}" if named else levels, 150).replace("\ufffd", "\n"))


def _row(axis: Axes, ranking: Ranking, row: Row, height: int) -> None:
    colour = COLOURS.get(row["verdict"], COLOURS["neutral"])
    if row["shared_seeds"] > 1:
        axis.plot([100 * row["low"], 100 * row["high"]], [height] * 2, color=colour, lw=4, alpha=0.35)
    seeds = [100 * value for value in ranking.differences(row["method"])]
    axis.plot(seeds, [height] * len(seeds), "o", ms=3.5, color=colour, alpha=0.75, mew=0)
    marker = {"better": "^", "worse": "v"}.get(row["verdict"], "D")
    axis.plot([100 * row["difference"]], [height], marker, ms=6.5, color=colour)
    ends = f"{gain(row)} {row['verdict']}".removesuffix(" no evidence")
    behind = {"facecolor": COLOURS["surface"], "edgecolor": "none", "pad": 0.4}
    how: dict[str, Any] = {"transform": axis.get_yaxis_transform(), "va": "bottom", "bbox": behind}
    axis.text(0, height + 0.17, printable(row["method"], 38), size=8.5, **how)
    axis.text(1, height + 0.17, ends, ha="right", size=8, color=COLOURS["muted"], **how)

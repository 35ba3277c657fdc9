"""The papers' own differences beside the measured ones: another setting, so no agreement is expected."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from kdbench.results.board import Ranking
from kdbench.results.formats import gain, percent
from kdbench.results.plots.picture import COLOURS, MOST, WIDTH, Picture
from kdbench.results.row import Row
from kdbench.text import printable


def published(ranking: Ranking) -> list[Row]:
    """Return the measured rows for which a paper prints a difference."""
    rows = [row for row in ranking.methods if not math.isnan(row["difference"])]
    return [row for row in rows if not math.isnan(row["paper_difference"])][:MOST]


def paper(ranking: Ranking) -> Picture | None:
    """Measured and published differences to the plain student; None where nothing is published."""
    rows = published(ranking)
    if not rows:
        return None

    def draw() -> Figure:
        figure = Figure(figsize=(WIDTH, 0.44 * (len(rows) + 2.2)), layout="constrained")
        axis = figure.subplots()
        axis.axvline(0, color=COLOURS["ink"], lw=1)
        label = axis.get_yaxis_transform()
        for height, row in enumerate(reversed(rows)):
            if row["shared_seeds"] > 1:
                ends = [100 * row["low"], 100 * row["high"]]
                axis.plot(ends, [height] * 2, color=COLOURS["accent"], lw=4, alpha=0.35)
            axis.plot(100 * row["difference"], height, "D", color=COLOURS["accent"], ms=6)
            axis.plot(100 * row["paper_difference"], height, "s", color=COLOURS["paper"], ms=6)
            behind = {"facecolor": COLOURS["surface"], "edgecolor": "none", "pad": 0.4}
            how: dict[str, Any] = {"transform": label, "va": "bottom", "bbox": behind}
            axis.text(0, height + 0.24, printable(row["method"], 34), size=8.5, **how)
            where = printable(row["paper_setting"], 40)
            axis.text(1, height + 0.24, where, ha="right", size=7.5, color=COLOURS["muted"], **how)
        axis.set_yticks([])
        axis.set_ylim(-0.5, len(rows) - 0.2)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
        axis.set_axisbelow(True)
        axis.set_xlabel("points against the plain student, each in its own setting and metric")
        figure.legend(handles=_key(ranking.metric), loc="outside upper left", ncols=2)
        return figure

    title = f"Paper beside measured: {ranking.first['dataset']}, {ranking.first['pair']}"
    return Picture(title, " ".join(map(_sentence, rows)), draw)


def _key(metric: str) -> list[Line2D]:
    measured = Line2D([], [], ls="", marker="D", color=COLOURS["accent"], label=f"measured here ({metric})")
    return [measured, Line2D([], [], ls="", marker="s", color=COLOURS["paper"], label="the paper's")]


def _sentence(row: Row) -> str:
    theirs = percent(row["paper_difference"], "+")
    return f"{row['method']}: measured {gain(row)}, paper {theirs} ({row['paper_setting']})."

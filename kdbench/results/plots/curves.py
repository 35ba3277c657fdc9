"""Training curves: a panel for each method, with its seeds and the plain student's mean."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from matplotlib.figure import Figure

from kdbench.results.board import Ranking
from kdbench.results.formats import folded, percent
from kdbench.results.plots.picture import COLOURS, MOST, WIDTH, Picture
from kdbench.results.row import Row
from kdbench.results.statistics import mean
from kdbench.specs import PLAIN
from kdbench.text import printable

ACROSS = 3
Curve = dict[float, float]
"""Iteration -> metric."""


def curves(ranking: Ranking) -> Picture | None:
    """Draw the ranking metric on the test split during training; None if no record has a curve."""
    names = [row["method"] for row in ranking.methods][:MOST]
    drawn = {name: _each(ranking.row(name), ranking.metric) for name in (PLAIN, *names)}
    plain = average(drawn.pop(PLAIN))
    drawn = {name: found for name, found in drawn.items() if found}
    if not drawn:
        return None

    def draw() -> Figure:
        across = min(ACROSS, len(drawn))
        down = math.ceil(len(drawn) / across)
        figure = Figure(figsize=(WIDTH, 1.25 * down + 0.5), layout="constrained")
        axes = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
        for axis in axes[len(drawn) :]:
            axis.set_visible(False)
        for axis, (name, found) in zip(axes, drawn.items(), strict=False):
            axis.plot(*_line(plain), color=COLOURS["muted"], ls="--", lw=1, marker=".", ms=3)
            for curve in found.values():
                axis.plot(*_line(curve), color=COLOURS["accent"], lw=1, alpha=0.75, marker=".", ms=4)
            axis.set_title(folded(printable(name, 44), 22), size=6.5)
            axis.tick_params(labelsize=6.5)
            axis.grid(axis="y")
        figure.supxlabel("iteration (dashed: mean of the plain student)", size=8, color=COLOURS["muted"])
        figure.supylabel(f"{ranking.metric} x100", size=8, color=COLOURS["muted"])
        return figure

    told = [_sentence(PLAIN, plain), *(_sentence(name, average(found)) for name, found in drawn.items())]
    text = f"Mean {ranking.metric} over the seeds at each evaluation. {' '.join(filter(None, told))}"
    return Picture(f"Training curves: {ranking.first['dataset']}, {ranking.first['pair']}", text, draw)


def average(found: Mapping[int, Curve]) -> Curve:
    """Return the mean of the curves at the iterations at which every seed was evaluated."""
    at: dict[float, list[float]] = defaultdict(list)
    for curve in found.values():
        for iteration, value in curve.items():
            at[iteration].append(value)
    return {iteration: mean(values) for iteration, values in sorted(at.items()) if len(values) == len(found)}


def _each(row: Row | None, metric: str) -> dict[int, Curve]:
    found = {
        seed: {point["iteration"]: point[metric] for point in record.curve if metric in point}
        for seed, record in (row.done if row else {}).items()
    }
    return {seed: curve for seed, curve in found.items() if curve}


def _line(curve: Curve) -> tuple[list[float], list[float]]:
    return list(curve), [100 * value for value in curve.values()]


def _sentence(name: str, curve: Curve) -> str:
    points = ", ".join(f"{percent(value)} at {iteration:g}" for iteration, value in curve.items())
    return f"{name}: {points}." if points else ""

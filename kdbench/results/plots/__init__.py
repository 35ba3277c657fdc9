"""Pictures of rankings, for the page, for papers and for the README; drawn with matplotlib, without a display."""

from __future__ import annotations

from kdbench.results.plots.classes import PerClass, classes, per_class
from kdbench.results.plots.cost import cost
from kdbench.results.plots.curves import curves
from kdbench.results.plots.intervals import intervals
from kdbench.results.plots.paper import paper
from kdbench.results.plots.picture import Picture
from kdbench.results.plots.ranks import ranks

__all__ = [
    "PerClass",
    "Picture",
    "classes",
    "cost",
    "curves",
    "intervals",
    "paper",
    "per_class",
    "ranks",
]

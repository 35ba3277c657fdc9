"""Plots of rankings for the page, papers and the README, drawn by matplotlib without a display."""

from __future__ import annotations

from kdbench.results.plots.cost import cost
from kdbench.results.plots.curves import curves
from kdbench.results.plots.intervals import intervals, paper
from kdbench.results.plots.picture import Picture
from kdbench.results.plots.ranks import rank_diagram

__all__ = ["Picture", "cost", "curves", "intervals", "paper", "rank_diagram"]

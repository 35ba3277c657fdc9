"""An evaluation that a plugin's metric ranks."""

from __future__ import annotations

from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.registry import EVALUATOR

from kdbench.results.derived import with_ranking


@EVALUATOR.register_module(name="KdbenchEvaluator")
class RankedEvaluator(Evaluator):  # type: ignore[misc]
    """Adds the metric that ranks to those that were measured.

    Args:
        metrics: Configs of what is measured.
        ranked_by: Name of a plugin's metric.
    """

    def __init__(self, metrics: Any, ranked_by: str) -> None:
        super().__init__(metrics)
        self.ranked_by = ranked_by

    def evaluate(self, size: int) -> dict[str, float]:
        """Return the metrics of ``size`` images."""
        return with_ranking(self.ranked_by, super().evaluate(size))

"""No distillation."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Method, Step
from kdbench_papers.none.card import PlainOptions


class Plain(Method[PlainOptions]):
    """Captures nothing and adds nothing to the student's loss."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return no terms."""
        return {}

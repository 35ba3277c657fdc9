"""No distillation."""

from __future__ import annotations

from torch import Tensor

from kdbench.distill import Method, Step


class Plain(Method):
    """Captures nothing and adds nothing to the student's loss."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """No terms."""
        return {}

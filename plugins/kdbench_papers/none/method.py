"""No distillation."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import Method, Options, Step


class Plain(Method[Options]):
    """Captures nothing and adds nothing to the student's loss."""

    def losses(self, step: Step) -> dict[str, Tensor]:
        """No terms."""
        return {}

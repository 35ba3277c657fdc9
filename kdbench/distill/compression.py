"""The contract of a compression: it makes the student from the trained teacher, and adds nothing to its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from kdbench.distill.method import Method, OptionsT, Step

Batch = Callable[[nn.Module], None]
"""Runs a model on one batch of training images, up to its losses: what hooks on its layers see is of the batch."""


class Compression(Method[OptionsT]):
    """A rival of distillation: the student starts from the trained teacher, then trains as the plain student does.

    The card's ``compression`` gives the student's model. A layer whose parameters take other than 32 bits each once
    the student is trained has a method ``stored_bits``, which returns how many they all take.
    """

    @property
    def images(self) -> int:
        """How many training images it looks at."""
        return 0

    def start(self, student: nn.Module, teacher: nn.Module, batches: Sequence[Batch]) -> list[str]:
        """Give the student its first weights, in place.

        Args:
            student: Made from the card's model, with weights of its own.
            teacher: The trained teacher, in evaluation mode: a copy, which may be changed.
            batches: Each runs a model, in evaluation mode and without gradients, on some of ``images`` training
                images, with the same random numbers every time.

        Returns:
            What was done, a line each: printed and recorded.

        Raises:
            UserError: If this student cannot be made from this teacher, with the reason.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define start()")

    def losses(self, step: Step) -> dict[str, Tensor]:
        """No terms."""
        return {}

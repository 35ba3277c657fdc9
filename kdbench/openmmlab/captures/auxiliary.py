"""The auxiliary heads of a segmentation model, which train beside its own head and take no part in a prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from kdbench.errors import UserError

CAPTURE = "auxiliary_logits"


def auxiliary_heads(model: Any) -> list[Any]:
    """Return the auxiliary heads, in their order; none where the model has none."""
    heads = getattr(model, "auxiliary_head", None)
    if isinstance(heads, nn.ModuleList):
        return list(heads)
    return [] if heads is None else [heads]


def auxiliary_logits(model: Any, outputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the logits of each auxiliary head, (B, C, H, W).

    Args:
        model: The model.
        outputs: What its auxiliary heads gave.

    Raises:
        UserError: If it has no auxiliary head.
    """
    if not outputs:
        raise UserError(
            f"this {type(model).__name__} has no auxiliary head: choose a pair whose models have one, or leave out "
            "the method's option for it."
        )
    return tuple(outputs)


def check_auxiliary(names: frozenset[str], missed: Mapping[str, str]) -> None:
    """Refuse a teacher whose auxiliary heads would be random, where a method looks at them.

    Args:
        names: Captures that the method asks for.
        missed: Weights that the teacher's checkpoint lacks, see
            :func:`kdbench.openmmlab.weights.checkpoints.load_weights`.

    Raises:
        UserError: If the checkpoint lacks any weight of an auxiliary head.
    """
    absent = [name for name in missed if name.startswith("auxiliary_head")]
    if CAPTURE in names and absent:
        raise UserError(
            f"the teacher's checkpoint lacks weights of its auxiliary head ({absent[0]}), which the method looks "
            "at: give another one, or none to have the teacher trained, or leave out the method's option for it."
        )

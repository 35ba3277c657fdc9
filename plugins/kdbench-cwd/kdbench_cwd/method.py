"""Channel-wise distillation of the neck's maps or of the class maps."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from kdbench.api import Logits, Method, Shape, Shapes, Step, UserError, adapter
from kdbench_cwd.card import CwdOptions
from kdbench_cwd.losses import channel_wise_loss


class ChannelWise(Method[CwdOptions]):
    """Every channel of the student looks where the teacher's does."""

    def needs(self) -> tuple[str, ...]:
        """Return the maps that are compared."""
        return (self.options.where,)

    def build(self, shapes: Shapes) -> None:
        """Build an adapter for each level; it does nothing where channels and sizes agree.

        It has no bias: the softmax over positions takes a constant away again.
        """
        pairs = [(_as_map(ours), _as_map(theirs)) for ours, theirs in shapes.levels(self.options.where)]
        self.adapters = nn.ModuleList(adapter(ours, theirs, bias=False) for ours, theirs in pairs)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the sum over the levels."""
        where, options = self.options.where, self.options
        levels = zip(self.adapters, _maps(step.student[where]), _maps(step.teacher[where]), strict=True)
        terms = [
            channel_wise_loss(adapt(ours, theirs.shape[-2:]), theirs, options.temperature)
            for adapt, ours, theirs in levels
        ]
        return {"channels": options.weight * torch.stack(terms).sum()}


def _maps(capture: Logits | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the levels of a capture as (B, C, H, W); the anchors of a dense head are channels."""
    values = capture.values if isinstance(capture, Logits) else capture
    return tuple(value.flatten(1, -3) for value in values)


def _as_map(shape: Shape) -> Shape:
    """Return the shape of what :func:`_maps` returns."""
    if len(shape) < 4:
        raise UserError(
            f"cwd compares maps, and these models' logits {shape} are of regions: use cwd[where=neck]."
        )
    return shape[0], prod(shape[1:-2]), *shape[-2:]

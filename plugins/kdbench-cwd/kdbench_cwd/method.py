"""Channel-wise distillation of the neck's maps or of the class maps."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from kdbench.api import Logits, Method, Shape, Shapes, Step, UserError, adapter
from kdbench_cwd.card import CwdOptions
from kdbench_cwd.losses import channel_l2_loss, channel_wise_loss


class ChannelWise(Method[CwdOptions]):
    """Makes every channel of the student respond where the teacher's does."""

    def needs(self) -> tuple[str, ...]:
        """Return the capture of the compared maps."""
        return (self.options.where,)

    def build(self, shapes: Shapes) -> None:
        """Build an adapter for each level; it does nothing if channels and sizes agree.

        With the softmax over positions it has no bias, since the softmax ignores constants.
        """
        pairs = [(_as_map(ours), _as_map(theirs)) for ours, theirs in shapes.levels(self.options.where)]
        bias = self.options.normalise != "softmax"
        self.adapters = nn.ModuleList(adapter(ours, theirs, bias=bias) for ours, theirs in pairs)

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the loss, summed over the levels."""
        where = self.options.where
        teacher = _maps(step.teacher[where])
        valid = step.targets.valid(teacher)
        levels = zip(self.adapters, _maps(step.student[where]), teacher, valid, strict=True)
        terms = [
            self._level(adapt(ours, theirs.shape[-2:]), theirs, cells)
            for adapt, ours, theirs, cells in levels
        ]
        return {"channels": self.options.weight * torch.stack(terms).sum()}

    def _level(self, student: Tensor, teacher: Tensor, cells: Tensor | None) -> Tensor:
        """Return the loss of one level."""
        if self.options.normalise == "softmax":
            return channel_wise_loss(student, teacher, self.options.temperature, cells)
        return channel_l2_loss(student, teacher, cells, unit=self.options.normalise == "l2")


def _maps(capture: Logits | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the levels of a capture as (B, C, H, W); the anchors of a dense head are channels."""
    values = capture.values if isinstance(capture, Logits) else capture
    return tuple(value.flatten(1, -3) for value in values)


def _as_map(shape: Shape) -> Shape:
    """Return the shape of a map that :func:`_maps` returns."""
    if len(shape) < 4:
        raise UserError(
            f"cwd compares maps, and these models' logits {shape} are of regions: use cwd[where=neck]."
        )
    return shape[0], prod(shape[1:-2]), *shape[-2:]

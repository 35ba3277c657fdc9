"""Distillation of the neck's features where student and teacher disagree most."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kdbench.api import Captures, Logits, Method, Shapes, Step, UserError, adapter, mean_square
from kdbench_papers.gid.card import GidOptions
from kdbench_papers.gid.losses import general_instances
from kdbench_papers.hinton.method import check_logits


class GeneralInstances(Method[GidOptions]):
    """Distils features at the general instances, which are positions chosen without the ground truth."""

    captures = ("neck", "logits", "head_boxes")

    def build(self, shapes: Shapes) -> None:
        """Make an adapter for each level."""
        check_logits(shapes)
        self.adapters = nn.ModuleList(adapter(ours, theirs) for ours, theirs in shapes.levels("neck"))

    def losses(self, step: Step) -> dict[str, Tensor]:
        """Return the mean squared difference over the instances of all levels."""
        rows: list[tuple[Tensor, Tensor]] = []
        levels = zip(self.adapters, step.student["neck"], step.teacher["neck"], strict=True)
        for (adapt, ours, theirs), cells in zip(levels, self._cells(step), strict=True):
            adapted = adapt(ours, theirs.shape[-2:])
            rows.append((_rows(adapted)[cells], _rows(theirs)[cells]))
        student, teacher = (torch.cat(side) for side in zip(*rows, strict=True))
        return {"instances": self.options.weight * mean_square(student, teacher)}

    def attention(self, step: Step) -> dict[str, Tensor]:
        """Return the instances' cells on each level."""
        shown = {}
        for level, (maps, cells) in enumerate(zip(step.teacher["neck"], self._cells(step), strict=True)):
            marked = maps.new_zeros(len(maps) * maps[0, 0].numel())
            marked[cells] = 1.0
            shown[f"level {level}"] = marked.view(len(maps), *maps.shape[-2:])
        return shown

    def _cells(self, step: Step) -> Iterator[Tensor]:
        """Yield each level's instances as indices of cells, counted over images and (y, x)."""
        for teacher, student, their_boxes, our_boxes in zip(
            _logits(step.teacher),
            _logits(step.student),
            step.teacher["head_boxes"],
            step.student["head_boxes"],
            strict=True,
        ):
            images, cells, anchors = teacher.shape[:3]
            found = [
                self._instances(teacher[image], student[image], their_boxes[image], our_boxes[image])
                for image in range(images)
            ]
            yield torch.cat([image * cells + rows // anchors for image, rows in enumerate(found)])

    def _instances(self, teacher: Tensor, student: Tensor, their_boxes: Tensor, our_boxes: Tensor) -> Tensor:
        """Return the instances of one image on one level, as rows over cells and anchors."""
        ours, theirs = student.flatten(0, 1), teacher.flatten(0, 1)
        options = self.options
        return general_instances(theirs, ours, their_boxes, our_boxes, options.count, options.overlap)


def _logits(captures: Captures) -> list[Tensor]:
    """Return the class logits of each level, (B, cells, A, classes), without gradient."""
    logits: Logits = captures["logits"]
    if logits.activation != "sigmoid":
        raise UserError(
            "these heads' classes exclude each other (softmax): choose a pair with sigmoid heads."
        )
    return [level.detach().permute(0, 3, 4, 2, 1).flatten(1, 2) for level in logits.values]


def _rows(maps: Tensor) -> Tensor:
    """Convert maps (B, C, H, W) to rows (B H W, C)."""
    return maps.movedim(1, -1).flatten(0, 2)

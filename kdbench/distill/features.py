"""Feature teachers, which have no predictions: the network of a source, and the choice of maps to compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from kdbench.errors import UserError


@dataclass(frozen=True)
class FeatureNetwork:
    """A network that returns feature maps, built by a source of feature teachers.

    Attributes:
        network: The module, with random weights. Checkpoints have the names of its state dict.
        maps: Function of normalised RGB images (B, 3, H, W) that runs the network and returns the requested maps,
            (B, C_i, H_i, W_i) each, finest first.
        mean: Mean of the network's training images: red, green, blue in [0, 255].
        std: Standard deviation of the network's training images, likewise.
        version: Distribution and version that the network comes from, for records.
    """

    network: nn.Module
    maps: Callable[[Tensor], Sequence[Tensor]]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    version: str


def nearest_levels(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> list[int]:
    """Return, for each map of the teacher, the level of the student that is nearest in stride.

    Strides are compared by their ratio; of two equally near levels, the finer one is chosen. The method's adapters
    resize maps whose sizes still differ.

    Args:
        student: The student's maps (B, C, H, W), finest first.
        teacher: The teacher's maps of the same images.

    Raises:
        UserError: If a tensor of the teacher is not a map of the images, or two maps have the same nearest level.
    """
    levels = [_nearest(student, level) for level in teacher]
    if len(set(levels)) < len(levels):
        raise UserError(
            f"the teacher gives maps of {_sizes(teacher)}, the student of {_sizes(student)}: two of the teacher's "
            "are nearest to the same one of the student's. Choose other out_indices, at most one for each."
        )
    return levels


def _nearest(student: Sequence[Tensor], level: Tensor) -> int:
    """Return the position of the student's map that is nearest in size to a map of the teacher."""
    height, width = level.shape[-2:]
    distances = [abs(math.log(ours.shape[-1] / width)) for ours in student]
    found = distances.index(min(distances))
    factors = [student[found].shape[-2] / height, student[found].shape[-1] / width]
    if level.dim() != 4 or max(factors) > 2 * min(factors):
        raise UserError(
            f"the teacher gives {tuple(level.shape)} where a map (B, C, H, W) is due, of about the shape of the "
            f"student's {tuple(student[found].shape)}: choose other out_indices or another network."
        )
    return found


def _sizes(maps: Sequence[Tensor]) -> str:
    return ", ".join(f"{level.shape[-2]} x {level.shape[-1]}" for level in maps)

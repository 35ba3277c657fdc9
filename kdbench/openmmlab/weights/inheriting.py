"""Students that start from their teacher's weights: neck and heads, not the backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

LEFT_OUT = "backbone."
"""Prefix of the weights that stay the student's own."""


def inherited(student: Any, teacher: Any, missed: Mapping[str, str]) -> dict[str, Tensor]:
    """Return the teacher's weights that a student starts from: not the backbone's, of the same name and shape.

    Args:
        student: The student.
        teacher: The teacher, with its weights.
        missed: Weights that the teacher's checkpoint lacks: the teacher's own are random, and left out.
    """
    own = student.state_dict()
    return {
        name: value
        for name, value in teacher.state_dict().items()
        if not name.startswith(LEFT_OUT)
        and name in own
        and own[name].shape == value.shape
        and name not in missed
    }


def told(student: Any, weights: Mapping[str, Tensor]) -> str:
    """Return one line on the parts of a student that start from the teacher's weights, and how much of each.

    Args:
        student: The student.
        weights: The inherited weights.
    """
    counts: dict[str, list[int]] = {}
    for name in student.state_dict():
        if not name.startswith(LEFT_OUT):
            part = counts.setdefault(name.partition(".")[0], [0, 0])
            part[0] += name in weights
            part[1] += 1
    parts = ", ".join(f"{part} {taken} of {all_} tensors" for part, (taken, all_) in counts.items())
    return f"starts from the teacher's weights but for the backbone: {parts}"

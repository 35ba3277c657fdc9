"""What the papers' packages share. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.distill import Shapes
    from kdbench.distill.captures import Shape


def lazily(package: str, names: list[str]) -> Callable[[str], Any]:
    """A package's ``__getattr__`` that takes its loss functions from ``package.losses`` when first used.

    Args:
        package: ``__name__`` of the package.
        names: The functions it offers.
    """

    def attribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.losses"), name)

    return attribute


def paired_levels(shapes: Shapes, capture: str) -> list[tuple[Shape, Shape]]:
    """Student's and teacher's shape of each level of a capture.

    Raises:
        UserError: If the models have different numbers of levels.
    """
    student, teacher = shapes.student[capture], shapes.teacher[capture]
    if len(student) != len(teacher):
        raise UserError(
            f"the student's {capture} has {len(student)} levels, the teacher's {len(teacher)}: "
            "choose a pair whose models have the same levels."
        )
    return list(zip(student, teacher, strict=True))

"""Comparison of two trainings, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from kdbench.conformance.broken import PromiseBroken
from kdbench.conformance.exam import TrainingResult


def same(ours: TrainingResult, theirs: TrainingResult, what: str) -> None:
    """Raise PromiseBroken unless student, method and evaluations of two trainings are equal, bit for bit.

    Args:
        ours: The training to check.
        theirs: The training that it must equal.
        what: Beginning of the message: how the first training was made.
    """
    for part, one, other in (
        ("student", ours.student, theirs.student),
        ("method", ours.method, theirs.method),
    ):
        difference = first_difference(one, other)
        if difference is not None:
            raise PromiseBroken(f"{what}: the {part}'s {difference} differs{_since(ours, theirs)}")
    if ours.curve != theirs.curve:
        raise PromiseBroken(f"{what}: the evaluations differ")


def first_difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> str | None:
    """Return the name of the first tensor of ``theirs`` that ``ours`` lacks or that differs in any bit."""
    for name, value in theirs.items():
        if name not in ours or not torch.equal(ours[name], value):
            return name
    return None


def _since(ours: TrainingResult, theirs: TrainingResult) -> str:
    """Describe the first iteration with another loss, counted from the end (a resumed training lacks the start)."""
    total, shared = len(theirs.losses), min(len(ours.losses), len(theirs.losses))
    for back in range(shared, 0, -1):
        one, other = ours.losses[-back], theirs.losses[-back]
        for name in other:
            if name in one and one[name] != other[name]:
                return f"; first, {name} at iteration {total - back}: {one[name]:.9g}, not {other[name]:.9g}"
    return ""

"""Losses on soft targets, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import Logits, at_least_float32, mean_or_zero, reduced, resized, student_and_teacher


def soft_target_loss(
    student: Tensor, teacher: Tensor, temperature: float, dim: int = 1, where: Tensor | None = None
) -> Tensor:
    """Return T^2 KL(teacher || student) of the softmax over ``dim``.

    Reduction: sum over ``dim``, mean over all other positions; 0 if there are none.

    Args:
        student: Logits, (N, C), (N, C, H, W) or any shape with the classes in ``dim``.
        teacher: Logits of the same shape; receive no gradient.
        temperature: T > 0.
        dim: Dimension of the classes.
        where: Booleans of the shape without ``dim`` that select positions; None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Hinton et al., arXiv 1503.02531, section 2 (its cross-entropy minus the teacher's entropy).
    """
    return temperature**2 * mean_or_zero(softmax_divergence(student, teacher, temperature, dim), where)


def softmax_divergence(student: Tensor, teacher: Tensor, temperature: float, dim: int = 1) -> Tensor:
    """Return KL(teacher || student) of the softmax over ``dim`` at each position, without T^2.

    Reduction: sum over ``dim``.

    Args:
        student: Logits of any shape with the classes in ``dim``.
        teacher: Logits of the same shape; receive no gradient.
        temperature: T > 0.
        dim: Dimension of the classes.

    Returns:
        The shape without ``dim``, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.
    """
    student, teacher = softened(student, teacher, temperature)
    log_student, log_teacher = student.log_softmax(dim), teacher.log_softmax(dim)
    return functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(dim)


def sigmoid_soft_target_loss(
    student: Tensor, teacher: Tensor, temperature: float, dim: int = 1, where: Tensor | None = None
) -> Tensor:
    """Return T^2 KL(teacher || student) of independent Bernoulli variables, one per class.

    Reduction: sum over ``dim``, mean over all other positions; 0 if there are none.

    Args:
        student: Logits, (N, C), (B, C, A, H, W) or any shape with the classes in ``dim``.
        teacher: Logits of the same shape; receive no gradient.
        temperature: T > 0.
        dim: Dimension of the classes.
        where: Booleans of the shape without ``dim`` that select positions; None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: ours, for heads whose classes are not exclusive.
    """
    student, teacher = softened(student, teacher, temperature)
    return temperature**2 * mean_or_zero(_bernoulli_divergence(student, teacher, dim), where)


def _bernoulli_divergence(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """Return KL(teacher || student) of one Bernoulli variable per class, summed over ``dim``."""
    probability = teacher.sigmoid()
    yes = probability * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
    no = (1 - probability) * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
    return (yes + no).sum(dim)


def logits_loss(
    student: Logits,
    teacher: Logits,
    temperature: float,
    normaliser: Literal["foreground", "positions"] = "foreground",
    valid: Sequence[Tensor | None] | None = None,
) -> Tensor:
    """Return the soft target loss of a whole head, all levels of which form one set of positions.

    Args:
        student: The student's logits; maps (B, C, H, W) of another size are resized to the teacher's.
        teacher: The teacher's logits, of the same activation; receive no gradient.
        temperature: T > 0.
        normaliser: How a sigmoid head's positions are averaged: ``positions``, unweighted; ``foreground``, weighted
            by the teacher's largest class probability, whose sum over all processes counts as at least 1. The
            positions of a softmax head are never weighted.
        valid: (B, H, W) booleans that select cells of each of the teacher's maps; None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If activations or shapes differ.
    """
    ours, theirs, where = _head_rows(student, teacher, valid)
    if student.activation == "softmax":
        return soft_target_loss(ours, theirs, temperature, where=where)
    if normaliser == "positions":
        return sigmoid_soft_target_loss(ours, theirs, temperature, where=where)
    divergence = _bernoulli_divergence(*softened(ours, theirs, temperature), 1)
    weight = theirs.sigmoid().amax(dim=1)
    weight = weight if where is None else weight.masked_fill(~where, 0)
    return temperature**2 * (weight * divergence).sum() / reduced(weight.sum())


def matching_loss(student: Logits, teacher: Logits, valid: Sequence[Tensor | None] | None = None) -> Tensor:
    """Return the logit matching loss, the limit of soft targets at a high temperature: squared logit differences.

    Reduction: mean over all positions. Softmax: half the mean over the classes, after subtracting the logits' mean
    over the classes; sigmoid: an eighth of the sum over the classes.

    Args:
        student: The student's logits; maps (B, C, H, W) of another size are resized to the teacher's.
        teacher: The teacher's logits, of the same activation; receive no gradient.
        valid: (B, H, W) booleans that select cells of each of the teacher's maps; None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If activations or shapes differ.

    Source: Hinton et al., arXiv 1503.02531, section 2.1 (equation 4 is its gradient); sigmoid: the same limit.
    """
    ours, theirs, where = _head_rows(student, teacher, valid)
    if student.activation == "sigmoid":
        return mean_or_zero((ours - theirs).square().sum(dim=1), where) / 8
    ours, theirs = (logits - logits.mean(dim=1, keepdim=True) for logits in (ours, theirs))
    return mean_or_zero((ours - theirs).square().mean(dim=1), where) / 2


def _head_rows(
    student: Logits, teacher: Logits, valid: Sequence[Tensor | None] | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return both models' logits (positions, C) of all levels, the teacher's detached, and the valid positions."""
    if student.activation != teacher.activation:
        raise ValueError(f"student has {student.activation} logits, teacher {teacher.activation}")
    pairs = list(zip(student.values, teacher.values, strict=True))
    ours = torch.cat(
        [_rows(resized(value, target) if value.dim() == 4 else value) for value, target in pairs]
    )
    theirs = torch.cat([_rows(target) for _, target in pairs]).detach()
    levels = zip(teacher.values, valid or (), strict=False)
    kept = [_cell_rows(value, cells) for value, cells in levels if cells is not None]
    return *student_and_teacher(ours, theirs), torch.cat(kept) if kept else None


def _cell_rows(values: Tensor, cells: Tensor) -> Tensor:
    """Flatten cells (B, H, W) in the order of :func:`_rows` of a map (B, C, H, W) or (B, C, A, H, W)."""
    anchors = values.shape[2] if values.dim() == 5 else 1
    return cells[:, None].expand(-1, anchors, -1, -1).flatten()


def ensemble_logits(teachers: Sequence[Logits], temperature: float) -> Logits:
    """Return logits of the mean probability of several teachers, each softened by the temperature.

    Divided by the temperature again, as in :func:`logits_loss`, they give this mean probability.

    Args:
        teachers: Logits of at least one teacher, of the same activation and the same shapes.
        temperature: T > 0; if infinite, the result is the mean of the logits, which is the limit.

    Returns:
        Logits of the teachers' shapes, in at least float32, without gradient.

    Raises:
        ValueError: If activations or shapes differ.

    Source: Hinton et al., arXiv 1503.02531, section 2: the arithmetic mean of the ensemble's predictions.
    """
    if len(teachers) == 1:
        return teachers[0]
    activations = {teacher.activation for teacher in teachers}
    if len(activations) > 1:
        raise ValueError(f"teachers have different activations: {', '.join(sorted(activations))}")
    levels = [_stacked(level) for level in zip(*(teacher.values for teacher in teachers), strict=True)]
    if math.isinf(temperature):
        return Logits(tuple(level.mean(dim=0) for level in levels), teachers[0].activation)
    mean = _mean_softmax if teachers[0].activation == "softmax" else _mean_sigmoid
    values = tuple(temperature * mean(level / temperature) for level in levels)
    return Logits(values, teachers[0].activation)


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """Stack logits to (teachers, N, C, ...), detached. Raises ValueError if the shapes differ."""
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"teachers' logits differ in shape: {sorted(shapes)}")
    return torch.stack([at_least_float32(part.detach()) for part in parts])


def _log_mean(logarithms: Tensor) -> Tensor:
    """Return the logarithm of the mean over the teachers of values given by their logarithms."""
    return logarithms.logsumexp(dim=0) - math.log(len(logarithms))


def _mean_softmax(logits: Tensor) -> Tensor:
    return _log_mean(logits.log_softmax(dim=2))


def _mean_sigmoid(logits: Tensor) -> Tensor:
    return _log_mean(functional.logsigmoid(logits)) - _log_mean(functional.logsigmoid(-logits))


def softened(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Divide both logits by the temperature, in at least float32, the teacher's detached.

    Raises:
        ValueError: If the shapes differ or T is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it must be positive")
    student, teacher = student_and_teacher(student, teacher)
    return student / temperature, teacher / temperature


def _rows(values: Tensor) -> Tensor:
    """Convert (N, C, ...) to (positions, C)."""
    return at_least_float32(values).movedim(1, -1).flatten(0, -2)

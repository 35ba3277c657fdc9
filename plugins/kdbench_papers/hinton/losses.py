"""Soft targets: pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import Logits, at_least_float32, mean_or_zero, resized, student_and_teacher


def soft_target_loss(student: Tensor, teacher: Tensor, temperature: float, dim: int = 1) -> Tensor:
    """T^2 KL(teacher || student) of the softmax over ``dim``.

    Reduction: summed over ``dim``, mean over all other positions; 0 when there are none.

    Args:
        student: Logits, (N, C), (N, C, H, W) or any shape with the classes in ``dim``.
        teacher: Logits of the same shape; receive no gradient.
        temperature: T > 0.
        dim: Dimension of the classes.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Hinton et al., arXiv 1503.02531, section 2 (its cross-entropy less the teacher's entropy).
    """
    return temperature**2 * mean_or_zero(softmax_divergence(student, teacher, temperature, dim))


def softmax_divergence(student: Tensor, teacher: Tensor, temperature: float, dim: int = 1) -> Tensor:
    """KL(teacher || student) of the softmax over ``dim`` at each position, without T^2.

    Reduction: summed over ``dim``.

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


def sigmoid_soft_target_loss(student: Tensor, teacher: Tensor, temperature: float, dim: int = 1) -> Tensor:
    """T^2 KL(teacher || student) of independent Bernoulli variables, one a class.

    Reduction: summed over ``dim``, mean over all other positions; 0 when there are none.

    Args:
        student: Logits, (N, C), (B, C, A, H, W) or any shape with the classes in ``dim``.
        teacher: Logits of the same shape; receive no gradient.
        temperature: T > 0.
        dim: Dimension of the classes.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: ours, for heads whose classes are not exclusive.
    """
    student, teacher = softened(student, teacher, temperature)
    return temperature**2 * mean_or_zero(_bernoulli_divergence(student, teacher, dim))


def _bernoulli_divergence(student: Tensor, teacher: Tensor, dim: int) -> Tensor:
    """KL(teacher || student) of one Bernoulli variable a class, summed over ``dim``."""
    probability = teacher.sigmoid()
    yes = probability * (functional.logsigmoid(teacher) - functional.logsigmoid(student))
    no = (1 - probability) * (functional.logsigmoid(-teacher) - functional.logsigmoid(-student))
    return (yes + no).sum(dim)


def logits_loss(
    student: Logits,
    teacher: Logits,
    temperature: float,
    normaliser: Literal["foreground", "positions"] = "foreground",
) -> Tensor:
    """Soft targets of a whole head: its levels are one set of positions.

    Args:
        student: The student's logits; maps (B, C, H, W) of another size are resized to the teacher's.
        teacher: The teacher's, of the same activation, which receive no gradient.
        temperature: T > 0.
        normaliser: How a sigmoid head's positions are averaged: ``positions``, all alike; ``foreground``, weighted
            by the teacher's largest class probability, whose sum counts as at least 1. Those of a softmax head
            are always alike.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If activations or shapes differ.
    """
    if student.activation != teacher.activation:
        raise ValueError(f"student has {student.activation} logits, teacher {teacher.activation}")
    pairs = list(zip(student.values, teacher.values, strict=True))
    ours = torch.cat(
        [_rows(resized(value, target) if value.dim() == 4 else value) for value, target in pairs]
    )
    theirs = torch.cat([_rows(target) for _, target in pairs]).detach()
    if student.activation == "softmax":
        return soft_target_loss(ours, theirs, temperature)
    if normaliser == "positions":
        return sigmoid_soft_target_loss(ours, theirs, temperature)
    divergence = _bernoulli_divergence(*softened(ours, theirs, temperature), 1)
    weight = theirs.sigmoid().amax(dim=1)
    return temperature**2 * (weight * divergence).sum() / weight.sum().clamp(min=1)


def ensemble_logits(teachers: Sequence[Logits], temperature: float) -> Logits:
    """Logits of the mean probability of several teachers, each softened by the temperature.

    Divided by the temperature again, as :func:`logits_loss` does, they give that mean.

    Args:
        teachers: Their logits, of one activation and of the same shapes; at least one.
        temperature: T > 0.

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
    mean = _mean_softmax if teachers[0].activation == "softmax" else _mean_sigmoid
    levels = zip(*(teacher.values for teacher in teachers), strict=True)
    values = tuple(temperature * mean(_stacked(level) / temperature) for level in levels)
    return Logits(values, teachers[0].activation)


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    """(teachers, N, C, ...), without gradient. Raises ValueError where the shapes differ."""
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) > 1:
        raise ValueError(f"teachers' logits differ in shape: {sorted(shapes)}")
    return torch.stack([at_least_float32(part.detach()) for part in parts])


def _log_mean(logarithms: Tensor) -> Tensor:
    """Logarithm of the mean over the teachers, from logarithms."""
    return logarithms.logsumexp(dim=0) - math.log(len(logarithms))


def _mean_softmax(logits: Tensor) -> Tensor:
    return _log_mean(logits.log_softmax(dim=2))


def _mean_sigmoid(logits: Tensor) -> Tensor:
    return _log_mean(functional.logsigmoid(logits)) - _log_mean(functional.logsigmoid(-logits))


def softened(student: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Divide both logits by the temperature, in at least float32, the teacher's without gradient.

    Raises:
        ValueError: If the shapes differ or T is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it must be positive")
    student, teacher = student_and_teacher(student, teacher)
    return student / temperature, teacher / temperature


def _rows(values: Tensor) -> Tensor:
    """(N, C, ...) -> (positions, C)."""
    return at_least_float32(values).movedim(1, -1).flatten(0, -2)

"""Losses of binary classification and IoU-based localisation distillation, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import student_and_teacher
from kdbench_papers.crosskd.losses import focal_divergence


def consistency_loss(student: Tensor, teacher: Tensor, weights: Tensor, normaliser: float | Tensor) -> Tensor:
    """Return the weighted sum of the focal divergence of binary class logits, divided by the normaliser.

    Reduction: sum over anchors and classes, divided by the normaliser; 0 if there are none.

    Args:
        student: (N, C) logits of independent classes.
        teacher: The same shape; receives no gradient.
        weights: (N,) weight of each anchor; receives no gradient.
        normaliser: Number of positives; less than 1 counts as 1.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Yang et al., arXiv 2308.14286, equations 4 and 5. The released code drops the term of a batch without
        positives.
    """
    return _normalised(weights.detach() * focal_divergence(student, teacher), normaliser)


def box_consistency_loss(
    student_boxes: Tensor, teacher_boxes: Tensor, weights: Tensor, normaliser: float | Tensor
) -> Tensor:
    """Return the weighted sum of 1 - GIoU of the student's and the teacher's boxes, divided by the normaliser.

    Reduction: sum over anchors, divided by the normaliser; 0 if there are none.

    Args:
        student_boxes: (N, 4) x1, y1, x2, y2.
        teacher_boxes: The same shape; receive no gradient.
        weights: (N,) weight of each anchor (in the paper the largest difference of the class probabilities);
            receives no gradient.
        normaliser: Number of positives; less than 1 counts as 1.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Yang et al., arXiv 2308.14286, equation 7.
    """
    from torchvision.ops import generalized_box_iou_loss

    ours, theirs = student_and_teacher(student_boxes, teacher_boxes)
    return _normalised(weights.detach() * generalized_box_iou_loss(ours, theirs), normaliser)


def _normalised(terms: Tensor, normaliser: float | Tensor) -> Tensor:
    return terms.sum() / torch.as_tensor(normaliser, dtype=terms.dtype, device=terms.device).clamp(min=1)

"""The loss on decoupled soft targets, as a pure function."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import mean_or_zero
from kdbench_papers.hinton.losses import softened


def decoupled_loss(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    alpha: float | Tensor = 1.0,
    beta: float | Tensor = 0.25,
    temperature: float = 1.0,
) -> Tensor:
    """Return alpha T^2 KL of "the label or not" plus beta T^2 KL of the other classes among themselves.

    Both are KL(teacher || student); the label's class is left out of the second one.

    Reduction: sum over classes, mean over rows; 0 if there are none.

    Args:
        student: (N, C) logits of at least two exclusive classes.
        teacher: The same shape; receives no gradient.
        labels: (N,) class indices in [0, C).
        alpha: Weight of the target class; a tensor (N,) weights each row.
        beta: Weight of the others; a tensor (N,) weights each row.
        temperature: T > 0.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ, there are fewer than two classes, or T is not positive.

    Source: Zhao et al., arXiv 2203.08679, equations 6 and 7. The released code subtracts 1000 from the label's
        logit instead of leaving it out.
    """
    student, teacher = softened(student, teacher, temperature)
    classes = student.shape[1]
    if classes < 2:
        raise ValueError(f"dkd needs at least two classes, not {classes}: there is nothing beside the label")
    (our_target, ours), (their_target, theirs) = (_parts(logits, labels) for logits in (student, teacher))
    target, others = _divergence(our_target, their_target), _divergence(ours, theirs)
    return temperature**2 * mean_or_zero(alpha * target + beta * others)


def _parts(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return log probabilities of (label, not label), (N, 2), and of the other classes, (N, C - 1)."""
    count, classes = logits.shape
    chosen = functional.one_hot(labels.long(), classes).bool()
    others = logits[~chosen].view(count, classes - 1)
    rest = torch.stack([logits[chosen], others.logsumexp(dim=1)], dim=1)
    return rest.log_softmax(dim=1), others.log_softmax(dim=1)


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)

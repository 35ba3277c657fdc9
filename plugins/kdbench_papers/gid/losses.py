"""Selection of general instances, as a pure function."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import at_least_float32


@torch.no_grad()
def general_instances(
    teacher_logits: Tensor,
    student_logits: Tensor,
    teacher_boxes: Tensor,
    student_boxes: Tensor,
    count: int = 10,
    overlap: float = 0.3,
) -> Tensor:
    """Return the positions of one level where the two models disagree most.

    A position's score is the largest difference of the two models' probabilities over the classes. Its box is that
    of the model with the larger probability for this class. The instances are the positions that remain after
    non-maximum suppression of these boxes by score.

    Args:
        teacher_logits: (N, C) logits of independent classes.
        student_logits: (N, C).
        teacher_boxes: (N, 4) x1, y1, x2, y2.
        student_boxes: (N, 4).
        count: Maximum number of instances.
        overlap: IoU above which the box with the lower score is dropped.

    Returns:
        (K,) indices, K <= ``count``, by decreasing score.

    Source: Dai et al., arXiv 2103.02340, section 3.1, with the numbers of the port in LD's code.
    """
    from torchvision.ops import nms

    if not teacher_logits.numel():
        return torch.zeros(0, dtype=torch.long, device=teacher_logits.device)
    theirs, ours = (at_least_float32(logits).sigmoid() for logits in (teacher_logits, student_logits))
    scores, label = (theirs - ours).abs().max(dim=1)
    surer = (theirs - ours).gather(1, label[:, None]) > 0
    boxes = at_least_float32(torch.where(surer, teacher_boxes, student_boxes))
    kept: Tensor = nms(boxes, scores.to(boxes.dtype), overlap)
    return kept[:count]

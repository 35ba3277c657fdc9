"""Matching of the queries of two DETRs, whose orders have no meaning."""

from __future__ import annotations

from typing import Literal

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from kdbench.distill.losses import at_least_float32

CLASS_COST, BOX_COST, IOU_COST = 1.0, 5.0, 2.0
"""Weights of the terms of DETR's own matching (Carion et al., ECCV 2020)."""


@torch.no_grad()
def matched_queries(
    logits: tuple[Tensor, Tensor],
    boxes: tuple[Tensor, Tensor],
    activation: Literal["softmax", "sigmoid"],
) -> Tensor:
    """Return the teacher's query for each of the student's, by Hungarian matching of their predictions.

    The cost of a pair of queries is the L1 distance of their class probabilities, plus 5 times the L1 distance of
    their boxes, plus 2 (1 - their generalised IoU): DETR's matching, with the teacher's predictions instead of
    objects. Each of the teacher's queries is used at most once.

    Args:
        logits: The student's (B, Q, C) and the teacher's (B, P, C), P >= Q.
        boxes: The student's (B, Q, 4) and the teacher's (B, P, 4), cx, cy, w, h relative to the image's size.
        activation: Activation of the logits.

    Returns:
        (B, Q) indices of the teacher's queries.
    """
    from torchvision.ops import box_convert, generalized_box_iou

    scores = [_probabilities(at_least_float32(part), activation) for part in logits]
    places = [at_least_float32(part) for part in boxes]
    corners = [box_convert(part, "cxcywh", "xyxy") for part in places]
    overlap = [generalized_box_iou(ours, theirs) for ours, theirs in zip(*corners, strict=True)]
    cost = CLASS_COST * torch.cdist(scores[0], scores[1], p=1) - IOU_COST * torch.stack(overlap)
    cost = (cost + BOX_COST * torch.cdist(places[0], places[1], p=1)).nan_to_num(0.0).cpu()
    found = [torch.as_tensor(linear_sum_assignment(image.numpy())[1]) for image in cost]
    return torch.stack(found).to(logits[0].device)


def _probabilities(logits: Tensor, activation: Literal["softmax", "sigmoid"]) -> Tensor:
    return logits.softmax(dim=-1) if activation == "softmax" else logits.sigmoid()

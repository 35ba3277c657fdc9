"""Variation within the classes: pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import at_least_float32, mean_square, resized, resized_labels, unit_vectors


def prototypes(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean feature of each class in each image.

    Args:
        features: (N, C, H, W).
        labels: (N, h, w) class indices, resized (nearest) to the features; what is not in [0, classes) belongs to
            no class.
        classes: Number of classes.

    Returns:
        (N, classes, C), in at least float32; 0 for a class that an image does not have.

    Source: Wang et al., ECCV 2020, section 3.2.
    """
    members = _members(resized_labels(labels, features), classes)
    return _means(at_least_float32(features), members)


def variation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, classes: int, ignore_index: int
) -> Tensor:
    """Return the mean square of the difference of the variation maps: each pixel's cosine to its class's prototype.

    Pixels that are ignored, and a feature or a prototype of norm 0, have cosine 0 with no gradient.

    Reduction: mean over all pixels, ignored ones included; 0 when there are none.

    Args:
        student: (N, C, H, W); resized (bilinear) to the teacher's size.
        teacher: (N, C', H', W'), C' any; receives no gradient.
        labels: (N, h, w) class indices, resized (nearest) to the teacher's size.
        classes: Number of classes.
        ignore_index: Label of pixels that are not judged.

    Returns:
        Scalar in [0, 4], in at least float32.

    Raises:
        ValueError: If the numbers of images differ.

    Source: Wang et al., ECCV 2020, equations 1 to 3. In the released code an ignored pixel is its own prototype:
        its cosine is 1 in both models, which adds 0 as well.
    """
    if not len(student) == len(teacher) == len(labels):
        raise ValueError(
            f"{len(student)}, {len(teacher)} and {len(labels)} images of student, teacher and labels"
        )
    labels = resized_labels(labels, teacher)
    members = _members(labels.masked_fill(labels == ignore_index, -1), classes)
    return mean_square(_variation(resized(student, teacher), members), _variation(teacher.detach(), members))


def _members(labels: Tensor, classes: int) -> Tensor:
    """(N, H, W) class indices -> (N, H W, classes), 1 where a pixel is of a class."""
    return (labels.flatten(1)[:, :, None] == torch.arange(classes, device=labels.device)).float()


def _means(features: Tensor, members: Tensor) -> Tensor:
    """Mean of the features (N, C, H, W) of each class's members: (N, classes, C)."""
    members = members.to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):
        sums = members.mT @ features.flatten(2).mT
    return sums / members.sum(dim=1).clamp(min=1)[:, :, None]


def _variation(features: Tensor, members: Tensor) -> Tensor:
    """Cosine of each pixel's feature and the mean of its class: (N, H W)."""
    features = at_least_float32(features)
    means = _means(features, members)
    with torch.autocast(features.device.type, enabled=False):
        own = members.to(features.dtype) @ means
    return (unit_vectors(features.flatten(2).mT, dim=2) * unit_vectors(own, dim=2)).sum(dim=2)

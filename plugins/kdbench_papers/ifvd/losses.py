"""Losses on the feature variation within classes, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from kdbench.api import at_least_float32, mean_square, resized, resized_labels, unit_vectors


def prototypes(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean feature of each class in each image.

    Args:
        features: (N, C, H, W).
        labels: (N, h, w) class indices, resized (nearest) to the features; others than [0, classes) are ignored.
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
    """Return the mean squared difference of the variation maps: each pixel's cosine with its class's prototype.

    For ignored pixels, and if the feature or the prototype has norm 0, the cosine is 0 with no gradient.

    Reduction: mean over all pixels, ignored ones included; 0 if there are none.

    Args:
        student: (N, C, H, W); resized (bilinear) to the teacher's size.
        teacher: (N, C', H', W') with any C'; receives no gradient.
        labels: (N, h, w) class indices, resized (nearest) to the teacher's size.
        classes: Number of classes.
        ignore_index: Label of pixels to ignore.

    Returns:
        Scalar in [0, 4], in at least float32.

    Raises:
        ValueError: If the numbers of images differ.

    Source: Wang et al., ECCV 2020, equations 1 to 3. In the released code an ignored pixel is its own prototype,
        with cosine 1 in both models, which also adds 0.
    """
    if not len(student) == len(teacher) == len(labels):
        raise ValueError(
            f"{len(student)}, {len(teacher)} and {len(labels)} images of student, teacher and labels"
        )
    labels = resized_labels(labels, teacher)
    members = _members(labels.masked_fill(labels == ignore_index, -1), classes)
    return mean_square(_variation(resized(student, teacher), members), _variation(teacher.detach(), members))


def _members(labels: Tensor, classes: int) -> Tensor:
    """Convert class indices (N, H, W) to one-hot vectors (N, H W, classes)."""
    return (labels.flatten(1)[:, :, None] == torch.arange(classes, device=labels.device)).float()


def _means(features: Tensor, members: Tensor) -> Tensor:
    """Return the mean feature of each class, (N, classes, C), of features (N, C, H, W)."""
    members = members.to(features.dtype)
    with torch.autocast(features.device.type, enabled=False):
        sums = members.mT @ features.flatten(2).mT
    return sums / members.sum(dim=1).clamp(min=1)[:, :, None]


def _variation(features: Tensor, members: Tensor) -> Tensor:
    """Return the cosine of each pixel's feature with the mean of its class, (N, H W)."""
    features = at_least_float32(features)
    means = _means(features, members)
    with torch.autocast(features.device.type, enabled=False):
        own = members.to(features.dtype) @ means
    return (unit_vectors(features.flatten(2).mT, dim=2) * unit_vectors(own, dim=2)).sum(dim=2)

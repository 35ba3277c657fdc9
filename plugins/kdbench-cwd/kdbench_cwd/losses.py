"""Channel-wise losses, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from kdbench.api import mean_or_zero, mean_square, student_and_teacher


def channel_wise_loss(
    student: Tensor, teacher: Tensor, temperature: float = 1.0, cells: Tensor | None = None
) -> Tensor:
    """Return T^2 / (N C) sum over images and channels of KL(teacher || student) of the softmax over positions.

    Reduction: sum over positions, mean over images and channels; 0 if there are none.

    Args:
        student: Maps, (N, C, H, W), any range.
        teacher: Maps of the same shape; receive no gradient.
        temperature: T > 0.
        cells: (N, H, W) booleans that select positions, at least one per image; None: all.

    Returns:
        Scalar, at least 0, in at least float32.

    Raises:
        ValueError: If the shapes differ or T is not positive.

    Source: Shu et al., ICCV 2021, the softmax of a channel over its positions and the divergence of two such
        distributions, which the paper writes for one image.
    """
    if not temperature > 0:
        raise ValueError(f"temperature is {temperature}: it must be positive")
    student, teacher = student_and_teacher(student, teacher)
    ours, theirs = (_log_softmax(maps / temperature, cells) for maps in (student, teacher))
    divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=2)
    return temperature**2 * mean_or_zero(divergence)


def channel_l2_loss(student: Tensor, teacher: Tensor, cells: Tensor | None = None, *, unit: bool) -> Tensor:
    """Return the squared differences of channels, either normalised to unit length or unchanged.

    Reduction: sum (``unit``) or mean over positions, then mean over images and channels; 0 if there are none.

    Args:
        student: Maps, (N, C, H, W), any range.
        teacher: Maps of the same shape; receive no gradient.
        cells: (N, H, W) booleans that select positions; None: all.
        unit: Whether to divide each channel by its L2 norm first; a channel of zeros stays zero.

    Returns:
        Scalar, at least 0, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Shu et al., ICCV 2021, the alternatives to the softmax.
    """
    if not unit:
        return mean_square(student, teacher, cells)
    ours, theirs = (_unit(maps, cells) for maps in student_and_teacher(student, teacher))
    return mean_or_zero((ours - theirs).square().sum(dim=2))


def _unit(maps: Tensor, cells: Tensor | None) -> Tensor:
    """Normalise channels to length 1 over the selected positions: (N, C, H, W) -> (N, C, H * W)."""
    if cells is not None:
        maps = maps.masked_fill(~cells[:, None], 0)
    return functional.normalize(maps.flatten(2), dim=2)


def _log_softmax(maps: Tensor, cells: Tensor | None) -> Tensor:
    """Return the log softmax over the selected positions: (N, C, H, W) -> (N, C, H * W)."""
    if cells is not None:
        maps = maps.masked_fill(~cells[:, None], torch.finfo(maps.dtype).min)
    return maps.flatten(2).log_softmax(dim=2)

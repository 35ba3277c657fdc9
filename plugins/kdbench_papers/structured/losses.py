"""Losses of pixel-wise, pair-wise and holistic distillation, as pure functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional

from kdbench.api import at_least_float32, masked, mean_or_zero, student_and_teacher, unit_vectors
from kdbench_papers.hinton.losses import soft_target_loss

Critic = Callable[[Tensor], Tensor]
"""Maps (N, C + 3, H, W) of class probabilities and image -> scores of any shape (N, ...), averaged per image."""


def pixel_wise_loss(student: Tensor, teacher: Tensor, cells: Tensor | None = None) -> Tensor:
    """Return l_pi, the mean over pixels of KL(teacher || student).

    Reduction: sum over classes, mean over N, H and W; 0 if there are no pixels.

    Args:
        student: Logits, (N, C, H, W).
        teacher: Logits of the same shape; receive no gradient.
        cells: (N, H, W) booleans that select pixels; None: all.

    Returns:
        Scalar, in at least float32.

    Raises:
        ValueError: If the shapes differ.

    Source: Liu et al., CVPR 2019, equation of l_pi, which prints KL(student || teacher); the released code
        has the cross-entropy with the teacher as target (the same gradient as here), summed over the batch
        and divided by H W only.
    """
    return soft_target_loss(student, teacher, 1.0, where=cells)


def pair_wise_loss(
    student: Tensor, teacher: Tensor, nodes: tuple[int, int] | None = None, cells: Tensor | None = None
) -> Tensor:
    """Return l_pa, the mean over pairs of nodes of (a_ij^s - a_ij^t)^2, a_ij the cosine of the features of i and j.

    Reduction: mean over N and the (ordered) pairs; 0 if there are none. A feature of norm 0 has cosine 0
    with every other.

    Args:
        student: Features, (N, C, H, W).
        teacher: Features, (N, C', H, W) with any C'; receive no gradient. With ``nodes`` the size may differ too.
        nodes: Rows and columns to which maps are average-pooled first; None: every cell is a node.
        cells: (N, H, W) booleans that select cells, for maps of the same size; None: all.

    Returns:
        Scalar, in at least float32. If H W exceeds C and C', time and memory do not grow with (H W)^2, and the
        sum of squares has an error of the order of float32 rounding (some 1e-7 of the mean).

    Raises:
        ValueError: If the numbers of images or of nodes differ.

    Source: Liu et al., CVPR 2019, equation of l_pa. The released code max-pools, and treats the norms as
        constants.
    """
    ours, theirs = (directions(part, nodes, cells) for part in (student, teacher.detach()))
    if ours.shape[::2] != theirs.shape[::2]:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} differ in images or size"
        )
    pairs = ours.shape[0] * ours.shape[2] ** 2
    with torch.autocast(ours.device.type, enabled=False):
        if cells is not None:
            present = _pooled(cells[:, None].float(), nodes).flatten(1) > 0
            return mean_or_zero(_gram_distance(ours, theirs) / present.sum(dim=1).square().clamp(min=1))
        if ours.shape[2] <= max(ours.shape[1], theirs.shape[1]):
            return mean_or_zero((ours.mT @ ours - theirs.mT @ theirs).square())
        return _gram_distance(ours, theirs).sum() / max(pairs, 1)


def adversarial_loss(critic: Critic, student: Tensor, image: Tensor) -> Tensor:
    """Return the student's part of the holistic term, to be minimised: -E[D(Q^s | I)].

    Args:
        critic: D. Its parameters get a gradient if they require one.
        student: Logits, (N, C, H, W).
        image: (N, 3, H', W').

    Returns:
        Scalar, in at least float32; 0 if there are no images.

    Source: Liu et al., CVPR 2019, equation of l_ho.
    """
    with torch.autocast(student.device.type, enabled=False):
        maps = _probabilities(student)
        return -mean_or_zero(_scores(critic, maps, _at(image, maps)))


def critic_loss(
    critic: Critic,
    student: Tensor,
    teacher: Tensor,
    image: Tensor,
    penalty_weight: float = 10.0,
    generator: Generator | None = None,
) -> Tensor:
    """Return the critic's loss: E[D(Q^s | I)] - E[D(Q^t | I)] + penalty_weight E[(||grad D(Q | I)|| - 1)^2].

    The penalty is evaluated at one random Q per image, on the line between Q^s and Q^t.

    Args:
        critic: D.
        student: Logits, (N, C, H, W); receive no gradient.
        teacher: Logits of the same shape; receive no gradient.
        image: (N, 3, H', W').
        penalty_weight: Weight of the gradient penalty.
        generator: Generator of the random Q; None: torch's own.

    Returns:
        Scalar, in at least float32; 0 if there are no images.

    Raises:
        ValueError: If the shapes differ.

    Source: Liu et al., CVPR 2019, equation of l_ho, with the penalty of Gulrajani et al., NIPS 2017,
        equation 3. The released code interpolates the logits; its critic sees no image.
    """
    student, teacher = student_and_teacher(student.detach(), teacher)
    with torch.autocast(student.device.type, enabled=False):
        ours, theirs = _probabilities(student), _probabilities(teacher)
        seen = _at(image, ours)
        distance = mean_or_zero(_scores(critic, ours, seen)) - mean_or_zero(_scores(critic, theirs, seen))
        return distance + penalty_weight * _penalty(critic, ours, theirs, seen, generator)


def cosines_to(features: Tensor, row: int, column: int) -> Tensor:
    """Return the cosines, (N, H, W) in [-1, 1], of all features of (N, C, H, W) with the one at a position."""
    unit = directions(features, None, None)
    chosen = unit[:, :, row * features.shape[3] + column]
    cosines = (chosen[:, :, None] * unit).sum(dim=1).clamp(-1, 1)
    return cosines.view(len(features), *features.shape[-2:])


def directions(features: Tensor, nodes: tuple[int, int] | None, cells: Tensor | None) -> Tensor:
    """Convert features (N, C, H, W) to unit vectors (N, C, nodes), 0 for nodes without a selected cell."""
    features = masked(at_least_float32(features), cells)
    return unit_vectors(_pooled(features, nodes).flatten(2))


def _pooled(maps: Tensor, nodes: tuple[int, int] | None) -> Tensor:
    """Average the maps at the nodes; masked cells, which are 0, only change the length of a feature."""
    return maps if nodes is None else functional.adaptive_avg_pool2d(maps, nodes)


def _gram_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return || S^T S - T^T T ||^2 of each image, S (C, n) and T (C', n), without an n x n matrix.

    With D = S - T and P = S + T (the narrower one padded with zeros) it is half of
    <D D^T, P P^T> + <P D^T, (P D^T)^T>, which avoids cancellation if the maps agree.
    """
    width = max(ours.shape[1], theirs.shape[1])
    ours, theirs = (functional.pad(part, (0, 0, 0, width - part.shape[1])) for part in (ours, theirs))
    difference, total = ours - theirs, ours + theirs
    mixed = total @ difference.mT
    squares = (difference @ difference.mT) * (total @ total.mT) + mixed * mixed.mT
    return 0.5 * squares.flatten(1).sum(dim=1)


def _probabilities(logits: Tensor) -> Tensor:
    return at_least_float32(logits).softmax(dim=1)


def _at(image: Tensor, maps: Tensor) -> Tensor:
    """Resize the image to the size of the maps, in their dtype."""
    resized: Tensor = functional.interpolate(
        image.detach().to(maps.dtype), size=maps.shape[-2:], mode="bilinear", align_corners=False
    )
    return resized


def _scores(critic: Critic, maps: Tensor, image: Tensor) -> Tensor:
    """Return the critic's mean score of each image, (N,)."""
    said = critic(torch.cat([maps, image], dim=1))
    return said.unsqueeze(1).flatten(1).mean(dim=1)


def _penalty(
    critic: Critic, ours: Tensor, theirs: Tensor, image: Tensor, generator: Generator | None
) -> Tensor:
    """Return E[(||grad D|| - 1)^2] at random points between the maps."""
    size = (len(ours), 1, 1, 1)
    share = torch.rand(size, generator=generator, dtype=ours.dtype, device=ours.device)
    between = (share * theirs + (1 - share) * ours).requires_grad_()
    total = _scores(critic, between, image).sum()
    (gradient,) = torch.autograd.grad(total, between, create_graph=True)
    return mean_or_zero((torch.linalg.vector_norm(gradient.flatten(1), dim=1) - 1).square())

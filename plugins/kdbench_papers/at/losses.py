"""Losses of attention transfer, as pure functions."""

from __future__ import annotations

from torch import Tensor

from kdbench.api import at_least_float32, mean_square, resized, unit_vectors


def attention_map(features: Tensor) -> Tensor:
    """Return the mean over channels of the squared features, scaled to L2 norm 1 over the positions.

    Args:
        features: (N, C, H, W), any range.

    Returns:
        (N, H W), at least 0, in at least float32; 0 for an image whose map is 0 everywhere.

    Source: Zagoruyko and Komodakis, arXiv 1612.03928, equation 2. The mean over channels is the released code's;
        after the normalisation it equals the sum.
    """
    features = at_least_float32(features)
    return unit_vectors(features.square().mean(dim=1).flatten(1))


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean squared difference of the attention maps.

    Reduction: mean over images and positions; 0 if there are none.

    Args:
        student: (N, C, H, W); resized (bilinear) to the teacher's size.
        teacher: (N, C', H', W') with any C'; receives no gradient.

    Returns:
        Scalar in [0, 2 / (H' W')], in at least float32.

    Raises:
        ValueError: If the numbers of images differ.

    Source: the released code. The paper's equation 2 has the norm of the difference, not its mean square.
    """
    return mean_square(attention_map(resized(student, teacher)), attention_map(teacher.detach()))

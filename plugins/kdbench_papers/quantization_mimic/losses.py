"""Quantized features: pure functions, and the module that is inserted into the teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from kdbench.api import at_least_float32
from kdbench_papers.mimic.losses import region_l2


def quantize(x: Tensor, step: float) -> Tensor:
    """Round to {0, s, 2s, 3s, ...}, ties down, negatives to 0: Q(x) = max(0, ceil(x / s - 1/2) s).

    The gradient is passed straight through where x is at least 0, and is 0 for negatives.

    Args:
        x: Features of any shape.
        step: s, width of a bin, > 0.

    Returns:
        The same shape, in at least float32.

    Source: Wei et al., ECCV 2018; ``torch.round`` would send ties to even multiples.
    """
    x = at_least_float32(x)
    return _straight_through(x, (x / step - 0.5).ceil().clamp(min=0) * step)


def quantize_power_of_two(x: Tensor, step: float) -> Tensor:
    """Round to {0, s, 2s, 4s, 8s, ...}, ties down, negatives to 0, with gradients as in :func:`quantize`.

    Args:
        x: Features of any shape.
        step: s, the smallest non-zero bin, > 0.

    Returns:
        The same shape, in at least float32.

    Source: Wei et al., ECCV 2018, the alternative to uniform bins.
    """
    x = at_least_float32(x)
    # |x| / s = mantissa 2^exponent, the mantissa in [1/2, 1): between 2^(exponent - 1) and 2^exponent.
    mantissa, exponent = torch.frexp((x / step).detach())
    power = torch.ldexp(torch.ones_like(mantissa), exponent - (mantissa <= 0.75).to(exponent.dtype))
    bins = torch.where(x / step <= 0.5, 0, power.clamp(min=1))
    return _straight_through(x, bins * step)


def _straight_through(x: Tensor, quantized: Tensor) -> Tensor:
    """Return exactly the quantized values (x - x is 0), with the gradient of a ReLU."""
    through = x.clamp(min=0)
    return quantized.detach() + (through - through.detach())


BINS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "uniform": quantize,
    "power-of-two": quantize_power_of_two,
}


def symmetric(x: Tensor, step: float, bins: str = "uniform") -> Tensor:
    """Apply Q symmetrically, for maps with negative values: sign(x) Q(|x|). After a ReLU this equals Q.

    With Q itself and a straight-through gradient, a student would be driven to minus infinity wherever its teacher
    is negative.

    Args:
        x: Features of any shape.
        step: s, > 0.
        bins: ``uniform`` or ``power-of-two``.

    Returns:
        The same shape, in at least float32. Its gradient is that of the identity.

    Source: ours; the paper's maps are not negative.
    """
    x, rounded = at_least_float32(x), BINS[bins]
    return (rounded(x, step) - rounded(-x, step)).detach() + (x - x.detach())


class Quantization(nn.Module):
    """Symmetric Q as a module of a model.

    Args:
        step: s, > 0.
        bins: ``uniform`` or ``power-of-two``.
    """

    def __init__(self, step: float, bins: str) -> None:
        super().__init__()
        self.step, self.bins = step, bins

    def forward(self, features: Tensor) -> Tensor:
        """Quantize the features; the dtype does not change."""
        return symmetric(features, self.step, self.bins).to(features.dtype)

    def extra_repr(self) -> str:
        """Describe the module's own settings for its printed form."""
        return f"step={self.step:g}, bins={self.bins}"


def quantized_region_l2(
    student_regions: Tensor | Sequence[Tensor], teacher_regions: Tensor | Sequence[Tensor], step: float
) -> Tensor:
    """Return 1 / (2N) sum_i mean_i((Q(u_i) - Q(v_i))^2), which is mimic's ``region_l2`` with Q on both sides.

    Args:
        student_regions: Regions after the transform: (N, C, h, w), or N tensors of any shapes.
        teacher_regions: The teacher's regions, of the same shapes; receive no gradient.
        step: s, the width of a bin, > 0.

    Returns:
        Scalar, in at least float32; 0 if there are no regions.

    Raises:
        ValueError: If the numbers or shapes of the regions differ.

    Source: Wei et al., ECCV 2018; divided by each region's number of elements m_i, as in mimic.
    """
    return region_l2(_quantized(student_regions, step), _quantized(teacher_regions, step))


def _quantized(regions: Tensor | Sequence[Tensor], step: float) -> Tensor | list[Tensor]:
    if isinstance(regions, Tensor):
        return quantize(regions, step)
    return [quantize(region, step) for region in regions]

"""Adapters, which convert a student's feature map to the teacher's channels and size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from kdbench.distill.captures import Shape
from kdbench.distill.losses import at_least_float32


def resized(features: Tensor, like: Tensor) -> Tensor:
    """Resize a map bilinearly, in at least float32, to the size of another; unchanged if the sizes agree.

    Args:
        features: (B, C, h, w).
        like: (..., H, W).

    Returns:
        (B, C, H, W).
    """
    size = like.shape[-2:]
    if features.shape[-2:] == size:
        return features
    return functional.interpolate(at_least_float32(features), size=size, mode="bilinear", align_corners=False)


def resized_labels(labels: Tensor, like: Tensor) -> Tensor:
    """Resize class indices to the size of a map by nearest neighbour; unchanged if the sizes agree.

    Args:
        labels: (B, h, w) integers.
        like: (..., H, W).

    Returns:
        (B, H, W), of the labels' dtype.
    """
    size = like.shape[-2:]
    if labels.shape[-2:] == size:
        return labels
    nearest = functional.interpolate(labels[:, None].float(), size=size, mode="nearest")
    return nearest[:, 0].to(labels.dtype)


class Adapter(nn.Module):
    """Convolution to the teacher's channels, then bilinear interpolation to its size.

    Args:
        channels: Student and teacher channels.
        kernel_size: Odd kernel size of the convolution, which keeps the map's size.
        resize: Whether to interpolate to the teacher's height and width.
        always: Whether to convolve even if the channels agree.
        bias: Whether the convolution has a bias.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        *,
        kernel_size: int = 1,
        resize: bool = False,
        always: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        student, teacher = channels
        self.resize = resize
        self.conv: nn.Module = nn.Identity()
        if always or student != teacher:
            self.conv = nn.Conv2d(student, teacher, kernel_size, padding=kernel_size // 2, bias=bias)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Convert (B, C_student, H, W) to (B, C_teacher, *size).

        Raises:
            ValueError: If the sizes differ although the probed sizes agreed.
        """
        adapted: Tensor = self.conv(features)
        if adapted.shape[-2:] == size:
            return adapted
        if not self.resize:
            raise ValueError(f"student map {tuple(adapted.shape[-2:])} and teacher map {size} differ in size")
        return functional.interpolate(adapted, size=size, mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        """Describe the module's own settings for its printed form."""
        return "then bilinear to the teacher's size" if self.resize else "same size"


def adapter(
    student: Shape, teacher: Shape, *, kernel_size: int = 1, always: bool = False, bias: bool = True
) -> Adapter:
    """Make an adapter: a convolution if the channels differ, and interpolation if the sizes do.

    Args:
        student: Probed shape (B, C, H, W) of the student's map.
        teacher: Probed shape (B, C, H, W) of the teacher's map.
        kernel_size: Kernel size of the convolution.
        always: Whether to convolve even if the channels agree.
        bias: Whether the convolution has a bias; it has no effect on a loss that subtracts each channel's mean.
    """
    channels, resize = (student[1], teacher[1]), student[-2:] != teacher[-2:]
    return Adapter(channels, kernel_size=kernel_size, resize=resize, always=always, bias=bias)

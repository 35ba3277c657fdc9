"""Adapters: they bring a student's feature map to the teacher's channels and size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from kdbench.distill.captures import Shape
from kdbench.distill.losses import at_least_float32


def resized(features: Tensor, like: Tensor) -> Tensor:
    """Resize a map to the size of another: bilinear, in at least float32; unchanged where the sizes agree.

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
    """Class indices at the size of a map: nearest neighbour; as they are where the sizes agree.

    Args:
        labels: (B, h, w) integers.
        like: (..., H, W).

    Returns:
        (B, H, W) of the labels' type.
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
        kernel_size: Odd kernel of the convolution; the map keeps its size.
        resize: Interpolate to the target's height and width.
        always: Convolve also where the channels agree.
        bias: Whether the convolution adds a constant a channel.
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
        """(B, C_student, H, W) -> (B, C_teacher, *size).

        Raises:
            ValueError: If the sizes differ although the probed ones agreed.
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
    """Adapter from probed shapes (B, C, H, W): a convolution where channels differ, interpolation where sizes do.

    Args:
        student: Probed shape of the student's map.
        teacher: Probed shape of the teacher's.
        kernel_size: Kernel of the convolution.
        always: Convolve also where the channels agree.
        bias: Whether the convolution adds a constant a channel: without effect on a loss that takes it away again.
    """
    channels, resize = (student[1], teacher[1]), student[-2:] != teacher[-2:]
    return Adapter(channels, kernel_size=kernel_size, resize=resize, always=always, bias=bias)

"""The transform layer r: it brings a student's map to the teacher's channels and resolution."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench.api import Adapter, Shape


class Upsampled(nn.Module):
    """Transposed convolution to twice the size, then 3x3 to the teacher's channels (scale mimic)."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        # Kernel 3, stride 2, padding 1 reach 2n - 1 and 2n: both sizes that a map half as large comes from.
        self.up = nn.ConvTranspose2d(channels[0], channels[0], 3, stride=2, padding=1)
        self.conv = nn.Conv2d(*channels, 3, padding=1)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C_student, h, w) -> (B, C_teacher, *size), size 2h - 1 or 2h by 2w - 1 or 2w."""
        adapted: Tensor = self.conv(self.up(features, output_size=list(size)))
        return adapted


def transforms(levels: list[tuple[Shape, Shape]]) -> nn.ModuleList:
    """Build a 3x3 transform for each level; upsampled first where the finest student map is half the teacher's.

    Args:
        levels: Student's and teacher's shapes (B, C, H, W), finest first.
    """
    student, teacher = levels[0]
    sizes = list(zip(student[-2:], teacher[-2:], strict=True))
    half = student[-2:] != teacher[-2:] and all(2 * ours - 1 <= theirs <= 2 * ours for ours, theirs in sizes)
    if half:
        return nn.ModuleList(Upsampled((ours[1], theirs[1])) for ours, theirs in levels)
    resize = student[-2:] != teacher[-2:]
    return nn.ModuleList(
        Adapter((ours[1], theirs[1]), kernel_size=3, resize=resize, always=True) for ours, theirs in levels
    )

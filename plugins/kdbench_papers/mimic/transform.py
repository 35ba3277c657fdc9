"""The transform layer r, which converts a student's map to the teacher's channels and resolution."""

from __future__ import annotations

from torch import Tensor, nn

from kdbench.api import Adapter, Shape


class Upsampled(nn.Module):
    """Transposed convolution to twice the size, then a 3x3 convolution to the teacher's channels (scale mimic)."""

    def __init__(self, channels: tuple[int, int]) -> None:
        super().__init__()
        # Kernel 3, stride 2 and padding 1 can give both 2n - 1 and 2n, the two sizes whose half is n.
        self.up = nn.ConvTranspose2d(channels[0], channels[0], 3, stride=2, padding=1)
        self.conv = nn.Conv2d(*channels, 3, padding=1)

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Convert (B, C_student, h, w) to (B, C_teacher, *size), where size is 2h - 1 or 2h by 2w - 1 or 2w."""
        adapted: Tensor = self.conv(self.up(features, output_size=list(size)))
        return adapted


def transforms(levels: list[tuple[Shape, Shape]]) -> nn.ModuleList:
    """Build a 3x3 transform for each level; it upsamples first if the student's maps are half the teacher's size.

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

"""Overlap of boxes. Source: mmcv/ops/csrc/common/cuda/bbox_overlaps_cuda_kernel.cuh."""

from __future__ import annotations

from torch import Tensor

from kdbench.openmmlab.ops.precision import widened


def bbox_overlaps(
    bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int
) -> None:
    """Write overlaps into ``ious``: ``(N,)`` row by row when aligned, else ``(N, M)``.

    Args:
        bboxes1: ``(N, 4)`` corners.
        bboxes2: ``(M, 4)`` corners.
        ious: Output.
        mode: 0 intersection over union, 1 over the area of ``bboxes1``.
        aligned: Compare row by row.
        offset: 0, or 1 where a box includes its last pixel; also the smallest divisor.
    """
    first, second = widened(bboxes1), widened(bboxes2)
    if not aligned:
        first, second = first[:, None], second[None]
    size = (first[..., 2:].minimum(second[..., 2:]) - first[..., :2].maximum(second[..., :2]) + offset).clamp(
        min=0
    )
    shared = size.prod(dim=-1)
    base = (first[..., 2:] - first[..., :2] + offset).prod(dim=-1)
    if mode == 0:
        base = base + (second[..., 2:] - second[..., :2] + offset).prod(dim=-1) - shared
    ious.copy_(shared / base.clamp(min=offset))

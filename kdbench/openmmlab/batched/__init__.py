"""mmdet's and mmseg's work on a batch, done for all images at once instead of image by image.

On a GPU a step of a detector costs the operators that it launches and the times that the host waits for it. The
parts here give the same bits as mmdet's and mmseg's own code, which still runs on a CPU and with options that are
not covered.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def batch_parts(model: nn.Module, library: str) -> None:
    """Replace the parts of a model that can work on a whole batch with the same bits.

    Only parts of exactly the classes known here change, and they stay instances of them.

    Args:
        model: A built model.
        library: ``mmdet`` or ``mmseg``.
    """
    kinds = _detection() if library == "mmdet" else _segmentation()
    for part in model.modules():
        _become(part, kinds)
        for name in ("prior_generator", "cls_criterion"):
            if name in vars(part):
                _exchange(part, name, kinds)


def _become(part: Any, kinds: dict[Any, Any]) -> None:
    if type(part) in kinds:
        part.__class__ = kinds[type(part)]


def _exchange(part: Any, name: str, kinds: dict[Any, Any]) -> None:
    """Replace an attribute that is no module: its class, or the function itself."""
    value = getattr(part, name)
    if callable(value) and value in kinds:
        setattr(part, name, kinds[value])
    _become(value, kinds)


def _detection() -> dict[Any, Any]:
    from mmdet.models import dense_heads, roi_heads
    from mmdet.models.data_preprocessors import DetDataPreprocessor
    from mmdet.models.losses.cross_entropy_loss import binary_cross_entropy
    from mmdet.models.task_modules.prior_generators import AnchorGenerator

    from kdbench.openmmlab.batched import heads
    from kdbench.openmmlab.batched import roi_heads as batched_roi_heads

    return {
        dense_heads.GFLHead: heads.GFLHead,
        dense_heads.RPNHead: heads.RPNHead,
        dense_heads.RetinaHead: heads.RetinaHead,
        roi_heads.StandardRoIHead: batched_roi_heads.StandardRoIHead,
        roi_heads.Shared2FCBBoxHead: batched_roi_heads.Shared2FCBBoxHead,
        DetDataPreprocessor: _moved_at_once(DetDataPreprocessor),
        AnchorGenerator: heads.ReusedAnchors,
        binary_cross_entropy: heads.class_cross_entropy,
    }


def _segmentation() -> dict[Any, Any]:
    from mmseg.models import SegDataPreProcessor

    return {SegDataPreProcessor: _moved_at_once(SegDataPreProcessor)}


def _moved_at_once(kind: type) -> type:
    from kdbench.openmmlab.batched.transfer import MovedAtOnce

    return type(kind.__name__, (MovedAtOnce, kind), {})

"""Puts what works on whole batches into a model that OpenMMLab built."""

from __future__ import annotations

from typing import Any

from torch import nn


def work_at_once(model: nn.Module, library: str) -> None:
    """Let a model's parts treat a batch at once where the same bits come out.

    Only parts of exactly the classes that are known here change, and they stay instances of these.

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
    """Of an attribute that is no module: its class, or a function itself."""
    value = getattr(part, name)
    if callable(value) and value in kinds:
        setattr(part, name, kinds[value])
    _become(value, kinds)


def _detection() -> dict[Any, Any]:
    from mmdet.models import dense_heads, roi_heads
    from mmdet.models.data_preprocessors import DetDataPreprocessor
    from mmdet.models.losses.cross_entropy_loss import binary_cross_entropy
    from mmdet.models.task_modules.prior_generators import AnchorGenerator

    from kdbench.openmmlab.batched import anchors, bbox_heads, heads, losses
    from kdbench.openmmlab.batched import roi_heads as batched_roi_heads

    return {
        dense_heads.GFLHead: heads.GFLHead,
        dense_heads.RPNHead: heads.RPNHead,
        dense_heads.RetinaHead: heads.RetinaHead,
        roi_heads.StandardRoIHead: batched_roi_heads.StandardRoIHead,
        roi_heads.Shared2FCBBoxHead: bbox_heads.Shared2FCBBoxHead,
        DetDataPreprocessor: _moved_at_once(DetDataPreprocessor),
        AnchorGenerator: anchors.KeptAnchors,
        binary_cross_entropy: losses.without_waiting,
    }


def _segmentation() -> dict[Any, Any]:
    from mmseg.models import SegDataPreProcessor

    return {SegDataPreProcessor: _moved_at_once(SegDataPreProcessor)}


def _moved_at_once(kind: type) -> type:
    from kdbench.openmmlab.batched.preprocessing import MovedAtOnce

    return type(kind.__name__, (MovedAtOnce, kind), {})

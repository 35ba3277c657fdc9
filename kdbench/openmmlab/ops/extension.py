"""The module object that stands in for ``mmcv._ext``."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from types import ModuleType

import torchvision

from kdbench.openmmlab.ops import boxes, deformable, focal, rois
from kdbench.openmmlab.ops.common import Op, unsupported


def get_compiler_version() -> str:
    """Return the compiler of the ops for mmcv's environment report."""
    return f"none (ops of torchvision {torchvision.__version__})"


def get_compiling_cuda_version() -> str:
    """Return the CUDA version of the ops for mmcv's environment report."""
    return "not available"


SUPPORTED: dict[str, Op] = {
    op.__name__: op
    for op in (
        get_compiler_version,
        get_compiling_cuda_version,
        boxes.nms,
        boxes.softnms,
        boxes.bbox_overlaps,
        rois.roi_align_forward,
        rois.roi_align_backward,
        rois.roi_pool_forward,
        rois.roi_pool_backward,
        focal.sigmoid_focal_loss_forward,
        focal.sigmoid_focal_loss_backward,
        focal.softmax_focal_loss_forward,
        focal.softmax_focal_loss_backward,
        deformable.deform_conv_forward,
        deformable.deform_conv_backward_input,
        deformable.deform_conv_backward_parameters,
        deformable.modulated_deform_conv_forward,
        deformable.modulated_deform_conv_backward,
        deformable.ms_deform_attn_forward,
        deformable.ms_deform_attn_backward,
    )
}


class StandIn(ModuleType):
    """A module with :data:`SUPPORTED`; every other public name is a function that raises when it is called.

    Attributes:
        __failure__: Why compiled ops that are on the disk did not load, or None.
    """

    def __init__(self, name: str, reason: str | None = None) -> None:
        super().__init__(name, "torchvision's ops under the names of mmcv's compiled ones.")
        self.__spec__ = ModuleSpec(name, loader=None)
        self.__failure__ = reason
        self.__dict__.update(SUPPORTED)

    def __getattr__(self, name: str) -> Op:
        if name.startswith("_"):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return unsupported(name)

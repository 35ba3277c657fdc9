"""The module object that stands in for ``mmcv._ext``."""

from __future__ import annotations

from importlib.machinery import ModuleSpec
from types import ModuleType

import torchvision

from kdbench.openmmlab.ops import attention, boxes, deform, focal, nms, roi_align, roi_pool
from kdbench.openmmlab.ops.unsupported import Op, unsupported


def get_compiler_version() -> str:
    """Return what mmcv's environment report shows as the compiler of the ops."""
    return f"none (ops of torchvision {torchvision.__version__})"


def get_compiling_cuda_version() -> str:
    """Return what mmcv's environment report shows as the CUDA of the ops."""
    return "not available"


SUPPORTED: dict[str, Op] = {
    op.__name__: op
    for op in (
        get_compiler_version,
        get_compiling_cuda_version,
        nms.nms,
        nms.softnms,
        boxes.bbox_overlaps,
        roi_align.roi_align_forward,
        roi_align.roi_align_backward,
        roi_pool.roi_pool_forward,
        roi_pool.roi_pool_backward,
        focal.sigmoid_focal_loss_forward,
        focal.sigmoid_focal_loss_backward,
        focal.softmax_focal_loss_forward,
        focal.softmax_focal_loss_backward,
        deform.deform_conv_forward,
        deform.deform_conv_backward_input,
        deform.deform_conv_backward_parameters,
        deform.modulated_deform_conv_forward,
        deform.modulated_deform_conv_backward,
        attention.ms_deform_attn_forward,
        attention.ms_deform_attn_backward,
    )
}


class StandIn(ModuleType):
    """Module with :data:`SUPPORTED`; any other public name is there too, and raises when it is called.

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

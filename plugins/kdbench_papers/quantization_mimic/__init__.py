"""Quantization Mimic: Towards Very Tiny CNN for Object Detection (Wei et al., ECCV 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_papers.common import lazily

if TYPE_CHECKING:
    from kdbench_papers.quantization_mimic.losses import quantize, quantized_region_l2

__all__ = ["quantize", "quantized_region_l2"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, __all__)

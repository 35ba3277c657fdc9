"""Mimicking Very Efficient Network for Object Detection (Li, Jin, Yan; CVPR 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_papers.common import lazily

if TYPE_CHECKING:
    from kdbench_papers.mimic.losses import region_l2

__all__ = ["region_l2"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, __all__)

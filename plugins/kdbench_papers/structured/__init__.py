"""Structured Knowledge Distillation for Semantic Segmentation (Liu et al.; CVPR 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_papers.common import lazily

if TYPE_CHECKING:
    from kdbench_papers.structured.losses import (
        adversarial_loss,
        critic_loss,
        pair_wise_loss,
        pixel_wise_loss,
    )

__all__ = ["adversarial_loss", "critic_loss", "pair_wise_loss", "pixel_wise_loss"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, __all__)

"""Distilling the Knowledge in a Neural Network (Hinton, Vinyals, Dean; 2014)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_papers.common import lazily

if TYPE_CHECKING:
    from kdbench_papers.hinton.losses import (
        ensemble_logits,
        logits_loss,
        sigmoid_soft_target_loss,
        soft_target_loss,
    )

__all__ = ["ensemble_logits", "logits_loss", "sigmoid_soft_target_loss", "soft_target_loss"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, __all__)

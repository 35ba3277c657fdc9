"""Distilling Object Detectors with Fine-grained Feature Imitation (Wang et al.; CVPR 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_papers.common import lazily

if TYPE_CHECKING:
    from kdbench_papers.fine_grained.losses import imitation_loss, imitation_mask

__all__ = ["imitation_loss", "imitation_mask"]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, __all__)

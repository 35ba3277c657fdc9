"""Learning Efficient Object Detection Models with Knowledge Distillation (Chen et al.; NeurIPS 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench_papers.common import lazily

if TYPE_CHECKING:
    from kdbench_papers.chen.losses import (
        hint_loss,
        regression_l2,
        teacher_bounded_l2,
        weighted_sigmoid_cross_entropy,
        weighted_soft_cross_entropy,
    )

__all__ = [
    "hint_loss",
    "regression_l2",
    "teacher_bounded_l2",
    "weighted_sigmoid_cross_entropy",
    "weighted_soft_cross_entropy",
]

if not TYPE_CHECKING:
    __getattr__ = lazily(__name__, __all__)

"""CPU-sized pairs: train from scratch in minutes on two cores, and tell methods apart."""

from __future__ import annotations

from typing import Any

from kdbench.pairs.small import faster_rcnn, gfl
from kdbench.specs import Pair, Schedule


def recipe(iterations: int, lr: float, scale: tuple[int, int], **more: Any) -> Schedule:
    """AdamW with warm-up and cosine decay to 0, so that the last weights are settled."""
    fixed: dict[str, Any] = {"batch_size": 8, "optimizer": "AdamW", "weight_decay": 0.05, "warmup": 100}
    return Schedule(
        iterations=iterations, lr=lr, scale=scale, **{**fixed, "clip_norm": 10.0, "validations": 3, **more}
    )


PAIRS = [
    Pair(
        name="digits-gfl",
        title="GFL, ResNet-18 at half width to ResNet-18 at 1/8 width",
        dataset="digits",
        task="detection",
        family="dense",
        teacher=gfl(18, 32, 48, first=1),
        student=gfl(18, 8, 16, first=1),
        schedule=recipe(1500, 0.004, (96, 96)),
        teacher_schedule=recipe(2500, 0.001, (96, 96)),
        cpu=True,
    ),
    Pair(
        name="digits-faster-rcnn",
        title="Faster R-CNN, ResNet-18 at half width to ResNet-18 at 1/8 width",
        dataset="digits",
        task="detection",
        family="two-stage",
        teacher=faster_rcnn(18, 32, 48, first=1, hidden=256),
        student=faster_rcnn(18, 8, 16, first=1, hidden=64),
        schedule=recipe(1000, 0.002, (96, 96)),
        teacher_schedule=recipe(1500, 0.001, (96, 96)),
        cpu=True,
    ),
]

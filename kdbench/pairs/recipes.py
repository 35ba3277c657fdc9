"""The recipe of the pairs that train from scratch."""

from __future__ import annotations

from kdbench.specs import Schedule


def adamw(
    iterations: int, lr: float, scale: tuple[int, int], flip: float = 0.0, weight_decay: float = 0.05
) -> Schedule:
    """Return a schedule of AdamW at batch 8 with 100 iterations of warm-up and cosine decay to 0.

    Args:
        iterations: Length of the training.
        lr: Peak learning rate.
        scale: Width and height of the images, in pixels.
        flip: Probability of a horizontal flip.
        weight_decay: Weight decay of AdamW.
    """
    return Schedule(
        iterations=iterations,
        lr=lr,
        scale=scale,
        flip=flip,
        batch_size=8,
        optimizer="AdamW",
        weight_decay=weight_decay,
        warmup=100,
        clip_norm=10.0,
        validations=2,
    )

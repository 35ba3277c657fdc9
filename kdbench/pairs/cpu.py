"""CPU-sized pairs, which train from scratch in minutes on two cores and still tell methods apart."""

from __future__ import annotations

from kdbench.pairs.recipes import adamw
from kdbench.pairs.small import SMALLER_ANCHORS, faster_rcnn, gfl, pspnet
from kdbench.specs import Family, Model, Pair, Schedule

DIGITS = (96, 96)
BCCD = (256, 192)
BCCD_DENSE = (128, 96)
"""A size at which a GFL of 4 base channels misses the platelets (7 pixels); at 160 x 120 its AP50 would be 0.83."""
CAMVID = (160, 120)
DEEPPCB = (192, 192)
"""A size at which most defects are 8 to 12 pixels wide."""
CARDS = (240, 180)
"""Nearly the original size of the photos, upright or not: a nine and a ten differ in the number of spots."""
DIGITS_SEG = (128, 128)
"""Larger than the scenes, since the smallest digits would otherwise be one cell at stride 8."""
DIGITS_WEIGHTS = [0.2] + [1.0] * 10
"""Class weights; the background fills nine tenths of the scenes."""
LIGHT_DECAY = 1e-4
"""Weight decay of narrow models that learn slowly, which AdamW's usual 0.05 would hold back."""
CAMVID_WEIGHTS = [0.5, 0.4, 2.1, 0.4, 1.0, 0.7, 2.0, 2.0, 0.9, 2.7, 3.8]
"""Class weights: square root of the median class frequency in the training masks / the class's frequency."""


def pair(
    dataset: str,
    detector: str,
    family: Family,
    models: tuple[Model, Model],
    recipes: tuple[Schedule, Schedule],
    kind: str = "",
) -> Pair:
    """Return a pair of models (teacher, student) with their recipes; ``kind`` is appended to its name."""
    titles = {"gfl": "GFL", "faster-rcnn": "Faster R-CNN", "pspnet": "PSPNet"}
    widths = [model.edits["backbone.base_channels"] for model in models]
    return Pair(
        name=f"{dataset}-{detector}{kind}",
        title=f"{titles[detector]}, ResNet-18 with {widths[0]} to {widths[1]} base channels, from scratch",
        dataset=dataset,
        task="segmentation" if family == "segmentation" else "detection",
        family=family,
        teacher=models[0],
        student=models[1],
        schedule=recipes[1],
        teacher_schedule=recipes[0],
        cpu=True,
    )


def uncropped(schedule: Schedule) -> Schedule:
    """Return a schedule that keeps the aspect ratio, for images of which some are upright and some are not."""
    return schedule.model_copy(update={"keep_ratio": True})


TWO_STAGE = (faster_rcnn(18, 24, 48, first=1, hidden=256), faster_rcnn(18, 8, 16, first=1, hidden=64))
TWO_STAGE_BCCD = (
    faster_rcnn(18, 24, 48, first=1, hidden=256, anchors=SMALLER_ANCHORS),
    faster_rcnn(18, 8, 16, first=1, hidden=64, anchors=SMALLER_ANCHORS),
)
"""Models with smaller anchors, since platelets are some 14 pixels wide."""
TINY = faster_rcnn(18, 4, 8, first=1, hidden=32)
"""A sixteenth of ResNet-18's width: the very tiny student of quantization mimic (Wei et al., ECCV 2018)."""
DENSE = (gfl(18, 24, 48, first=0, norm="head"), gfl(18, 12, 24, first=0, norm="head"))
"""Models from stride 4; from stride 8, seeds differ by 5 points, since the smallest objects hardly fill a cell."""
DENSE_BCCD = (gfl(18, 24, 48, first=0, norm="neck"), gfl(18, 4, 8, first=0, norm="neck"))
TWO_STAGE_DEEPPCB = (
    faster_rcnn(18, 24, 48, first=0, hidden=256, anchors=SMALLER_ANCHORS),
    faster_rcnn(18, 8, 16, first=0, hidden=64, anchors=SMALLER_ANCHORS),
)
DENSE_DEEPPCB = (gfl(18, 24, 48, first=0, norm="neck"), gfl(18, 8, 16, first=0, norm="neck"))
DENSE_CARDS = (gfl(18, 24, 48, first=1, norm="neck"), gfl(18, 8, 16, first=1, norm="neck"))

PAIRS = [
    pair(
        "digits",
        "faster-rcnn",
        "two-stage",
        TWO_STAGE,
        (adamw(1500, 0.003, DIGITS), adamw(1000, 0.006, DIGITS)),
    ),
    pair(
        "digits",
        "gfl",
        "dense",
        DENSE,
        (
            adamw(1500, 0.006, DIGITS, weight_decay=LIGHT_DECAY),
            adamw(1500, 0.006, DIGITS, weight_decay=LIGHT_DECAY),
        ),
    ),
    pair(
        "digits",
        "faster-rcnn",
        "two-stage",
        (TWO_STAGE[0], TINY),
        (adamw(1500, 0.003, DIGITS), adamw(1000, 0.006, DIGITS)),
        "-tiny",
    ),
    pair(
        "bccd",
        "faster-rcnn",
        "two-stage",
        TWO_STAGE_BCCD,
        (adamw(1000, 0.003, BCCD, 0.5), adamw(300, 0.006, BCCD, 0.5)),
    ),
    pair(
        "bccd",
        "gfl",
        "dense",
        DENSE_BCCD,
        (adamw(600, 0.003, BCCD_DENSE, 0.5), adamw(500, 0.01, BCCD_DENSE, 0.5)),
    ),
    pair(
        "deeppcb",
        "gfl",
        "dense",
        DENSE_DEEPPCB,
        (adamw(800, 0.003, DEEPPCB, 0.5), adamw(500, 0.01, DEEPPCB, 0.5)),
    ),
    pair(
        "deeppcb",
        "faster-rcnn",
        "two-stage",
        TWO_STAGE_DEEPPCB,
        (adamw(800, 0.003, DEEPPCB, 0.5), adamw(500, 0.006, DEEPPCB, 0.5)),
    ),
    pair(
        "cards",
        "faster-rcnn",
        "two-stage",
        TWO_STAGE,
        (uncropped(adamw(1200, 0.003, CARDS)), uncropped(adamw(500, 0.006, CARDS))),
    ),
    pair(
        "cards",
        "gfl",
        "dense",
        DENSE_CARDS,
        (uncropped(adamw(1200, 0.003, CARDS)), uncropped(adamw(500, 0.01, CARDS))),
    ),
    pair(
        "digits-seg",
        "pspnet",
        "segmentation",
        (pspnet(18, 32, 64, DIGITS_WEIGHTS), pspnet(18, 10, 20, DIGITS_WEIGHTS)),
        (
            adamw(2500, 0.04, DIGITS_SEG, weight_decay=LIGHT_DECAY),
            adamw(2400, 0.04, DIGITS_SEG, weight_decay=LIGHT_DECAY),
        ),
    ),
    pair(
        "camvid",
        "pspnet",
        "segmentation",
        (pspnet(18, 32, 48, CAMVID_WEIGHTS), pspnet(18, 8, 16, CAMVID_WEIGHTS)),
        (adamw(1200, 0.006, CAMVID, 0.5), adamw(300, 0.01, CAMVID, 0.5)),
    ),
]

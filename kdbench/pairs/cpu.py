"""CPU-sized pairs: train from scratch in minutes on two cores, and separate methods."""

from __future__ import annotations

from kdbench.pairs.recipes import adamw
from kdbench.pairs.small import SMALLER_ANCHORS, faster_rcnn, gfl, pspnet
from kdbench.specs import Family, Model, Pair, Schedule

DIGITS = (96, 96)
BCCD = (256, 192)
BCCD_DENSE = (128, 96)
"""At 160 x 120 a GFL of 4 base channels reaches an AP50 of 0.83; here it misses the platelets, 7 pixels wide."""
CAMVID = (160, 120)
DEEPPCB = (192, 192)
"""Most defects are 8 to 12 pixels wide here."""
CARDS = (240, 180)
"""Nearly the photos' own size, upright or not: the number of spots tells a nine from a ten."""
DIGITS_SEG = (128, 128)
"""Enlarged: at stride 8 the smallest digits would be one cell."""
DIGITS_WEIGHTS = [0.2] + [1.0] * 10
"""The background fills nine tenths of the scenes."""
LIGHT_DECAY = 1e-4
"""Narrow models that learn slowly are held back by AdamW's usual 0.05."""
CAMVID_WEIGHTS = [0.5, 0.4, 2.1, 0.4, 1.0, 0.7, 2.0, 2.0, 0.9, 2.7, 3.8]
"""Square root of the median class frequency in the training masks over each class's own."""


def pair(
    dataset: str,
    detector: str,
    family: Family,
    models: tuple[Model, Model],
    recipes: tuple[Schedule, Schedule],
    kind: str = "",
) -> Pair:
    """Return a pair named after what it is: teacher first, then student, with ``kind`` at the end."""
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
    """Return a schedule that keeps the images' aspect ratio: some are upright, some are not."""
    return schedule.model_copy(update={"keep_ratio": True})


TWO_STAGE = (faster_rcnn(18, 24, 48, first=1, hidden=256), faster_rcnn(18, 8, 16, first=1, hidden=64))
TWO_STAGE_BCCD = (
    faster_rcnn(18, 24, 48, first=1, hidden=256, anchors=SMALLER_ANCHORS),
    faster_rcnn(18, 8, 16, first=1, hidden=64, anchors=SMALLER_ANCHORS),
)
"""Platelets are some 14 pixels wide."""
TINY = faster_rcnn(18, 4, 8, first=1, hidden=32)
"""A sixteenth of ResNet-18's width: the very tiny student of quantization mimic (Wei et al., ECCV 2018)."""
DENSE = (gfl(18, 24, 48, first=0, norm="head"), gfl(18, 12, 24, first=0, norm="head"))
"""From stride 4: from stride 8, seeds differ by 5 points, since the smallest objects have hardly a cell."""
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

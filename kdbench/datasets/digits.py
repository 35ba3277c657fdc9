"""Scenes of handwritten digits, made on the spot: the embedded datasets for detection and segmentation."""

from __future__ import annotations

from kdbench.dataset_cards import Dataset, Split

DIGITS = tuple(str(digit) for digit in range(10))
FOLDER = "digits"
PREPARE = "kdbench.datasets.digits_files:prepare"
LICENSE = "CC BY 4.0 (Optical Recognition of Handwritten Digits, UCI); the scenes are made by kdbench"
LINK = "https://archive.ics.uci.edu/dataset/80"
CITATION = "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998"


def _splits(part: str, annotations: str) -> dict[str, tuple[Split, ...]]:
    lists = {name: f"ImageSets/{part}/{name}.txt" for name in ("train", "test")}
    return {name: (Split(names, "JPEGImages", annotations),) for name, names in lists.items()}


detection = Dataset(
    name="digits",
    title="Handwritten digits in cluttered 96 x 96 scenes (embedded, made in seconds)",
    task="detection",
    classes=DIGITS,
    metric="AP50",
    splits=_splits("Main", "Annotations"),
    image_suffix=".png",
    prepare=PREPARE,
    folder=FOLDER,
    license=LICENSE,
    link=LINK,
    citation=CITATION,
    embedded=True,
)

segmentation = Dataset(
    name="digits-seg",
    title="The scenes of digits with a class for each pixel (embedded, made in seconds)",
    task="segmentation",
    classes=("background", *DIGITS),
    metric="mIoU",
    splits=_splits("Segmentation", "SegmentationClass"),
    image_suffix=".png",
    prepare=PREPARE,
    folder=FOLDER,
    license=LICENSE,
    link=LINK,
    citation=CITATION,
    embedded=True,
)

"""PASCAL VOC: boxes of 2007 alone, or with 2012 for training, judged on 2007 test; masks of 2012."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.packages import Package, link_or_fetch

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
SERVER = "http://host.robots.ox.ac.uk/pascal/VOC"
VOC2007 = Package(
    "VOC2007",
    "VOCdevkit/VOC2007",
    {
        f"{SERVER}/voc2007/VOCtrainval_06-Nov-2007.tar": (
            "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508"
        ),
        f"{SERVER}/voc2007/VOCtest_06-Nov-2007.tar": (
            "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892"
        ),
    },
)
VOC2012 = Package(
    "VOC2012",
    "VOCdevkit/VOC2012",
    {
        f"{SERVER}/voc2012/VOCtrainval_11-May-2012.tar": (
            "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb"
        )
    },
)
"""The hashes are the widely published ones."""


def _part(year: int, name: str) -> Split:
    base = f"VOC{year}"
    return Split(f"{base}/ImageSets/Main/{name}.txt", f"{base}/JPEGImages", f"{base}/Annotations")


voc = Dataset(
    name="voc",
    title="PASCAL VOC: 2007 and 2012 trainval for training (16551 images), 2007 test (4952)",
    task="detection",
    classes=CLASSES,
    metric="AP50_11point",
    splits={"train": (_part(2007, "trainval"), _part(2012, "trainval")), "test": (_part(2007, "test"),)},
    image_suffix=".jpg",
    prepare="kdbench.datasets.voc:prepare",
    folder="voc",
    license="images from flickr under flickr's terms of use; for research",
    link="http://host.robots.ox.ac.uk/pascal/VOC/",
    citation="M. Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 88(2), 2010",
    images={"train": 16551, "test": 4952},
)


def _masks(name: str) -> tuple[Split, ...]:
    base = "VOC2012"
    return (
        Split(f"{base}/ImageSets/Segmentation/{name}.txt", f"{base}/JPEGImages", f"{base}/SegmentationClass"),
    )


voc12seg = replace(
    voc,
    name="voc12seg",
    title="PASCAL VOC 2012 segmentation: 1464 images for training, 1449 to judge by",
    task="segmentation",
    classes=("background", *CLASSES),
    metric="mIoU",
    splits={"train": _masks("train"), "test": _masks("val")},
    prepare="kdbench.datasets.voc:prepare12",
    images={"train": 1464, "test": 1449},
)
voc07 = replace(
    voc,
    name="voc07",
    title="PASCAL VOC 2007: trainval for training (5011 images), test (4952)",
    splits={"train": (_part(2007, "trainval"),), "test": (_part(2007, "test"),)},
    prepare="kdbench.datasets.voc:prepare07",
    images={"train": 5011, "test": 4952},
)


INSIDE = ("VOCdevkit",)

prepare = partial(link_or_fetch, voc, (VOC2007, VOC2012), inside=INSIDE)
"""Link a VOCdevkit (or its parent) on disk, or download VOC 2007 and 2012 (2.7 GiB)."""
prepare07 = partial(link_or_fetch, voc07, (VOC2007,), inside=INSIDE)
"""Link a VOCdevkit (or its parent) on disk, or download VOC 2007 (0.9 GiB)."""
prepare12 = partial(link_or_fetch, voc12seg, (VOC2012,), inside=INSIDE)
"""Link a VOCdevkit (or its parent) on disk, or download VOC 2012 (1.9 GiB)."""

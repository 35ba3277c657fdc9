"""Cityscapes (Cordts et al., CVPR 2016): streets of 50 cities, with the finely annotated masks."""

from __future__ import annotations

from functools import partial

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.link import link_or_tell

IDS = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
"""Label id -> class, of those that are judged. A licence plate's id of -1 is 255 in the masks."""


def _split(name: str) -> tuple[Split, ...]:
    return (Split("", f"leftImg8bit/{name}", f"gtFine/{name}"),)


card = Dataset(
    name="cityscapes",
    title="Cityscapes: streets of 2048 x 1024 with 19 classes, 2975 images for training, 500 to judge by",
    task="segmentation",
    classes=tuple(IDS.values()),
    metric="mIoU",
    splits={"train": _split("train"), "test": _split("val")},
    image_suffix="_leftImg8bit.png",
    prepare="kdbench.datasets.cityscapes:prepare",
    folder="cityscapes",
    license="for non-commercial research, after registration; not to be passed on",
    link="https://www.cityscapes-dataset.com/downloads/",
    citation="M. Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
    mask_suffix="_gtFine_labelIds.png",
    mask_values={number: IDS.get(number) for number in range(34)},
    images={"train": 2975, "test": 500},
)

prepare = partial(
    link_or_tell,
    card,
    inside=("cityscapes", "Cityscapes"),
    files=("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"),
)
"""Link the folder that has both archives unpacked, or its parent."""

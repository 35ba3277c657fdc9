"""BCCD: blood cells under the microscope, in VOC layout."""

from __future__ import annotations

from functools import partial

from kdbench.cards import Dataset, Split
from kdbench.datasets.link import link_or_tell


def _split(name: str) -> tuple[Split, ...]:
    return (Split(f"ImageSets/Main/{name}.txt", "JPEGImages", "Annotations"),)


card = Dataset(
    name="bccd",
    title="Blood cells: red, white and platelets in 364 microscope images of 640 x 480",
    task="detection",
    classes=("RBC", "WBC", "Platelets"),
    metric="AP50",
    splits={name: _split(name) for name in ("train", "val", "test")},
    image_suffix=".jpg",
    prepare="kdbench.datasets.bccd:prepare",
    folder="bccd",
    license="MIT",
    link="https://github.com/Shenggan/BCCD_Dataset",
    citation="Shenggan and N. Chen, BCCD Dataset, GitHub, 2017",
)

prepare = partial(link_or_tell, card, inside=("BCCD",))
"""Link ``folder`` to ``source``: the repository's BCCD folder, or the repository."""

"""The formats of datasets: how each names its images, and where their annotations are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdbench.dataset_cards import Dataset
from kdbench.datasets import caltech, coco, ilsvrc, kitti, widerface
from kdbench.datasets.boxes import Annotation, read_annotation


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        suffix: Ending of the file that has an image's annotation; empty where one file has those of all.
        names: Reads the images' names from the file of all annotations; None where a text file lists them.
        boxes: Reads an image's boxes from its annotation file, given the image's name; None for masks. Raises
            ValueError, in words, where the file is malformed.
        truth: Reads what the format's own evaluation judges an image by, given the image's name and the classes;
            None where boxes or masks are that.
        beside: Returns the other files that an annotation is read with, or its split judged by, given its path and
            the name of the split; None where there are none.
        ignores: Whether anchors in its ignored boxes are no background either.
    """

    suffix: str
    names: Callable[[Path], list[str]] | None = None
    boxes: Callable[[Path, str], Annotation] | None = None
    truth: Callable[[Path, str, Sequence[str]], Any] | None = None
    beside: Callable[[Path, str], list[Path]] | None = None
    ignores: bool = False


FORMATS = {
    "voc": Format(".xml", boxes=lambda path, name: read_annotation(path.read_bytes())),
    "ilsvrc": Format(".xml", boxes=ilsvrc.annotation_of, beside=ilsvrc.beside),
    "masks": Format(".png"),
    "coco": Format("", coco.names_of, coco.annotation_of, coco.truth_of, ignores=True),
    "kitti": Format(".txt", None, kitti.annotation_of, kitti.truth_of, ignores=True),
    "caltech": Format(".jpg.txt", None, caltech.annotation_of, caltech.truth_of, ignores=True),
    "widerface": Format(
        "", widerface.names_of, widerface.annotation_of, widerface.truth_of, widerface.beside, ignores=True
    ),
}
"""Name in a dataset's card -> format."""


def format_of(dataset: Dataset) -> Format:
    """Return the format of a dataset."""
    return FORMATS[dataset.layout]


def read_boxes(dataset: Dataset, path: Path, name: str) -> Annotation:
    """Return an image's boxes. Raises ValueError, in words, where its annotation is malformed.

    Args:
        dataset: A detection dataset.
        path: The image's annotation.
        name: The image's name.
    """
    boxes = format_of(dataset).boxes
    assert boxes is not None, "masks have no boxes"
    return boxes(path, name)

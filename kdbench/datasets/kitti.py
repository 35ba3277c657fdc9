"""KITTI's label files: an image's boxes of the three classes that its benchmark judges.

DontCare regions, and the classes that are near a judged one (Van, Person_sitting), are ignored: neither targets nor
background. Truck, Tram and Misc are background, as in the benchmark.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.datasets.boxes import Annotation, Labelled

if TYPE_CHECKING:
    from kdbench.metrics.kitti import Objects

JUDGED = {"car": "Car", "pedestrian": "Pedestrian", "cyclist": "Cyclist"}
"""Type in lower case -> class."""
IGNORED = ("dontcare", "van", "person_sitting")
OTHERS = ("truck", "tram", "misc")


def annotation_of(path: Path, name: str) -> Annotation:
    """Return the boxes of an image. Raises ValueError, in words, where the file is malformed.

    Args:
        path: The label file.
        name: The image's name, which the file does not repeat.
    """
    found = truth_of(path, name, ())
    boxes = zip(found.types, found.boxes.tolist(), strict=True)
    return Annotation(None, tuple(_labelled(kind, box) for kind, box in boxes), first=0)


def truth_of(path: Path, name: str, classes: object) -> Objects:
    """Return a label file as the benchmark's evaluation wants it; see :func:`annotation_of`."""
    from kdbench.metrics.kitti import read_objects  # imports numpy

    return read_objects(path, scored=False)


def _labelled(kind: str, box: list[float]) -> Labelled:
    if kind not in (*JUDGED, *IGNORED, *OTHERS):
        raise ValueError(f"'{kind}' is no type of KITTI: it has {', '.join([*JUDGED, *IGNORED, *OTHERS])}")
    left, top, right, bottom = box
    empty = right <= left or bottom <= top
    skipped = empty or kind in OTHERS
    return Labelled(
        JUDGED.get(kind, ""), (left, top, right, bottom), ignored=kind in IGNORED, skipped=skipped
    )

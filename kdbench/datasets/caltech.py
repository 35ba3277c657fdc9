"""Caltech Pedestrian's text annotations (bbGt, version 3), with the targets of its subset "Reasonable".

A frame's file has the line ``% bbGt version=3`` and then, for each object, ``label x y w h occluded``, the visible
box ``xv yv wv hv``, ``ignore`` and an angle. As in the benchmark with the new annotations (Zhang et al., CVPR
2016), ignored is what says so, is under 50 pixels high, is less than 65 % visible, or leaves the frame's margin. A
target has 0.41 times its height as its width, about its centre.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kdbench.datasets.boxes import Annotation, Labelled

CLASS = "pedestrian"
HEADER = "% bbGt version=3"
LEAST_HEIGHT, LEAST_VISIBLE, ASPECT = 50, 0.65, 0.41
LEFT, TOP, RIGHT, BOTTOM = 5, 5, 635, 475
"""Between these a target lies, in pixels of a frame of 640 x 480."""

Box = tuple[float, float, float, float]


class Person(NamedTuple):
    """A box x, y, width, height as the benchmark judges it, and whether it is ignored."""

    box: Box
    ignored: bool


def annotation_of(path: Path, name: str) -> Annotation:
    """Return the boxes of a frame. Raises ValueError, in words, where the file is malformed.

    Args:
        path: The frame's annotation.
        name: The frame's name, which the file does not repeat.
    """
    objects = []
    for (x, y, width, height), ignored in people_of(path):
        skipped = width <= 0 or height <= 0
        objects.append(Labelled(CLASS, (x, y, x + width, y + height), ignored=ignored, skipped=skipped))
    return Annotation(None, tuple(objects), first=0, loose=True)


def truth_of(path: Path, name: str, classes: object) -> list[tuple[float, ...]]:
    """Return rows x, y, width, height, ignored of a frame; see :func:`annotation_of`."""
    return [(*person.box, float(person.ignored)) for person in people_of(path)]


def people_of(path: Path) -> list[Person]:
    """Return the boxes of a frame as the benchmark judges them. Raises ValueError where the file is malformed."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if not lines or lines[0].strip() != HEADER:
        raise ValueError(f"no annotation of Caltech: it does not begin with '{HEADER}'")
    return [_person(label, numbers) for label, numbers in _rows(lines[1:])]


def _rows(lines: list[str]) -> Iterator[tuple[str, list[float]]]:
    for number, line in enumerate(lines, 2):
        label, *words = line.split() or [""]
        if not label:
            continue
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) != 11 or not all(map(math.isfinite, numbers)):
            raise ValueError(f"line {number}: give a label and 11 numbers")
        yield label, numbers


def _person(label: str, numbers: list[float]) -> Person:
    x, y, width, height, occluded, *visible, ignore, _ = numbers
    inside = x >= LEFT and y >= TOP and x + width <= RIGHT and y + height <= BOTTOM
    seen = _visibility((x, y, width, height), bool(occluded), tuple(visible))
    if ignore or label == "ignore" or height < LEAST_HEIGHT or seen < LEAST_VISIBLE or not inside:
        return Person((x, y, width, height), ignored=True)
    narrowed = ASPECT * height
    return Person((x + (width - narrowed) / 2, y, narrowed, height), ignored=False)


def _visibility(box: Box, occluded: bool, visible: tuple[float, ...]) -> float:
    """Return the visible share of a box: as in bbGt none of one whose visible box is the whole."""
    if not occluded or not any(visible):
        return 1.0
    if visible == box:
        return 0.0
    return visible[2] * visible[3] / (box[2] * box[3]) if box[2] * box[3] else 0.0

"""WIDER FACE's text file of all boxes.

For each image ``event/name.jpg``, the number of faces, and a line for each face: ``x y w h blur expression
illumination invalid occlusion pose``. An image without faces has one line of zeros. Invalid faces are ignored.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from kdbench.datasets.boxes import Annotation, Labelled
from kdbench.files import parsed_once

CLASS = "face"
OFFICIAL = ("face", "easy", "medium", "hard")
"""Parts of the names of the files that the evaluation reads."""
COLUMNS = 10
LARGEST = 2**31
INVALID = 7
"""Column that says that a face is not judged."""

Faces = dict[str, tuple[tuple[int, ...], ...]]


def names_of(path: Path) -> list[str]:
    """Return the images' names, which begin with their event. Raises OSError, or ValueError in words."""
    return list(_read(path))


def annotation_of(path: Path, name: str) -> Annotation:
    """Return the faces of an image, by its name. Raises OSError, or ValueError in words."""
    return Annotation(None, tuple(map(_labelled, _read(path)[name])), first=0, loose=True)


def beside(path: Path, split: str) -> list[Path]:
    """Return the official ``.mat`` files that a split is judged by, which are in the folder of its text file."""
    return [] if split == "train" else [path.with_name(f"wider_{part}_val.mat") for part in OFFICIAL]


def truth_of(path: Path, name: str, classes: object) -> str:
    """Return the folder of the files that :func:`beside` names."""
    return str(path.parent)


def _labelled(row: tuple[int, ...]) -> Labelled:
    x, y, width, height = row[:4]
    empty = width <= 0 or height <= 0
    return Labelled(CLASS, (x, y, x + width, y + height), ignored=bool(row[INVALID]), skipped=empty)


@parsed_once
def _read(path: Path) -> Faces:
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    faces: Faces = {}
    at = 0
    while at < len(lines):
        name = lines[at]
        count = lines[at + 1] if at + 1 < len(lines) else ""
        if not name.endswith(".jpg") or name.startswith("/") or ".." in PurePosixPath(name).parts:
            raise ValueError(f"line {at + 1}: '{name}' is no image: give event/name.jpg")
        if not count.isdecimal():
            raise ValueError(f"line {at + 2}: '{count}' is no number of faces")
        end = at + 2 + max(1, int(count))
        rows = tuple(_row(lines, number) for number in range(at + 2, end))
        faces[name] = rows[: int(count)]
        at = end
    return faces


def _row(lines: list[str], number: int) -> tuple[int, ...]:
    try:
        row = tuple(int(word) for word in lines[number].split())
    except (IndexError, ValueError):
        row = ()
    if len(row) != COLUMNS or max(map(abs, row)) >= LARGEST:
        raise ValueError(f"line {number + 1}: give {COLUMNS} whole numbers")
    return row

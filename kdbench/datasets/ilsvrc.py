"""ILSVRC's detection annotations: XML as VOC's, with WordNet ids (n02672831) for the classes' names.

Pixels are counted from 0. The names of the ids are in the development kit's map_det.txt, which is looked for in the
folders above an annotation: there, or in ``devkit/data``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from kdbench.datasets.boxes import Annotation, read_annotation
from kdbench.files import parsed_once

TABLE = "map_det.txt"
PLACES = (TABLE, f"devkit/data/{TABLE}")


def annotation_of(path: Path, name: str) -> Annotation:
    """Return the boxes of an image. Raises ValueError, in words, where a file is malformed or missing.

    Args:
        path: The image's annotation.
        name: The image's name, which the file does not repeat.
    """
    found, names = read_annotation(path.read_bytes()), _names(_table(path.parent))
    named = tuple(replace(one, name=names.get(one.name, one.name)) for one in found.objects)
    return replace(found, objects=named, first=0)


def beside(path: Path, split: str) -> list[Path]:
    """Return the table that names an annotation's classes; nothing where there is none, which reading refuses."""
    found = _found(path.parent)
    return [] if found is None else [found]


@lru_cache(maxsize=4096)
def _found(folder: Path) -> Path | None:
    places = (above / place for above in (folder, *folder.parents) for place in PLACES)
    return next((path for path in places if path.is_file()), None)


def _table(folder: Path) -> Path:
    found = _found(folder)
    if found is None:
        raise ValueError(f"no {TABLE} of ILSVRC's development kit lies above it, which names the classes")
    return found


@parsed_once
def _names(path: Path) -> dict[str, str]:
    """Read WordNet id -> class from lines such as ``n02672831 1 accordion``."""
    rows = [line.split(maxsplit=2) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for number, row in enumerate(rows, 1):
        if len(row) < 3:
            raise ValueError(f"{path}, line {number}: give an id, a number and a name")
    return {row[0]: row[2].strip().replace(" ", "_") for row in rows}

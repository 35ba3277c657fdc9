"""COCO json: which images it names, and the boxes of each.

Boxes are x, y, width, height in pixels from 0 on. As in the official tools crowds are ignored regions; boxes under
a pixel wide or high, or without area, are no targets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from sys import float_info
from typing import Any

from kdbench.datasets.boxes import Annotation, Labelled, Size
from kdbench.files import parsed_once

NUMBERS = {int, float}
LARGEST = float_info.max


@dataclass(frozen=True)
class CocoFile:
    """A COCO json of instances.

    Attributes:
        classes: Category id -> name, by id.
        sizes: Image's ``file_name`` -> width and height, or None where the json has none; in the json's order.
        entries: Image's ``file_name`` -> its annotations as in the json.
    """

    classes: Mapping[int, str]
    sizes: Mapping[str, Size | None]
    entries: Mapping[str, Sequence[Mapping[str, Any]]]


@parsed_once
def read(path: Path) -> CocoFile:
    """Read a COCO json; one that has not changed is read once.

    Raises:
        OSError: If it cannot be read.
        ValueError: In words, where it is malformed.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"no COCO json ({error})") from error
    images, annotations, categories = (
        _list(content, name) for name in ("images", "annotations", "categories")
    )
    names = {_key(image, "image"): _file_name(image) for image in images}
    classes = {_key(one, "category"): _text(one, "name", "category") for one in categories}
    for what, keys, all_ in (("image", names, images), ("category", classes, categories)):
        if len(keys) < len(all_) or len(set(keys.values())) < len(keys):
            raise ValueError(f"two of its {what} entries have the same id or name")
    entries: dict[str, list[Mapping[str, Any]]] = {name: [] for name in names.values()}
    for entry in annotations:
        _check(entry, names, classes)
        entries[names[entry["image_id"]]].append(entry)
    sizes = {_file_name(image): _size(image) for image in images}
    return CocoFile(dict(sorted(classes.items())), sizes, entries)


def classes_of(path: Path) -> tuple[str, ...]:
    """Return the names of the categories, by id; raises as :func:`read`."""
    return tuple(read(path).classes.values())


def classes_as_text(path: Path) -> str:
    """Format :func:`classes_of` as JSON."""
    return json.dumps(classes_of(path))


def names_of(path: Path) -> list[str]:
    """Return the images' file names, which may begin with folders; raises as :func:`read`."""
    return list(read(path).sizes)


def annotation_of(path: Path, name: str) -> Annotation:
    """Return the boxes of an image, by its file name; raises as :func:`read`."""
    found = read(path)
    return Annotation(found.sizes[name], tuple(_labelled(one, found) for one in found.entries[name]), first=0)


def truth_of(path: Path, name: str, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return an image's boxes of some classes as COCO's evaluation wants them; raises as :func:`read`.

    Args:
        path: The json.
        name: The image's file name.
        classes: Names of the classes that count; ``category_id`` is the position here.
    """
    found = read(path)
    index = {id_: classes.index(one) for id_, one in found.classes.items() if one in classes}
    return [
        {
            "bbox": entry["bbox"],
            "area": _area(entry),
            "iscrowd": int(bool(entry.get("iscrowd"))),
            "category_id": index[entry["category_id"]],
        }
        for entry in found.entries[name]
        if entry["category_id"] in index
    ]


def _labelled(entry: Mapping[str, Any], found: CocoFile) -> Labelled:
    x, y, width, height = entry["bbox"]
    return Labelled(
        found.classes[entry["category_id"]],
        (x, y, x + width, y + height),
        ignored=bool(entry.get("iscrowd")),
        skipped=width < 1 or height < 1 or _area(entry) <= 0,
    )


def _area(entry: Mapping[str, Any]) -> float:
    return float(entry.get("area", entry["bbox"][2] * entry["bbox"][3]))


def _list(content: Any, name: str) -> list[Any]:
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(f"no COCO json of instances: it has no list '{name}'")
    return found


def _key(entry: Mapping[str, Any], what: str) -> int:
    if type(entry.get("id")) is not int:
        raise ValueError(f"the id of an {what} is {entry.get('id')!r}: it must be a whole number")
    return int(entry["id"])


def _text(entry: Mapping[str, Any], name: str, what: str) -> str:
    found = entry.get(name)
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"the {what} {entry['id']} has no {name}")
    return found.strip()


def _file_name(image: Mapping[str, Any]) -> str:
    name = _text(image, "file_name", "image").replace("\\", "/")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "\0" in name:
        raise ValueError(f"the file_name of image {image['id']} leaves the folder of images: {name!r}")
    return name


def _size(image: Mapping[str, Any]) -> Size | None:
    width, height = image.get("width"), image.get("height")
    return (width, height) if type(width) is int and type(height) is int else None


def _check(entry: Mapping[str, Any], names: Mapping[int, str], classes: Mapping[int, str]) -> None:
    """Raise ValueError where an annotation is of nothing known, or its box is no box."""
    which = f"annotation {entry.get('id')!r}"
    for key, known in (("image_id", names), ("category_id", classes)):
        if type(entry.get(key)) is not int or entry[key] not in known:
            raise ValueError(f"the {key} of {which} is {entry.get(key)!r}, which is not in the file")
    if not _are_numbers(entry.get("bbox"), 4):
        raise ValueError(f"the bbox of {which} is {entry.get('bbox')!r}: give x, y, width and height")
    if "area" in entry and not _are_numbers([entry["area"]], 1):
        raise ValueError(f"the area of {which} is {entry['area']!r}, no number")


def _are_numbers(values: Any, count: int) -> bool:
    """Whether a list has so many numbers, each finite as a floating-point number."""
    return (
        type(values) is list
        and len(values) == count
        and NUMBERS.issuperset(map(type, values))
        and all(-LARGEST <= value <= LARGEST for value in values)
    )

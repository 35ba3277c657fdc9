"""What dataset a folder holds: its format, its splits, and how much is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from kdbench.datasets import coco
from kdbench.datasets.boxes import Size, read_annotation
from kdbench.datasets.layout import read_names
from kdbench.datasets.pictures import image_size
from kdbench.errors import UserError

ROLES = {"train": ("train", "trainval"), "test": ("test", "val", "valid", "validation")}
"""Split -> words in the names of its file, the preferred first."""
IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".JPG", ".JPEG", ".PNG")
LOOKED_AT = 20
"""Images of a split that are looked for, to find their folder."""
MOST_FILES = 10_000
"""Files of a folder that are looked at, to find annotations."""


@dataclass(frozen=True)
class FoundSplit:
    """A split: where its images and annotations are, and the file that names them; how many there are.

    Attributes:
        images: Folder of the images.
        annotations: The COCO json, or the folder of XML files.
        names: Text file of names, or None.
        count: Images.
        boxes: Boxes.
    """

    images: Path
    annotations: Path
    names: Path | None
    count: int
    boxes: int


@dataclass(frozen=True)
class Found:
    """A dataset.

    Attributes:
        format: ``coco`` or ``voc``.
        parts: ``train`` and ``test``.
        classes: Its classes.
        size: Width and height of its first image.
        suffix: Ending of the image files; empty where the names have it.
    """

    format: str
    parts: dict[str, FoundSplit]
    classes: tuple[str, ...]
    size: Size
    suffix: str = ""


def recognize(folder: Path) -> Found:
    """Return the dataset in a folder.

    Raises:
        UserError: If it is none that is known, or its splits cannot be told apart.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder: name the one with the images and annotations.")
    files = [path for path in islice(folder.rglob("*"), MOST_FILES) if path.is_file()]
    lists = [path for path in files if path.suffix == ".txt" and path.parent.name == "Main"]
    found = dict(_jsons(path for path in sorted(files) if path.suffix == ".json"))
    if found:
        return _coco(folder, found)
    if lists:
        return _voc(lists)
    raise UserError(
        f"{folder} has neither a COCO json nor VOC's ImageSets/Main: write the benchmark file by hand, see the "
        "guide's page on your own data."
    )


def _jsons(paths: Iterator[Path]) -> Iterator[tuple[Path, coco.CocoFile]]:
    """Yield the files among ``paths`` that are COCO jsons of instances."""
    for path in paths:
        try:
            yield path, coco.read(path)
        except (OSError, ValueError):
            continue


def _splits(paths: list[Path]) -> dict[str, Path]:
    """Return the files of ``train`` and ``test``, told by their names."""
    found = {}
    for split, words in ROLES.items():
        fitting = [path for word in words for path in paths if word in _words(path)]
        if not fitting:
            names = ", ".join(path.name for path in paths)
            raise UserError(
                f"none of {names} is named after {' or '.join(words)}: rename them, or copy the file."
            )
        found[split] = fitting[0]
    return found


def _words(path: Path) -> set[str]:
    """Return the words of a file's name and of its folder's: ``instances_train2017`` has train."""
    text = "".join(letter if letter.isalpha() else " " for letter in path.stem)
    return set(text.lower().split()) | {path.parent.name.lower()}


def _coco(folder: Path, found: dict[Path, coco.CocoFile]) -> Found:
    parts, sizes = {}, []
    for split, path in _splits(list(found)).items():
        content = found[path]
        images = _folder_of(folder, list(islice(content.sizes, LOOKED_AT)), split)
        sizes += [image_size(images / name, pixels=False) for name in islice(content.sizes, 1)]
        boxes = sum(map(len, content.entries.values()))
        parts[split] = FoundSplit(images, path, None, len(content.sizes), boxes)
    return Found("coco", parts, coco.classes_of(parts["train"].annotations), sizes[0])


def _folder_of(folder: Path, names: list[str], split: str) -> Path:
    """Return the folder below ``folder`` that has some images, rather one that is named after the split."""
    if not names:
        raise UserError(f"the COCO json of {split} names no image.")
    below = [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]
    fitting = [each for each in below if all((each / name).is_file() for name in names)]
    if not fitting:
        raise UserError(f"no folder in {folder} has the images of {split}, such as {names[0]}.")
    return max(fitting, key=lambda path: bool(_words(path) & set(ROLES[split])))


def _voc(lists: list[Path]) -> Found:
    parts, classes = {}, set()
    for split, path in _splits(lists).items():
        base = path.parents[2]
        images, annotations = base / "JPEGImages", base / "Annotations"
        names = read_names(path, "")
        found = [read_annotation((annotations / f"{Path(name).stem}.xml").read_bytes()) for name in names]
        classes |= {entry.name for one in found for entry in one.objects}
        boxes = sum(len(one.objects) for one in found)
        parts[split] = FoundSplit(images, annotations, path, len(names), boxes)
    first = Path(names[0]).stem
    suffix = next((ending for ending in IMAGES if (images / f"{first}{ending}").is_file()), None)
    if suffix is None:
        raise UserError(f"{images} has no image {first}.")
    return Found(
        "voc", parts, tuple(sorted(classes)), image_size(images / f"{first}{suffix}", pixels=False), suffix
    )

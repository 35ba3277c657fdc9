"""The files of a dataset: its lists of names, and where the image and the annotation of each name are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kdbench.cards import Dataset, Split
from kdbench.datasets.holdout import held_out
from kdbench.errors import UserError


@dataclass(frozen=True)
class Item:
    """One image of a split: its name, its file, and its XML or mask."""

    name: str
    image: Path
    annotation: Path


@dataclass(frozen=True)
class Problem:
    """Something wrong with a file, which is named relative to the dataset's folder."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def annotation_suffix(dataset: Dataset) -> str:
    """Return the ending of the annotation files."""
    return ".xml" if dataset.task == "detection" else dataset.mask_suffix


def names_of(text: str, suffix: str) -> list[str]:
    r"""Names of the images in the text of a names file.

    Args:
        text: One image a line: a name or a path (with / or \), with or without ``suffix``; what follows the
            first blank is ignored, and so are empty lines.
        suffix: Ending of the image files.

    Raises:
        ValueError: Where a line names no file.
    """
    names = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        name = words[0].replace("\\", "/").rpartition("/")[2].removesuffix(suffix)
        if name in ("", ".", "..") or "\0" in name:
            raise ValueError(f"line {number} names no image: {words[0]!r}")
        names.append(name)
    return names


def read_names(path: Path, suffix: str) -> list[str]:
    """Names in a file. Raises UserError where it is missing, empty or no list of names."""
    try:
        names = names_of(path.read_text(encoding="utf-8"), suffix)
    except OSError as error:
        raise UserError(f"cannot read the list of images {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"{path} is no list of images: {error}.") from error
    if not names:
        raise UserError(f"{path} names no image: is the copy complete?")
    return names


def items(dataset: Dataset, split: str, folder: Path) -> list[Item]:
    """Return the images of a split in order, whether their files are there or not.

    Args:
        dataset: The dataset.
        split: ``train``, ``test`` or another of the dataset's splits.
        folder: Folder of the dataset.

    Raises:
        UserError: When a list of names is missing or malformed.
    """
    return [item for part in dataset.splits[split] for item in part_items(dataset, part, folder)]


def part_items(dataset: Dataset, part: Split, folder: Path) -> Iterator[Item]:
    """Return the images of one part of a split."""
    images, annotations = folder / part.images, folder / part.annotations
    suffix = annotation_suffix(dataset)
    for name in part_names(dataset, part, folder):
        yield Item(name, images / f"{name}{dataset.image_suffix}", annotations / f"{name}{suffix}")


def part_names(dataset: Dataset, part: Split, folder: Path) -> list[str]:
    """Names of the images of one part of a split. Raises UserError where its list cannot be used."""
    path = folder / part.names
    names = read_names(path, dataset.image_suffix)
    if part.take == "all":
        return names
    held = held_out(names)
    taken = [name for name in names if (name in held) == (part.take == "held-out")]
    if not taken:
        raise UserError(f"{path} names too few images to hold some out.")
    return taken


def relative(path: Path, folder: Path) -> str:
    """``path`` inside the dataset's folder, with forward slashes."""
    return path.relative_to(folder).as_posix()


def missing(dataset: Dataset, folder: Path) -> list[Problem]:
    """List what the layout lacks: lists of names, folders, and files that the lists name; none is opened."""
    problems: dict[Problem, None] = {}
    for split in dataset.splits.values():
        for part in split:
            problems.update(dict.fromkeys(_missing_of(dataset, part, folder)))
    return list(problems)


def _missing_of(dataset: Dataset, part: Split, folder: Path) -> list[Problem]:
    """List what one part lacks; each folder is read once, as asking for each file is slow on network disks."""
    absent = [name for name in (part.images, part.annotations) if not (folder / name).is_dir()]
    problems = [Problem(name, "missing folder") for name in absent]
    try:
        wanted = list(part_items(dataset, part, folder))
    except UserError as error:
        there = (folder / part.names).is_file()
        return [*problems, Problem(part.names, str(error) if there else "missing")]
    present = {name: _listed(folder / name) for name in (part.images, part.annotations) if name not in absent}
    for item in wanted:
        for where, path in ((part.images, item.image), (part.annotations, item.annotation)):
            if where in present and path.name not in present[where]:
                problems.append(Problem(relative(path, folder), "missing"))
    return problems


def _listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}

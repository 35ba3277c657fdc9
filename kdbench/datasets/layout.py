"""The files of a dataset: its lists of names, and where the image and the annotation of each name are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kdbench.cards import Dataset, Split
from kdbench.datasets.formats import format_of
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
    """Yield the images of one part of a split. Raises UserError where its list cannot be used."""
    images, annotations = folder / part.images, folder / part.annotations
    suffix = dataset.mask_suffix if dataset.format == "masks" else format_of(dataset).suffix
    for name in part_names(dataset, part, folder):
        own = annotations / f"{name}{suffix}" if suffix else annotations
        yield Item(name, images / f"{name}{dataset.image_suffix}", own)


def part_names(dataset: Dataset, part: Split, folder: Path) -> list[str]:
    """Return the names of the images of one part of a split. Raises UserError where its list cannot be used."""
    path = folder / part.listing
    read = format_of(dataset).names
    names = read_names(path, dataset.image_suffix) if read is None else _named_in(path, read)
    if part.take == "all":
        return names
    held = held_out(names)
    taken = [name for name in names if (name in held) == (part.take == "held-out")]
    if not taken:
        raise UserError(f"{path} names too few images to hold some out.")
    return taken


def _named_in(path: Path, read: Callable[[Path], list[str]]) -> list[str]:
    """Return the names that a file of annotations gives. Raises UserError where it cannot be used."""
    try:
        names = read(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}.") from error
    if not names:
        raise UserError(f"{path} names no image: is the copy complete?")
    return names


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
    folders = (part.images, part.annotations) if format_of(dataset).suffix else (part.images,)
    absent = [name for name in folders if not (folder / name).is_dir()]
    problems = [Problem(name, "missing folder") for name in absent]
    try:
        wanted = list(part_items(dataset, part, folder))
    except UserError as error:
        there = (folder / part.listing).is_file()
        return [*problems, Problem(part.listing, str(error) if there else "missing")]
    present: dict[Path, set[str]] = {}
    for item in wanted:
        for where, path in ((part.images, item.image), (part.annotations, item.annotation)):
            if where in absent:
                continue
            if path.parent not in present:
                present[path.parent] = _listed(path.parent)
            if path.name not in present[path.parent]:
                problems.append(Problem(relative(path, folder), "missing"))
    return problems


def _listed(folder: Path) -> set[str]:
    """Return the names of a folder's files; none where it is missing."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()

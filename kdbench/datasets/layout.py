"""The files of a dataset: its lists of names, and where the image and the annotation of each name are."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.formats import format_of
from kdbench.datasets.holdout import held_out
from kdbench.errors import UserError
from kdbench.files import read_regular
from kdbench.text import LONGEST


@dataclass(frozen=True)
class SplitImage:
    """One image of a split.

    Attributes:
        name: Its name: the path below the folder of the images, with forward slashes, without its ending.
        image: Its file.
        annotation: Its XML or mask.
    """

    name: str
    image: Path
    annotation: Path


@dataclass(frozen=True)
class FileProblem:
    """Something wrong with a file, which is named relative to the dataset's folder."""

    file: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


def annotation_suffix(dataset: Dataset) -> str:
    """Return the ending of the images' annotation files; empty where one file has those of all."""
    return dataset.mask_suffix if dataset.layout == "masks" else format_of(dataset).suffix


def names_of(text: str, suffix: str, exists: Callable[[str], bool] = lambda _name: False) -> list[str]:
    r"""Return the names of the images in the text of a names file.

    A line is an image's name or path (with / or \), with or without ``suffix``, and may go on after a blank. Of a
    path the longest end is taken that exists, else the last part; of a line with blanks the whole of it where that
    exists, else what stands before the first blank.

    Args:
        text: One image a line; empty lines are ignored.
        suffix: Ending of the image files.
        exists: Whether there is an image of a name.

    Raises:
        ValueError: Where a line names no file.
    """
    lines = enumerate(text.removeprefix("\ufeff").splitlines(), 1)
    return [_name(line, number, suffix, exists) for number, line in lines if line.strip()]


def _name(line: str, number: int, suffix: str, exists: Callable[[str], bool]) -> str:
    """Return the first of a line's readings that exists, or its last one."""
    word = line.split()[0]
    readings = [*_readings(line.strip(), suffix), *_readings(word, suffix)]
    if readings[-1] in ("", ".", "..") or "\0" in word or len(line) > LONGEST:
        raise ValueError(f"line {number} names no image: {word[:40]!r}")
    if len(readings) == 2 and readings[0] == readings[1]:
        return readings[0]
    return next((name for name in readings if exists(name)), readings[-1])


def _readings(path: str, suffix: str) -> list[str]:
    """Return the ends of a path without its ending, the longest first; none leads out of a folder."""
    parts = path.replace("\\", "/").removesuffix(suffix).split("/")
    ends = [parts[at:] for at in range(len(parts))]
    return ["/".join(end) for end in ends if len(end) == 1 or not {"", ".", ".."} & set(end)]


def read_names(path: Path, suffix: str, exists: Callable[[str], bool] = lambda _name: False) -> list[str]:
    """Return the names in a file, see :func:`names_of`.

    Raises:
        ListError: If it is missing, empty or not a list of names.
    """
    try:
        names = names_of(read_regular(path).decode(), suffix, exists)
    except OSError as error:
        raise ListError(path, f"cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise ListError(path, "is not a list of names in UTF-8: save it as UTF-8") from error
    except ValueError as error:
        raise ListError(path, f"is not a list of images: {error}") from error
    if not names:
        raise ListError(path, "names no image: is the copy complete?")
    return names


class ListError(UserError):
    """A list of names cannot be used.

    Args:
        path: The file.
        why: What is wrong with it, as the end of a sentence.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"the list of images {path} {why}")
        self.why = why


def items(dataset: Dataset, split: str, folder: Path) -> list[SplitImage]:
    """Return the images of a split in order, whether their files are there or not.

    Args:
        dataset: The dataset.
        split: ``train``, ``test`` or another of the dataset's splits.
        folder: Folder of the dataset.

    Raises:
        UserError: When a list of names is missing or malformed.
    """
    return [item for part in dataset.splits[split] for item in part_items(dataset, part, folder)]


def beside(dataset: Dataset, split: str, folder: Path) -> list[Path]:
    """Return the other files that the annotations of a split are read with, or that it is judged by, each once.

    Raises:
        UserError: As :func:`items`.
    """
    others = format_of(dataset).beside
    if others is None:
        return []
    annotations = dict.fromkeys(item.annotation for item in items(dataset, split, folder))
    return list(dict.fromkeys(file for path in annotations for file in others(path, split)))


def part_items(dataset: Dataset, part: Split, folder: Path) -> Iterator[SplitImage]:
    """Yield the images of one part of a split. Raises UserError where its list cannot be used."""
    images, annotations = folder / part.images, folder / part.annotations
    suffix = annotation_suffix(dataset)
    for name in part_names(dataset, part, folder):
        image = _file(images, name, dataset.image_suffix)
        yield SplitImage(name, image, _file(annotations, name, suffix) if suffix else annotations)


def _file(folder: Path, name: str, suffix: str) -> Path:
    """Return the file of a name, in whichever Unicode form its name is written on this disk."""
    path = folder / f"{name}{suffix}"
    if name.isascii():
        return path
    forms = (folder / f"{unicodedata.normalize(form, name)}{suffix}" for form in ("NFC", "NFD"))
    return next((found for found in (path, *forms) if _is_file(found)), path)


def _is_file(path: Path | os.DirEntry[str]) -> bool:
    """Whether a file is there; one that the disk cannot name, or that links to itself, is not."""
    try:
        return path.is_file()
    except OSError:
        return False


def part_names(dataset: Dataset, part: Split, folder: Path) -> list[str]:
    """Return the names of the images of one part of a split. Raises UserError where its list cannot be used."""
    path = folder / part.listing
    names = _all_names(dataset, part, folder)
    if part.take == "all":
        return names
    held = held_out(names)
    taken = [name for name in names if (name in held) == (part.take == "held-out")]
    if not taken:
        raise ListError(path, "names too few images to hold some out")
    return taken


def _all_names(dataset: Dataset, part: Split, folder: Path) -> list[str]:
    path, images, read = folder / part.listing, folder / part.images, format_of(dataset).names

    def exists(name: str) -> bool:
        return _is_file(_file(images, name, dataset.image_suffix))

    if read is not None:
        return _named_in(path, read)
    return read_names(path, dataset.image_suffix, exists) if part.names else _found_in(dataset, images)


def _found_in(dataset: Dataset, images: Path) -> list[str]:
    """Return the names of all images below a folder, in order. Raises ListError where there are none."""
    suffix = dataset.image_suffix
    if not suffix:
        raise ListError(images, "cannot be made: say which ending the images have (image_suffix)")
    found = sorted(path.relative_to(images).as_posix() for path in images.rglob(f"*{suffix}"))
    if not found:
        raise ListError(images, f"is empty: there is no file *{suffix}")
    return [name.removesuffix(suffix) for name in found]


def _named_in(path: Path, read: Callable[[Path], list[str]]) -> list[str]:
    """Return the names that a file of annotations gives. Raises ListError where it cannot be used."""
    try:
        names = read(path)
    except OSError as error:
        raise ListError(path, f"cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ListError(path, f"cannot be used: {error}") from error
    if not names:
        raise ListError(path, "names no image: is the copy complete?")
    return names


def relative(path: Path, folder: Path) -> str:
    """``path`` inside the dataset's folder, with forward slashes; as text, since ``relative_to`` is slow."""
    text, base = path.as_posix(), folder.as_posix()
    return "." if text == base else text.removeprefix(f"{base.rstrip('/')}/")


def missing(dataset: Dataset, folder: Path) -> list[FileProblem]:
    """List what the layout lacks: lists of names, folders, and files that the lists name; none is opened."""
    problems: dict[FileProblem, None] = {}
    for split, parts in dataset.splits.items():
        for part in parts:
            problems.update(dict.fromkeys(_missing_of(dataset, part, folder)))
        if not problems:
            absent = (file for file in beside(dataset, split, folder) if not file.is_file())
            problems.update((FileProblem(relative(file, folder), "missing"), None) for file in absent)
    return list(problems)


def _missing_of(dataset: Dataset, part: Split, folder: Path) -> list[FileProblem]:
    """List what one part lacks; each folder is read once, as asking for each file is slow on network disks."""
    folders = (part.images, part.annotations) if format_of(dataset).suffix else (part.images,)
    absent = [name for name in folders if not (folder / name).is_dir()]
    problems = [FileProblem(name, "missing folder") for name in absent]
    try:
        wanted = list(part_items(dataset, part, folder))
    except ListError as error:
        listing = part.listing if part.names or format_of(dataset).names else part.images
        there = (folder / listing).exists()
        return (
            problems
            if listing in absent
            else [*problems, FileProblem(listing, error.why if there else "missing")]
        )
    listed = cache(_listed)
    for item in wanted:
        for where, path in ((part.images, item.image), (part.annotations, item.annotation)):
            if where not in absent and path.name not in listed(path.parent):
                problems.append(FileProblem(relative(path, folder), _why(dataset, path, listed(path.parent))))
    return problems


def _why(dataset: Dataset, path: Path, there: frozenset[str]) -> str:
    """Say that a file is missing, and which one of its name and another ending is there."""
    with suppress(OSError):  # a link to itself
        if path.exists():
            return "is not a file"
    endings = (dataset.image_suffix or path.suffix, annotation_suffix(dataset) or path.suffix)
    ending = next(ending for ending in endings if path.name.endswith(ending))
    names = (name := path.name.removesuffix(ending), path.stem, path.name)
    others = [other for other in sorted(there) if not other.endswith(endings)]
    found = next((other for other in others if other == name or other.rpartition(".")[0] in names), None)
    return "missing" if found is None else f"missing, but there is {found}: the ending must be {ending}"


def _listed(folder: Path) -> frozenset[str]:
    """Return the names of a folder's files: a pipe or a device, from which a reader waits for ever, is none."""
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if _is_file(entry))

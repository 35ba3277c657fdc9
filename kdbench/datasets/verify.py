"""Counts a dataset and finds what is missing, unreadable or malformed, naming each file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kdbench.dataset_cards import Dataset
from kdbench.datasets.boxes import Finding, judge
from kdbench.datasets.classes import IGNORED, NAMED, absent, unusable
from kdbench.datasets.formats import format_of, read_boxes
from kdbench.datasets.hashed import HashIndex
from kdbench.datasets.layout import FileProblem, SplitImage, items, missing, relative
from kdbench.datasets.masks import (
    by_colour,
    classes_of_values,
    colours_as_text,
    counts_of,
    mask_size,
    named,
    numbers_as_text,
)
from kdbench.datasets.pictures import ShownImage, Size, picture_as_text, picture_from_text, read_picture
from kdbench.errors import UserError


@dataclass
class Counts:
    """What a split has.

    Attributes:
        images: Images named by the split.
        annotations: Annotations that could be read.
        boxes: Boxes (detection).
        classes: Boxes of each class (detection), or pixels of each class and ``ignored`` (segmentation, when
            pixels are read).
    """

    images: int = 0
    annotations: int = 0
    boxes: int = 0
    classes: dict[str, int] = field(default_factory=dict)


@dataclass
class Verification:
    """Result of :func:`verify`. Without errors the dataset can be used; warnings are for somebody to look at.

    Attributes:
        dataset: Its name.
        splits: What each split has.
        errors: What keeps the dataset from being used.
        warnings: Oddities.
        turned: Images that are turned by their EXIF orientation.
    """

    dataset: str
    splits: dict[str, Counts]
    errors: list[FileProblem]
    warnings: list[FileProblem]
    turned: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON-able values."""
        return asdict(self)


@dataclass(frozen=True)
class Reader:
    """Opens a dataset's files.

    Attributes:
        pixels: Decode images and masks in full; else only their headers.
        index: Has the sizes of images and the values of masks that have not changed since they were read; masks are
            read whatever ``pixels`` says then.
    """

    pixels: bool
    index: HashIndex | None = None

    @property
    def values(self) -> bool:
        """Whether the values of masks are read."""
        return self.pixels or self.index is not None

    def picture(self, path: Path) -> ShownImage:
        """As :func:`read_picture`."""
        if self.pixels or self.index is None:
            return read_picture(path, self.pixels)
        return picture_from_text(self.index.hash_of(path, picture_as_text))

    def mask(self, path: Path, *, coloured: bool) -> tuple[Size, Mapping[int, int]]:
        """Return a mask's width and height, and value -> number of pixels (nothing unless ``values``).

        Raises:
            ValueError: In words, where the file cannot be read or is no mask.
        """
        if not self.values:
            return mask_size(path, coloured=coloured), {}
        read = colours_as_text if coloured else numbers_as_text
        return counts_of(read(path) if self.index is None else self.index.hash_of(path, read))


def verify(
    dataset: Dataset,
    folder: Path,
    *,
    pixels: bool,
    index: HashIndex | None = None,
    advance: Callable[[int, int], object] | None = None,
) -> Verification:
    """Check every file that the splits of a dataset name.

    Args:
        dataset: The dataset's card.
        folder: Its folder.
        pixels: Decode images and masks in full; else only their headers.
        index: Has the sizes of images and the values of masks that have not changed since; masks are read whatever
            ``pixels`` says then.
        advance: Called with (images done, all images).

    Returns:
        Counts of each split, errors and warnings. What counts as which: :mod:`kdbench.datasets.boxes`.
    """
    errors = missing(dataset, folder)
    missed = {problem.file for problem in errors}
    report = Verification(dataset.name, {split: _empty(dataset) for split in dataset.splits}, errors, [])
    listed = {split: _listed(dataset, split, folder) for split in dataset.splits}
    _check_repeated(listed, folder, report)
    reader = Reader(pixels, index)
    total, done = sum(map(len, listed.values())), 0
    for split, found in listed.items():
        for item in found:
            _check(dataset, item, folder, report, report.splits[split], missed, reader)
            done += 1
            if advance is not None:
                advance(done, total)
    if dataset.task == "detection" or reader.values:
        _check_classes(dataset, report, listed, folder)
    report.warnings += _orientation(report.turned)
    return report


def _check_classes(
    dataset: Dataset, report: Verification, listed: dict[str, list[SplitImage]], folder: Path
) -> None:
    """Find classes of which a split whose annotations could be read has nothing."""
    for split, counts in report.splits.items():
        if not counts.annotations or counts.annotations < counts.images:
            continue
        first = relative(listed[split][0].annotation, folder)
        fatal, lacking = unusable(dataset, counts.classes), absent(dataset, counts.classes)
        if fatal is not None:
            report.errors.append(FileProblem(f"{first} and all others of {split}", fatal))
        elif lacking is not None:
            report.warnings.append(FileProblem(dataset.splits[split][0].listing, f"{lacking} in {split}"))


def _orientation(turned: list[str]) -> list[FileProblem]:
    """Return one warning on the images that are turned, since not every tool annotates what it shows."""
    if not turned:
        return []
    others = f" (and that of {len(turned) - 1} more)" if len(turned) > 1 else ""
    what = f"its EXIF orientation{others} is applied: boxes and masks must be of the image as it is shown"
    return [FileProblem(turned[0], what)]


def _empty(dataset: Dataset) -> Counts:
    return Counts(classes=dict.fromkeys(dataset.classes, 0))


def _listed(dataset: Dataset, split: str, folder: Path) -> list[SplitImage]:
    """Return the images of a split; none where its lists are missing, which :func:`missing` reports."""
    try:
        return items(dataset, split, folder)
    except UserError:
        return []


def _check_repeated(listed: dict[str, list[SplitImage]], folder: Path, report: Verification) -> None:
    """Find images that two splits name, or one names twice, which is only for training to weigh them."""
    seen: dict[Path, str] = {}
    for split, found in listed.items():
        for item in found:
            first, image = seen.get(item.image), relative(item.image, folder)
            seen.setdefault(item.image, split)
            if first == split == "train":
                report.warnings.append(
                    FileProblem(image, "named twice in train, which learns it twice as often")
                )
            elif first == split:
                report.errors.append(FileProblem(image, f"named twice in {split}"))
            elif first is not None:
                report.errors.append(
                    FileProblem(image, f"named in {first} and in {split}: splits share no image")
                )


def _check(
    dataset: Dataset,
    item: SplitImage,
    folder: Path,
    report: Verification,
    counts: Counts,
    missed: set[str],
    reader: Reader,
) -> None:
    """Check one image and its annotation."""
    counts.images += 1
    image, annotation = relative(item.image, folder), relative(item.annotation, folder)
    picture = None
    if not _is_missing(image, missed):
        try:
            picture = reader.picture(item.image)
        except ValueError as error:
            report.errors.append(FileProblem(image, str(error)))
    if _is_missing(annotation, missed):
        return
    check = _check_boxes if dataset.task == "detection" else _check_mask
    try:
        findings = check(dataset, item, picture, counts, reader)
    except (ValueError, OSError) as error:
        report.errors.append(FileProblem(annotation, str(error)))
        return
    counts.annotations += 1
    if picture is not None and picture.turned:
        report.turned.append(image)
    which = "" if format_of(dataset).suffix else f"{item.name}: "
    for finding in findings:
        problem = FileProblem(annotation, f"{which}{finding.what}")
        (report.errors if finding.fatal else report.warnings).append(problem)


def _is_missing(file: str, missed: set[str]) -> bool:
    """Whether ``file``, or the folder it is in, is known to be missing."""
    return file in missed or file.rpartition("/")[0] in missed


def _check_boxes(
    dataset: Dataset, item: SplitImage, picture: ShownImage | None, counts: Counts, reader: Reader
) -> list[Finding]:
    annotation = read_boxes(dataset, item.annotation, item.name)
    for entry in annotation.objects:
        counts.boxes += 1
        if entry.name in counts.classes and not entry.skipped:
            counts.classes[entry.name] += 1
    if picture is not None:
        return judge(annotation, picture.size, dataset.classes, turned=picture.turned)
    return [] if annotation.size is None else judge(annotation, annotation.size, dataset.classes)


def _check_mask(
    dataset: Dataset, item: SplitImage, picture: ShownImage | None, counts: Counts, reader: Reader
) -> list[Finding]:
    found, values = reader.mask(item.annotation, coloured=by_colour(dataset))
    findings = []
    if picture is not None and picture.size != found:
        how = ", as its EXIF orientation turns it" if picture.turned else ""
        sizes = "mask of {} x {} for an image of {} x {}".format(*found, *picture.size)
        findings.append(Finding(True, sizes + how))
    table = classes_of_values(dataset)
    for value, number in values.items():
        if value in table:
            index = table[value]
            name = IGNORED if index == dataset.ignore_index else dataset.classes[index]
            counts.classes[name] = counts.classes.get(name, 0) + number
    unknown = {value: number for value, number in values.items() if value not in table}
    return findings + _unknown(dataset, unknown)


def _unknown(dataset: Dataset, values: Mapping[int, int]) -> list[Finding]:
    """Name the values of a mask that stand for no class, the first ones of many."""
    what = "{} in {} pixels is not in mask_values" if dataset.mask_values else "unknown class {} in {} pixels"
    found = [Finding(True, what.format(named(value, dataset), number)) for value, number in values.items()]
    rest = len(found) - NAMED
    return found[:NAMED] + ([Finding(True, f"{rest} more values that are no class")] if rest > 0 else [])

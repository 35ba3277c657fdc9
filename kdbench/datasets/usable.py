"""What a run must know of its data before anything is trained; masks that have not changed are not read again."""

from __future__ import annotations

from pathlib import Path

from kdbench.dataset_cards import Dataset
from kdbench.datasets import classes
from kdbench.datasets.hashed import HashIndex
from kdbench.datasets.locate import summary
from kdbench.datasets.verify import Verification, verify
from kdbench.errors import UserError
from kdbench.plugins import typed_name


def check_files(dataset: Dataset, folder: Path, root: Path | None, *, rehash: bool = False) -> list[str]:
    """Refuse a dataset with malformed files. Of images only the headers are read, to be quick.

    Args:
        dataset: The dataset's card.
        folder: Its folder.
        root: The data root that the user named, for the message.
        rehash: Read every mask again.

    Returns:
        One line for each split that has nothing of some classes.

    Raises:
        UserError: With the first problem, how many there are, and the command that lists them.
    """
    report = _report(dataset, folder, rehash=rehash)
    if report.errors:
        where = "" if root is None else f" --root {root}"
        raise UserError(
            f"dataset '{dataset.name}' in {folder} cannot be used ({summary(report.errors)}): "
            f"correct these files; `kdbench data verify {typed_name(dataset)}{where}` lists everything."
        )
    found = {split: classes.absent(dataset, counts.classes) for split, counts in report.splits.items()}
    return [f"WARNING: {dataset.name} has {what} in {split}" for split, what in found.items() if what]


def chance(dataset: Dataset, folder: Path) -> float:
    """Return the :func:`kdbench.datasets.classes.chance` of a dataset's test split."""
    if dataset.task == "detection":
        return classes.chance(dataset, {})
    return classes.chance(dataset, _report(dataset, folder).splits["test"].classes)


def _report(dataset: Dataset, folder: Path, *, rehash: bool = False) -> Verification:
    index = HashIndex(folder, rehash=rehash)
    report = verify(dataset, folder, pixels=False, index=index)
    index.save()
    return report

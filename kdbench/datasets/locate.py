"""Where datasets are, and the one command that gets a missing one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from kdbench.cards import Dataset, load_object
from kdbench.datasets.layout import Problem, missing
from kdbench.errors import UserError

ENVIRONMENT = "KDBENCH_DATA"


def data_root(root: Path | None = None) -> Path:
    """The folder of all datasets: ``root``, else the variable KDBENCH_DATA, else ``data``."""
    return root if root is not None else Path(os.environ.get(ENVIRONMENT) or "data")


def folder_of(dataset: Dataset, root: Path | None = None) -> Path:
    """The folder of a dataset, whether it exists or not."""
    return data_root(root) / dataset.folder


def require(dataset: Dataset, root: Path | None = None) -> Path:
    """The folder of a dataset that has all its files (none of them is opened).

    Raises:
        UserError: When something is missing; it says the command that gets the dataset.
    """
    folder = folder_of(dataset, root)
    if not has_files(folder):
        raise UserError(f"dataset '{dataset.name}' is not in {folder}: run `{command(dataset, root)}`.")
    problems = missing(dataset, folder)
    if problems:
        raise UserError(
            f"dataset '{dataset.name}' in {folder} is incomplete ({summary(problems)}): move it away and run "
            f"`{command(dataset, root)}`."
        )
    return folder


def prepare(dataset: Dataset, root: Path | None, source: Path | None, report: Callable[[str], None]) -> Path:
    """Get a dataset, or link what is on disk, and return its folder; quick where it is there already.

    Args:
        dataset: The dataset.
        root: Data root, as in :func:`data_root`.
        source: Folder on disk to link, or None.
        report: Gets lines of progress.

    Raises:
        UserError: When it cannot be had; the message says what to do.
    """
    folder = folder_of(dataset, root)
    function: Callable[[Path, Path | None, Callable[[str], None]], None] = load_object(dataset.prepare)
    try:
        function(folder, source, report)
    except OSError as error:
        raise UserError(f"cannot prepare '{dataset.name}' in {folder}: {error.strerror or error}.") from error
    return require(dataset, root)


def has_files(folder: Path) -> bool:
    """Whether ``folder`` is a folder with something in it."""
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def command(dataset: Dataset, root: Path | None = None) -> str:
    """The command that gets a dataset."""
    return f"kdbench data prepare {dataset.name}" + (f" --root {root}" if root is not None else "")


def summary(problems: list[Problem]) -> str:
    """The first problem and how many follow."""
    more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"

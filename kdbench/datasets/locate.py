"""Where datasets are, and the one command that gets a missing one."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path

from kdbench.dataset_cards import Dataset
from kdbench.datasets.layout import FileProblem, missing
from kdbench.errors import PluginError, UserError, reason, reminder, running
from kdbench.plugins import load_target, title_of, typed_name

ENVIRONMENT = "KDBENCH_DATA"
ADVICE = "Tell its authors."


def data_root(root: Path | None = None) -> Path:
    """Return the folder of all datasets: ``root``, else the variable KDBENCH_DATA, else ``data``."""
    return root if root is not None else Path(os.environ.get(ENVIRONMENT) or "data")


def folder_of(dataset: Dataset, root: Path | None = None) -> Path:
    """Return the folder of a dataset, whether it exists or not."""
    return data_root(root) / dataset.folder


def on_disk(dataset: Dataset, root: Path | None = None) -> list[str]:
    """Return the splits of a dataset whose lists and folders are there; no file is opened."""
    folder = folder_of(dataset, root)
    needed = {
        name: [path for part in parts for path in (part.listing, part.images, part.annotations)]
        for name, parts in dataset.splits.items()
    }
    return [name for name, paths in needed.items() if all((folder / path).exists() for path in paths)]


def require(dataset: Dataset, root: Path | None = None) -> Path:
    """Return the folder of a dataset that has all its files (none of them is opened).

    Raises:
        UserError: When something is missing; it says the command that gets the dataset.
    """
    folder = folder_of(dataset, root)
    if not has_files(folder):
        raise UserError(absent(dataset, root))
    problems = missing(dataset, folder)
    if problems:
        own = typed_name(dataset) != dataset.name
        cure = f"move it away and run `{command(dataset, root)}`"
        verify = f"`kdbench data verify {typed_name(dataset)}` lists everything"
        what = f"dataset '{dataset.name}' in {folder} is incomplete ({summary(problems)})"
        raise UserError(f"{what}: {verify if own else cure}.")
    return folder


def prepare(dataset: Dataset, root: Path | None, source: Path | None = None) -> Path:
    """Get a dataset, or link what is on disk, and return its folder; quick where it is on disk already.

    Args:
        dataset: The dataset.
        root: Data root, as in :func:`data_root`.
        source: Folder on disk to link, or None.

    Raises:
        UserError: When it cannot be had; the message says what to do, and whose dataset it is.
    """
    folder, who = folder_of(dataset, root), title_of(dataset)
    function = load_target(who, dataset.prepare, ADVICE)
    try:
        slow = f"{who} is still at work in prepare(): Ctrl-C ends it."
        with running(who, "prepare()", ADVICE), redirect_stdout(sys.stderr), reminder(slow):
            function(folder, source)
    except PluginError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise UserError(f"cannot prepare {who} in {folder}: {_told(error.__cause__)}.") from error
    if not has_files(folder):
        raise PluginError(f"{who} put nothing into {folder} in prepare(). {ADVICE}")
    try:
        return require(dataset, root)
    except UserError as error:
        raise PluginError(
            f"prepare() of {who} has ended, and yet {error} If it stays so, {ADVICE.lower()}"
        ) from error


def _told(error: OSError) -> str:
    """Say what a system call reported, and of which file."""
    return ": ".join(str(part) for part in (error.strerror or reason(error), error.filename) if part)


def has_files(folder: Path) -> bool:
    """Whether ``folder`` is a folder with something in it."""
    return folder.is_dir() and next(folder.iterdir(), None) is not None


def absent(dataset: Dataset, root: Path | None = None) -> str:
    """Say that a dataset is not there, and how to get it."""
    folder, how = folder_of(dataset, root), command(dataset, root)
    return f"dataset '{dataset.name}' is not in {folder}: run `{how}`, with --from DIR where its files are on disk."


def command(dataset: Dataset, root: Path | None = None) -> str:
    """Return the command that gets a dataset."""
    return f"kdbench data prepare {dataset.name}" + (f" --root {root}" if root is not None else "")


def summary(problems: list[FileProblem]) -> str:
    """Return the first problem and how many follow."""
    more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"

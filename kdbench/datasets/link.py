"""Links a dataset that is on disk already, after checking that it is complete."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from kdbench.dataset_cards import Dataset
from kdbench.datasets.layout import missing
from kdbench.datasets.locate import has_files, summary
from kdbench.errors import UserError

log = logging.getLogger(__name__)


def link(dataset: Dataset, folder: Path, source: Path, inside: Iterable[str] = ()) -> None:
    """Make ``folder`` a symbolic link to the dataset in ``source``.

    Args:
        dataset: What must be there.
        folder: Where kdbench looks for it.
        source: Folder of the dataset, or one that has it under a name of ``inside``.
        inside: Names of the dataset's folder in its usual package.

    Raises:
        UserError: When ``source`` is no such dataset, or ``folder`` has other files.
    """
    found = _found(dataset, source, inside).resolve()
    if folder.is_dir() and folder.resolve() == found:
        log.info(f"{folder} is {found} already.")
        return
    if not folder.is_symlink() and (folder.is_file() or has_files(folder)):
        raise UserError(f"{folder} has files already: move it away or name another `data_root`.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.is_dir() and not folder.is_symlink():
        folder.rmdir()
    point(folder, found)
    log.info(f"Linked {folder} to {found}.")


def link_or_tell(
    dataset: Dataset,
    folder: Path,
    source: Path | None,
    inside: Iterable[str] = (),
    files: Iterable[str] = (),
) -> None:
    """Link a dataset that is not downloaded: all that the ``prepare`` of most datasets does.

    Without a ``source`` a folder that has the dataset already is left as it is.

    Args:
        dataset: Its card.
        folder: Where kdbench looks for it, as ``prepare`` is given it.
        source: The folder that the user names with ``--from``, or None, as ``prepare`` is given it.
        inside: Names of the dataset's folder in its usual package: ``source`` may be the package.
        files: What is to be got there, where that is not all.

    Raises:
        UserError: When ``source`` lacks files of the dataset, ``folder`` has other files, or neither is there: then
            it says where to get the dataset.
    """
    if source is not None:
        link(dataset, folder, source, inside)
    elif has_files(folder) and not missing(dataset, folder):
        log.info(f"{folder} has {dataset.name} already.")
    else:
        what = " and ".join(files) or "it"
        raise UserError(
            f"kdbench does not download {dataset.name}: get {what} from {dataset.link}, then run "
            f"`kdbench data prepare {dataset.name} --from DIR`."
        )


def _found(dataset: Dataset, source: Path, inside: Iterable[str]) -> Path:
    """Return the candidate that is the dataset. Raises UserError with what the likeliest one lacks."""
    if not source.is_dir():
        raise UserError(f"`source` {source}: there is no such folder.")
    candidates = [source, *(source / name for name in inside if (source / name).is_dir())]
    lacking = {candidate: missing(dataset, candidate) for candidate in candidates}
    best = min(candidates, key=lambda candidate: len(lacking[candidate]))
    if lacking[best]:
        raise UserError(f"`source` {source} is not a complete {dataset.name}: {summary(lacking[best])}.")
    return best


def point(folder: Path, target: Path) -> None:
    """Make ``folder`` a symbolic link to ``target``, by a rename, so that an older one is replaced at once.

    Raises:
        UserError: When there can be no link.
    """
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        new = Path(temporary) / "link"
        try:
            new.symlink_to(target, target_is_directory=True)
        except OSError as error:
            raise UserError(f"cannot link {folder} to {target}: {error.strerror or error}.") from error
        new.replace(folder)

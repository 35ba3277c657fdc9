"""Datasets that may be downloaded: linked from the user's disk, or fetched from where they are published."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kdbench.dataset_cards import Dataset
from kdbench.datasets.layout import missing
from kdbench.datasets.link import link
from kdbench.datasets.locate import has_files, summary
from kdbench.errors import UserError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Package:
    """Archives that give one folder of a dataset.

    Attributes:
        folder: That folder, relative to the dataset's; ``.`` is the dataset's.
        inside: Where it lies in the archives.
        archives: Address -> SHA-256 or MD5 in hex; empty where none is known that was verified.
    """

    folder: str
    inside: str
    archives: Mapping[str, str]


def link_or_fetch(
    dataset: Dataset,
    packages: Sequence[Package],
    folder: Path,
    source: Path | None,
    inside: Sequence[str] = (),
) -> None:
    """Link a dataset on disk, or download what is not there.

    Args:
        dataset: Its card.
        packages: What it is published as.
        folder: Where kdbench looks for it, as ``prepare`` is given it.
        source: The folder that the user names with ``--from``, or None.
        inside: Names of the dataset's folder in its usual package: ``source`` may be the package.

    Raises:
        UserError: When ``source`` or ``folder`` is no whole copy, or the download fails.
    """
    if source is not None:
        link(dataset, folder, source, inside)
        return
    problems = missing(dataset, folder) if folder.exists() else []
    there = [package.folder for package in packages if has_files(folder / package.folder)]
    half = [problem for problem in problems if {problem.file.split("/")[0], "."} & set(there)]
    if half:
        raise UserError(f"{folder} is a half copy ({summary(half)}): move it away, then prepare again.")
    if problems and folder.is_symlink():
        raise UserError(
            f"{folder} links to {folder.resolve()}, which is not a complete {dataset.name} "
            f"({summary(problems)}): remove the link, or add what is missing there."
        )
    for package in packages:
        if package.folder not in there:
            fetch(package, folder)
    log.info(f"{folder} has {dataset.name}.")


def fetch(package: Package, folder: Path) -> None:
    """Download and unpack a package into a dataset's folder; it appears only when it is whole.

    Raises:
        UserError: When the download or an archive fails.
    """
    from kdbench.datasets.download import download, extract

    downloads, target = folder.parent / "downloads", folder / package.folder
    archives = [download(url, downloads, expected) for url, expected in package.archives.items()]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as temporary:
        for archive in archives:
            log.info(f"Unpacking {archive.name}.")
            extract(archive, Path(temporary))
        made = Path(temporary) / package.inside
        if not made.is_dir():
            raise UserError(
                f"{archives[0]} has no folder {package.inside}: get the dataset elsewhere and give it as `source`."
            )
        made.rename(target)
    for archive in archives:
        archive.unlink()

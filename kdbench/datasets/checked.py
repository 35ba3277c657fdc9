"""What was found of a dataset: checked and hashed once, and again where a file has changed since."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from kdbench.dataset_cards import Dataset
from kdbench.datasets.hashed import SETTLED, cache_folder
from kdbench.datasets.layout import annotation_suffix, beside, items, relative
from kdbench.errors import UserError
from kdbench.files import write_atomically
from kdbench.specs import digest, file_digest


@dataclass(frozen=True)
class Checked:
    """What a run needs to know of a dataset's files.

    Attributes:
        fingerprint: Of the card and the content.
        warnings: One line each.
    """

    fingerprint: str
    warnings: list[str]


@dataclass(frozen=True)
class Stamp:
    """The files of a dataset as they were at one moment.

    Attributes:
        files: The lists, images and annotations that its splits name, and their folders, relative to its own.
        value: Hash of their sizes, times of modification and of change, and inodes.
        newest: When one of them last changed, in seconds.
    """

    files: list[str]
    value: str
    newest: float


def stamp_of(dataset: Dataset, folder: Path) -> Stamp | None:
    """Return the stamp of a dataset's files; None where one is missing or a list cannot be used."""
    try:
        return _stamp(folder, list(dict.fromkeys(_files(dataset, folder))))
    except (OSError, UserError):
        return None


def known(dataset: Dataset, folder: Path) -> Checked | None:
    """Return what was found when the files were last checked; None where it is not known or one has changed."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        values = json.loads(file_of(dataset, folder).read_bytes())
        if _stamp(folder, values["files"]).value == values["stamp"]:
            return Checked(str(values["fingerprint"]), list(values["warnings"]))
    return None


def keep(dataset: Dataset, folder: Path, stamp: Stamp | None, found: Checked) -> None:
    """Write down what was found of files as they were before they were looked at.

    Nothing is kept of files that changed a moment ago, whose next change might not show. A cache that cannot be
    written only costs time.
    """
    if stamp is None or time.time() - stamp.newest <= SETTLED:
        return
    file = file_of(dataset, folder)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        values = {"stamp": stamp.value, "files": stamp.files, **asdict(found)}
        write_atomically(file, json.dumps(values), lasting=False)


def file_of(dataset: Dataset, folder: Path) -> Path:
    """Return the file of what is known of a dataset in a folder, whether there is one or not."""
    key = digest([code_of(Path(__file__).parent), str(folder.resolve()), asdict(dataset)])
    return cache_folder() / "checked" / f"{key[:16]}.json"


@cache
def code_of(room: Path) -> str:
    """Return the hash of the modules in a folder: what other code found is found anew."""
    return digest({file.name: file_digest(file) for file in sorted(room.glob("*.py"))})


def _files(dataset: Dataset, folder: Path) -> Iterator[str]:
    """Yield the files, and the folders in which another file could take the place of one.

    The folder of a file that has all annotations is none of these: a run may write its results there.
    """
    own = bool(annotation_suffix(dataset))
    for split, parts in dataset.splits.items():
        yield from (part.listing for part in parts)
        yield from (relative(file.absolute(), folder.absolute()) for file in beside(dataset, split, folder))
        for item in items(dataset, split, folder):
            for path, one_of_many in ((item.image, True), (item.annotation, own)):
                yield relative(path, folder)
                if one_of_many:
                    yield relative(path.parent, folder)


def _stamp(folder: Path, files: list[str]) -> Stamp:
    """Raise OSError where a file is missing."""
    whole, newest = hashlib.sha256(), 0
    for file in files:
        found = os.stat(os.path.join(folder, file))  # noqa: PTH116, PTH118 - a Path for each of many files takes twice the time
        newest = max(newest, found.st_mtime_ns, found.st_ctime_ns)
        whole.update(b"%d %d %d %d\n" % (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
    return Stamp(files, whole.hexdigest(), newest / 1e9)

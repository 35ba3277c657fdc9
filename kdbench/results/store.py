"""The store of records: one JSON file a cell, replaced atomically, safe with many writers."""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from kdbench.errors import UserError
from kdbench.files import read_regular, slug, write_atomically
from kdbench.results.reading import read
from kdbench.results.record import Record, complaint, newer
from kdbench.text import line

REPORTED = "reported-"
"""What the files of records begin with that others report."""
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@dataclass(frozen=True)
class Broken:
    """A record file that could not be read: reported, skipped, kept.

    Attributes:
        path: The file.
        why: What is wrong with it, in one line.
        newer: It is good, but of a newer kdbench: nothing takes its place.
    """

    path: Path
    why: str
    newer: bool = False

    def __str__(self) -> str:
        if self.newer:
            return line(f"record {self.path}: {self.why} (left as it is)")
        return line(f"broken record {self.path}: {self.why} (skipped and kept; the cell counts as missing)")

    def refuse(self) -> None:
        """Raise UserError where it is of a newer kdbench: the cell must not be run again."""
        if self.newer:
            raise UserError(f"{self}, or choose another results folder.")


class Folder(NamedTuple):
    """Where the records of a pair lie, below those of its dataset; both names as in a path."""

    dataset: str
    pair: str


class Store:
    """The records under ``root/records``.

    Args:
        root: The results folder; made at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._records = str(root / "records")

    def path_of(self, record: Record) -> Path:
        """Where a record lies: ``records/<dataset>/<pair>/<selector>-seed<k>-<identity>.json``.

        One that others report has a seal of its content before that: an edit of the file alone breaks it.
        """
        return Path(self._place_of(record))

    def _place_of(self, record: Record) -> str:
        prefix = "teacher" if record.kind == "teacher" else slug(record.selector)
        if record.reported_by is not None:
            prefix = f"{REPORTED}{hashlib.sha256(record.to_json().encode()).hexdigest()[:8]}-{prefix}"
        name = f"{prefix}-seed{record.seed}-{record.identity[:12]}.json"
        return f"{self._records}{os.sep}{slug(record.dataset)}{os.sep}{slug(record.pair_name)}{os.sep}{name}"

    def write(self, record: Record, *, replace: bool = False) -> Path:
        """Write a record in one step and return its file.

        A done record is not replaced by one that is not done; a broken file in its place is kept, renamed.

        Args:
            record: The record.
            replace: Let it take the place of a done one also where it is not done.

        Raises:
            UserError: When the disk is full or the folder cannot be written, or a newer kdbench's record is there.
        """
        path = self.path_of(record)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            there = self._there(path, record)
            for file in there:
                old = _read(str(file))
                if isinstance(old, Broken):
                    old.refuse()
                    _set_aside(file)
                elif old.done and not record.done and not replace:
                    return file
            write_atomically(path, record.to_json())
            for file in there - {path}:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(_complaint(path, error)) from error
        return path

    def _there(self, path: Path, record: Record) -> set[Path]:
        """Return the files that a record takes the place of: its own, and that of an earlier selector."""
        same = path.parent.glob(f"*-seed{record.seed}-{record.identity[:12]}.json")
        reported = path.name.startswith(REPORTED)
        return {file for file in same if file == path or not (reported or file.name.startswith(REPORTED))}

    def find(self, identity: str) -> Record | None:
        """Return the done record of that identity, or None: a failure or a broken file does not count.

        An own one comes before one that others report.

        Raises:
            UserError: When a newer kdbench wrote its file, so that it cannot be told.
        """
        found = Path(self._records).glob(f"*/*/*-{identity[:12]}.json")
        for path in sorted(found, key=lambda path: (path.name.startswith(REPORTED), path)):
            record = self._load(str(path))
            if isinstance(record, Broken):
                record.refuse()
            elif record.identity == identity and record.done:
                return record
        return None

    def own(self, path: Path) -> Record | None:
        """Return the record in one of the store's files, done or not; None where there is none that can be read.

        Raises:
            UserError: When a newer kdbench wrote it.
        """
        record = _read(str(path))
        if isinstance(record, Broken):
            record.refuse()
            return None
        return record

    def records(self, dataset: str | None = None) -> tuple[list[Record], list[Broken]]:
        """All records (of one dataset), sorted by path, and the files that could not be read.

        Raises:
            UserError: When a folder cannot be read.
        """
        records, broken = self.in_folder(None if dataset is None else slug(dataset))
        return [record for record in records if dataset in (None, record.dataset)], broken

    def readable(self, dataset: str | None = None) -> list[Record]:
        """Return the same records; files that cannot be read are logged as warnings to the logger ``kdbench``."""
        records, broken = self.records(dataset)
        for file in broken:
            logging.getLogger("kdbench").warning(str(file))
        return records

    def folders(self) -> dict[Folder, int]:
        """Each folder of a pair, or of a dataset's teachers -> files of records in it."""
        found = {folder: len(self._files(folder)) for folder in self._folders()}
        return {folder: count for folder, count in found.items() if count}

    def in_folder(self, dataset: str | None, pair: str | None = None) -> tuple[list[Record], list[Broken]]:
        """Return the records in the ``folders`` of a dataset, a pair, or both, and the broken files."""
        chosen = [f for f in self._folders() if dataset in (None, f.dataset) and pair in (None, f.pair)]
        files = sorted(file for folder in chosen for file in self._files(folder))
        with _without_collections():
            loaded = [self._load(file) for file in files]
        good = [item for item in loaded if isinstance(item, Record)]
        return good, [item for item in loaded if isinstance(item, Broken)]

    def _folders(self) -> list[Folder]:
        datasets = _names(self._records)
        return [Folder(name, pair) for name in datasets for pair in _names(f"{self._records}{os.sep}{name}")]

    def _files(self, folder: Folder) -> list[str]:
        path = f"{self._records}{os.sep}{folder.dataset}{os.sep}{folder.pair}"
        return [f"{path}{os.sep}{name}" for name in _names(path) if name.endswith(".json")]

    def _load(self, path: str) -> Record | Broken:
        record = _read(path)
        if isinstance(record, Record) and (place := self._place_of(record)) != path:
            return Broken(Path(path), f"a copy or renamed: its content belongs in {place}")
        return record


def _names(folder: str) -> list[str]:
    """List what is in a folder, sorted; nothing where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}.") from error


def _read(path: str) -> Record | Broken:
    try:
        return read(read_regular(path))
    except OSError as error:
        return Broken(Path(path), f"unreadable: {error.strerror}")
    except ValidationError as error:
        return Broken(Path(path), complaint(error), newer=newer(error) is not None)


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """While many objects are made and none dies, looking for garbage takes half of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # all is old now: a look for young garbage leaves it out
        if was:
            gc.enable()


def _set_aside(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.{_mark(path)}.broken"))


def _mark(path: Path) -> str:
    """Return what tells a broken file from others that stood in its place."""
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()[:8]
    except FileNotFoundError:
        raise
    except OSError:
        return "unreadable"


def _complaint(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return f"no space left to write {path}: free some, or choose another results folder."
    return f"cannot write {path}: {error.strerror or error}. Choose a results folder that can be written."

"""The store of records: one JSON file a cell, replaced atomically, safe with several writers."""

from __future__ import annotations

import contextlib
import errno
import gc
import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from kdbench.errors import UserError, explain
from kdbench.files import read_regular, slug, write_atomically
from kdbench.results.record import Record
from kdbench.text import line

VERSION: int = Record.model_fields["schema_version"].default
"""The newest ``schema_version`` that is known here."""
REPORTED = "reported-"
"""Prefix of the files of records that others report."""
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


@dataclass(frozen=True)
class Broken:
    """A record file that could not be read: it is reported, skipped and kept.

    Attributes:
        path: The file.
        why: What is wrong with it, in one line.
        newer: Whether a newer kdbench wrote it: then it is never replaced.
    """

    path: Path
    why: str
    newer: bool = False

    def __str__(self) -> str:
        if self.newer:
            return line(f"record {self.path}: {self.why} (left as it is)")
        return line(f"broken record {self.path}: {self.why} (skipped and kept; the cell counts as missing)")

    def refuse(self) -> None:
        """Raise UserError if a newer kdbench wrote the file: its cell must not be run again."""
        if self.newer:
            raise UserError(f"{self}, or choose another results folder.")


class Store:
    """The records under ``root/records``.

    Args:
        root: The results folder; made at the first write.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._records = root / "records"

    def path_of(self, record: Record) -> Path:
        """Return the path of a record: ``records/<dataset>/<pair>/<selector>-seed<k>-<identity>.json``.

        The name of a record that others report begins with a hash of its content: an edited file is noticed.
        """
        prefix = "teacher" if record.kind == "teacher" else slug(record.selector)
        if record.reported_by is not None:
            prefix = f"{REPORTED}{hashlib.sha256(record.to_json().encode()).hexdigest()[:8]}-{prefix}"
        name = f"{prefix}-seed{record.seed}-{record.identity[:12]}.json"
        return self._records / slug(record.dataset) / slug(record.pair_name) / name

    def write(self, record: Record, *, replace: bool = False) -> Path:
        """Write a record atomically and return its file.

        A done record is not replaced by one that is not done; a broken file in its place is renamed and kept.

        Args:
            record: The record.
            replace: Replace a done record even by one that is not done.

        Raises:
            UserError: If the disk is full, the folder cannot be written, or a newer kdbench wrote the file.
        """
        path = self.path_of(record)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            there = self._there(path, record)
            for file in there:
                old = _read(file)
                if isinstance(old, Broken):
                    old.refuse()
                    _set_aside(file)
                elif old.done and not record.done and not replace:
                    return file
            write_atomically(path, record.to_json())
            for file in there - {path}:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(_why_unwritable(path, error)) from error
        return path

    def _there(self, path: Path, record: Record) -> set[Path]:
        """Return the files that a record replaces: its own, and one under an earlier selector."""
        same = path.parent.glob(f"*-seed{record.seed}-{record.identity[:12]}.json")
        reported = path.name.startswith(REPORTED)
        return {file for file in same if file == path or not (reported or file.name.startswith(REPORTED))}

    def find(self, identity: str) -> Record | None:
        """Return the done record of an identity, an own one rather than one that others report; None without one.

        Raises:
            UserError: If a newer kdbench wrote its file.
        """
        found = self._records.glob(f"*/*/*-{identity[:12]}.json")
        for path in sorted(found, key=lambda path: (path.name.startswith(REPORTED), path)):
            record = self._load(path)
            if isinstance(record, Broken):
                record.refuse()
            elif record.identity == identity and record.done:
                return record
        return None

    def own(self, path: Path) -> Record | None:
        """Return the record in a file of the store, done or not; None if there is none or it is broken.

        Raises:
            UserError: If a newer kdbench wrote it.
        """
        record = _read(path)
        if isinstance(record, Broken):
            record.refuse()
            return None
        return record

    def records(self, dataset: str | None = None) -> tuple[list[Record], list[Broken]]:
        """Return all records (of one dataset), sorted by path, and the files that could not be read.

        Raises:
            UserError: If a folder cannot be read.
        """
        files = self._files(dataset)
        with _without_collections():
            loaded = [self._load(file) for file in files]
        records = [one for one in loaded if isinstance(one, Record) and dataset in (None, one.dataset)]
        return records, [one for one in loaded if isinstance(one, Broken)]

    def readable(self, dataset: str | None = None) -> list[Record]:
        """Return the same records, and log a warning for each file that could not be read."""
        records, broken = self.records(dataset)
        for file in broken:
            logging.getLogger("kdbench").warning(str(file))
        return records

    def _files(self, dataset: str | None) -> list[Path]:
        datasets = _inside(self._records) if dataset is None else [self._records / slug(dataset)]
        files = (file for folder in datasets for pair in _inside(folder) for file in _inside(pair))
        return [file for file in files if file.suffix == ".json"]

    def _load(self, path: Path) -> Record | Broken:
        record = _read(path)
        if isinstance(record, Record) and (place := self.path_of(record)) != path:
            return Broken(path, f"a copy or renamed: its content belongs in {place}")
        return record


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Pause garbage collection, which takes a third of the time while many objects are made and none dies."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # all objects are old now, so that collections of young ones skip them
        if was:
            gc.enable()


def _inside(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted; nothing if there is no such folder."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}.") from error


def _read(path: Path) -> Record | Broken:
    try:
        return Record.model_validate_json(read_regular(path))
    except OSError as error:
        return Broken(path, f"unreadable: {error.strerror}")
    except ValidationError as error:
        return Broken(path, complaint(error), newer=_newer(error) is not None)


def record_in(path: Path) -> Record:
    """Return the record in a file that a user names.

    Raises:
        UserError: If it is none, or is cut off.
    """
    found = _read(path)
    if isinstance(found, Broken):
        raise UserError(f"{path} is not a readable record ({found.why}): give another.")
    return found


def complaint(error: ValidationError) -> str:
    """Say in one line what is wrong with a record's file."""
    return _newer(error) or _older(error) or explain(error)


def _newer(error: ValidationError) -> str | None:
    """Say that a newer kdbench wrote the record; None if it did not.

    Its ``schema_version`` is higher, or unknown fields are all that is wrong with it.
    """
    found = error.errors(include_url=False, include_context=False)
    version = next((one["input"] for one in found if one["loc"] == ("schema_version",)), VERSION)
    if isinstance(version, int) and version > VERSION:
        what = f"schema_version {version}, known here is {VERSION}"
    elif all(one["type"] == "extra_forbidden" for one in found):
        what = f"field {'.'.join(map(str, found[0]['loc']))} is not known here"
    else:
        return None
    return f"written by a newer kdbench ({what}): update kdbench to use it"


def _older(error: ValidationError) -> str | None:
    """Say that an older kdbench wrote the record; None if it did not."""
    for one in error.errors(include_url=False, include_context=False):
        version = one["input"]
        if one["loc"] == ("schema_version",) and version in range(1, VERSION):
            return (
                f"written by an older kdbench (schema_version {version}, today's is {VERSION}): run it again"
            )
    return None


def _set_aside(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(f"{path.name}.{_mark(path)}.broken"))


def _mark(path: Path) -> str:
    """Return a hash of a broken file, for a name of its own."""
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()[:8]
    except FileNotFoundError:
        raise
    except OSError:
        return "unreadable"


def _why_unwritable(path: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return f"no space left to write {path}: free some, or choose another results folder."
    return f"cannot write {path}: {error.strerror or error}. Choose a results folder that can be written."

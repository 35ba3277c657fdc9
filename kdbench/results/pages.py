"""The leaderboard files beside the records: written from them, and checked against them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

import pandas as pd

from kdbench.errors import UserError
from kdbench.files import slug, write_atomically
from kdbench.results.details import details
from kdbench.results.formats import escape, legend, to_csv, to_markdown
from kdbench.results.leaderboard import leaderboard
from kdbench.results.record import Record
from kdbench.results.store import Store


def boards(
    records: Iterable[Record], dataset: str | None = None, *, bootstrap: bool = False
) -> dict[str, pd.DataFrame]:
    """Dataset -> its leaderboard, for those (or that one) with anything to rank."""
    by_dataset: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if dataset in (None, record.dataset):
            by_dataset[record.dataset].append(record)
    frames = {name: leaderboard(by_dataset[name], name, bootstrap=bootstrap) for name in sorted(by_dataset)}
    return {name: frame for name, frame in frames.items() if not frame.empty}


def page(dataset: str, frame: pd.DataFrame) -> str:
    """The markdown page of a dataset."""
    return f"# {escape(dataset)}\n\n{legend(frame)}\n\n{to_markdown(frame)}\n{details(frame)}"


def write_leaderboards(
    root: Path, dataset: str | None = None, records: Sequence[Record] | None = None
) -> list[Path]:
    """Write ``leaderboards/<dataset>.md`` and ``.csv`` from the records under ``root``.

    Args:
        root: The results folder.
        dataset: The only one to write; default: all.
        records: The records under ``root``, where they are read already.

    Returns:
        The files, sorted.

    Raises:
        UserError: When they cannot be written.
    """
    return write_pages(_expected(root, dataset, records))


def write_pages(expected: Mapping[Path, str]) -> list[Path]:
    """Write files with their texts, and return the files, sorted. Raises UserError where it cannot."""
    try:
        for path, text in expected.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
    except OSError as error:
        folder = next(iter(expected)).parent
        raise UserError(f"cannot write {folder}: {error.strerror or error}.") from error
    return sorted(expected)


def check_leaderboards(
    root: Path, dataset: str | None = None, records: Sequence[Record] | None = None
) -> list[str]:
    """Compare the files under ``root/leaderboards`` with what the records give.

    Args:
        root: The results folder.
        dataset: The only one to check; default: all.
        records: The records under ``root``, where they are read already.

    Returns:
        One line for each file that is missing, differs or has no records; empty when all is well.
    """
    expected = _expected(root, dataset, records)
    there = {path for path in (root / "leaderboards").glob("*") if path.suffix in (".md", ".csv")}
    if dataset is not None:
        there = {path for path in there if path.stem == slug(dataset)}
    return compare_pages(expected, there)


def compare_pages(expected: Mapping[Path, str], there: Set[Path]) -> list[str]:
    """One line for each file that is missing, differs from its expected text or has none, sorted."""
    problems = [f"{path}: no record gives it" for path in there - expected.keys()]
    problems += [f"{path}: missing" for path in expected.keys() - there]
    same = {path: path.read_bytes() == expected[path].encode() for path in expected.keys() & there}
    problems += [f"{path}: differs from what the records give" for path, equal in same.items() if not equal]
    return sorted(problems)


def _expected(root: Path, dataset: str | None, records: Sequence[Record] | None) -> dict[Path, str]:
    if records is None:
        records, _ = Store(root).records(dataset)
    files: dict[Path, str] = {}
    for name, frame in boards(records, dataset).items():
        base = root / "leaderboards" / slug(name)
        files[base.with_name(f"{base.name}.md")] = page(name, frame)
        files[base.with_name(f"{base.name}.csv")] = to_csv(frame)
    return files

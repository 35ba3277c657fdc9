"""Records that others report: checked together, marked and copied into the store, all or none.

The mark is the record's ``reported_by``, which is no part of its identity. The name of its file has a hash of the
content (:meth:`kdbench.results.store.Store.path_of`): a file that was edited, or lost its mark, counts as broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path

from pydantic import ValidationError

from kdbench.files import read_regular
from kdbench.results.record import MeasuredTeacher, Record
from kdbench.results.rules import problems
from kdbench.results.store import Store, complaint
from kdbench.specs import digest

UNNAMED = "others"
"""Who reports a record, where nobody is named."""
TEACHERS_APART = 0.1
"""Largest plausible difference between two trainings of one teacher, in the ranking metric."""
MEASURED_APART = 0.01
"""Largest plausible difference between two measurements of the same weights."""
MOST_ENSEMBLES = 10_000
"""Most combinations of known teachers that are tried as an ensemble."""

Filed = tuple[Path, Record]


@dataclass(frozen=True)
class Refusal:
    """A reason why a file is refused.

    Attributes:
        path: The file.
        why: What is wrong with it, in one line.
    """

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class Added:
    """The outcome of :func:`add`: either all files were added, or none.

    Attributes:
        added: The new files in the store, in the order given.
        refused: All reasons against all files.
    """

    added: list[Path]
    refused: list[Refusal]


def add(files: Sequence[Path], store: Store, reported_by: str | None = None) -> Added:
    """Check the record files of others and copy them into the store, marked as reported by others.

    Args:
        files: JSON files of records, as a run writes them.
        store: The store, which gets all of them or none.
        reported_by: Who reports them; default: the mark that a file has, else ``others``.

    Raises:
        UserError: If the store cannot be written; then nothing is added.
    """
    refused: list[Refusal] = []
    marked: list[Filed] = []
    for path in files:
        record = _marked(path, reported_by)
        if isinstance(record, Refusal):
            refused.append(record)
        else:
            marked.append((path, record))
    own = [(store.path_of(record), record) for record in store.records()[0]]
    refused += _repeated(marked, own)
    refused += _implausible(marked, own)
    return Added([], _sorted(refused, files)) if refused else Added(_write(marked, store), [])


def check(store: Store) -> tuple[int, list[Refusal]]:
    """Apply the rules of :func:`add` to a store; return the number of its records and what is wrong with them."""
    records, broken = store.records()
    filed = [(store.path_of(record), record) for record in records]
    found = [Refusal(file.path, file.why) for file in broken]
    found += [*_repeated(filed, []), *_implausible(filed, [])]
    return len(records) + len(broken), sorted(found, key=str)


def _sorted(refused: Iterable[Refusal], files: Sequence[Path]) -> list[Refusal]:
    unique = dict.fromkeys(refused)
    return sorted(unique, key=lambda refusal: files.index(refusal.path))


def _marked(path: Path, reported_by: str | None) -> Record | Refusal:
    """Return the record in a file, marked."""
    try:
        record = Record.model_validate_json(read_regular(path))
        by = reported_by or record.reported_by or UNNAMED
        if record.reported_by not in (None, by):
            return Refusal(path, f"it is marked as reported by {record.reported_by}, not by {by}")
        return Record.model_validate({**record.model_dump(), "reported_by": by})
    except OSError as error:
        return Refusal(path, f"unreadable: {error.strerror}")
    except ValidationError as error:
        return Refusal(path, complaint(error))


def _repeated(files: Iterable[Filed], store: Iterable[Filed]) -> Iterator[Refusal]:
    """Refuse files whose identity the store has already."""
    there = {record.identity: path for path, record in store}
    for path, record in files:
        if record.identity in there:
            yield Refusal(path, f"its result is already in the store: {there[record.identity]}")
        else:
            there[record.identity] = path


def _implausible(files: Sequence[Filed], store: Iterable[Filed]) -> Iterator[Refusal]:
    """Refuse files that break a rule by themselves or, if they do not, contradict the other records."""
    own = [(path, record, problems(record)) for path, record in files]
    good = [record for _, record, found in own if not found]
    beside = KnownResults([*good, *(record for _, record in store)])
    for path, record, found in own:
        yield from (Refusal(path, why) for why in found or beside.problems(record))


class KnownResults:
    """The records that a further one must not contradict.

    Args:
        records: Those of the store, and those that are added together.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        records = list(records)
        self.teachers = {record.identity: record for record in records if record.kind == "teacher"}
        self.metrics: dict[str, set[str]] = {}
        self.values: dict[tuple[str, str], list[float]] = {}
        self.weights: dict[tuple[str | None, ...], set[str]] = {}
        """Teacher and machine of its students -> hashes of the weights that they were distilled from."""
        for record in records:
            self.metrics.setdefault(record.dataset, set()).add(record.metric)
            if record.teacher is not None and record.teacher.value is not None:
                same = (record.teacher.identity, record.teacher.weights_sha256)
                self.values.setdefault(same, []).append(record.teacher.value)
                ours = _taught(record, record.teacher)
                self.weights.setdefault(ours, set()).add(record.teacher.weights_sha256)

    def problems(self, record: Record) -> Iterator[str]:
        """Yield each contradiction between a record and the others."""
        if len(self.metrics[record.dataset]) > 1:
            names = ", ".join(sorted(self.metrics[record.dataset]))
            yield f"metric: records of {record.dataset} are ranked by {names}, where one is due"
        if record.kind == "cell" and record.teacher is not None:
            yield from self._of_the_teacher(record)

    def _of_the_teacher(self, record: Record) -> Iterator[str]:
        taught = record.teacher
        assert taught is not None, "asked for cells with a teacher only"
        if taught.value is None:
            return  # a feature network: it has no record
        own = self.teachers.get(taught.identity)
        if own is None:
            yield f"teacher: there is no record of teacher {taught.identity[:12]}: add it in the same command"
            return
        if taught.identity != record.teacher_identity and not self._is_ensemble(own, record.teacher_identity):
            yield "teacher: it is not the one that the spec asks for, nor the first of a known ensemble"
        if taught.config != own.spec["model"]["config"]:
            yield f"teacher: its config is {own.spec['model']['config']}, not {taught.config}"
        if own.score is None or abs(taught.value - own.score) > TEACHERS_APART:
            yield f"teacher: its value {taught.value:.3f} is far from its own record ({_score(own)})"
        if _where(own) == _where(record) and own.weights_sha256 not in (None, taught.weights_sha256):
            yield f"teacher: its weights {taught.weights_sha256[:12]} are not those of its own record"
        elif len(self.weights[_taught(record, taught)]) > 1:
            yield f"teacher: its weights {taught.weights_sha256[:12]} are not those of other rows of its ranking"
        same = self.values[taught.identity, taught.weights_sha256]
        if max(same) - min(same) > MEASURED_APART:
            yield f"teacher: the same weights give {min(same):.3f} and {max(same):.3f} in different records"

    def _is_ensemble(self, first: Record, identity: str | None) -> bool:
        """Whether an identity is that of an ensemble of known teachers that begins with this one."""
        alike = [other for other in self.teachers.values() if other is not first and _alike(other, first)]
        teams = (team for size in range(1, len(alike) + 1) for team in permutations(alike, size))
        return any(
            digest([first.identity, *(member.identity for member in team)]) == identity
            for team in islice(teams, MOST_ENSEMBLES)
        )


def _where(record: Record) -> tuple[str | None, ...]:
    """Return who made a record on what: where that is the same, a teacher's weights are the same."""
    return record.reported_by, record.machine, record.versions.get("torch")


def _taught(record: Record, teacher: MeasuredTeacher) -> tuple[str | None, ...]:
    """Return a teacher, and who trained its student on what."""
    return (teacher.identity, *_where(record))


def _alike(one: Record, other: Record) -> bool:
    """Whether two teachers may be of one ensemble: they differ in seeds or checkpoints only."""
    changing = {"seed", "checkpoint", "pretrained"}
    return {k: v for k, v in one.spec.items() if k not in changing} == {
        k: v for k, v in other.spec.items() if k not in changing
    }


def _score(record: Record) -> str:
    return record.status if record.score is None else f"{record.score:.3f}"


def _write(files: Sequence[Filed], store: Store) -> list[Path]:
    """Write all records; if one cannot be written, remove those that were."""
    written: list[Path] = []
    try:
        for _, record in files:
            written.append(store.write(record))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written

"""Records that others report: checked all together, marked, and copied into the store, or none of them.

The mark is the record's ``reported_by``. It is no part of the identity, and the name of the record's file seals it
(:meth:`kdbench.results.store.Store.path_of`): whoever edits the file, or the mark away, leaves a broken record that
is named and not counted.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from kdbench.devices import CPU
from kdbench.errors import explain
from kdbench.files import read_regular
from kdbench.plugins import registry
from kdbench.results.naming import contradiction
from kdbench.results.record import MeasuredTeacher, Record, best_point, complaint
from kdbench.results.store import Store
from kdbench.results.tuned import is_best
from kdbench.results.views import Kind
from kdbench.results.wording import unfit_texts
from kdbench.specs import (
    PLAIN,
    EvaluationSpec,
    RunSpec,
    StagedTeacherSpec,
    TeacherSpec,
    digest,
    is_feature_network,
    training_time,
)

UNNAMED = "others"
"""Who reports a record, where nobody is named."""
TEACHERS_APART = 0.1
"""How far, in the ranking metric, two trainings of one teacher may be apart."""
MEASURED_APART = 0.01
"""How far two measurements of the same weights may be apart."""
MOST_ENSEMBLES = 10_000
"""Combinations of known teachers that are tried for an ensemble."""

NEEDED = ("python", "torch")
"""Versions that every record has."""
POSITIVE = (
    *("seconds_per_iteration", "peak_memory_mib", "latency_ms"),
    *("student_parameters", "student_flops", "student_bits"),
)
"""Costs that are above 0 where they were measured."""

SPECS: Mapping[Kind, type[RunSpec | TeacherSpec | EvaluationSpec]] = {
    "cell": RunSpec,
    "teacher": TeacherSpec,
    "evaluation": EvaluationSpec,
}
Filed = tuple[Path, Record]


@dataclass(frozen=True)
class Refusal:
    """Why a file is not taken.

    Attributes:
        path: The file.
        why: What is wrong with it, in one line.
    """

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@dataclass(frozen=True)
class Verdict:
    """What became of files to add: either all are added, or none, with the reasons.

    Attributes:
        added: Files in the store, in the order given.
        refused: Every reason against every file.
    """

    added: list[Path]
    refused: list[Refusal]


def add(files: Sequence[Path], store: Store, reported_by: str | None = None) -> Verdict:
    """Check record files of others and copy them into the store, marked as reported by others.

    Args:
        files: JSON files of records, as a run leaves them.
        store: Gets all of them, or none.
        reported_by: Who reports them; default: the mark that a file has, else ``others``.

    Raises:
        UserError: When the store cannot be written; nothing is added then.
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
    return Verdict([], _sorted(refused, files)) if refused else Verdict(_write(marked, store), [])


def check(store: Store) -> tuple[int, list[Refusal]]:
    """Apply the same rules to all records of a store; gives their number and what is wrong, sorted by file."""
    records, broken = store.records()
    filed = [(store.path_of(record), record) for record in records]
    found = [Refusal(file.path, file.why) for file in broken]
    found += [*_repeated(filed, []), *_implausible(filed, [])]
    return len(records) + len(broken), sorted(found, key=str)


def _sorted(refused: Iterable[Refusal], files: Sequence[Path]) -> list[Refusal]:
    unique = dict.fromkeys(refused)
    return sorted(unique, key=lambda refusal: files.index(refusal.path))


def _marked(path: Path, reported_by: str | None) -> Record | Refusal:
    """Return the record in a file with its mark."""
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
    """Files whose result the store has already, by its identity."""
    there = {record.identity: path for path, record in store}
    for path, record in files:
        if record.identity in there:
            yield Refusal(path, f"its result is already in the store: {there[record.identity]}")
        else:
            there[record.identity] = path


def _implausible(files: Sequence[Filed], store: Iterable[Filed]) -> Iterator[Refusal]:
    """List what is wrong with each file by itself and, for those that are good so far, beside all others."""
    own = [(path, record, problems(record)) for path, record in files]
    good = [record for _, record, found in own if not found]
    beside = KnownResults([*good, *(record for _, record in store)])
    for path, record, found in own:
        yield from (Refusal(path, why) for why in found or beside.problems(record))


class KnownResults:
    """What a record can be checked against.

    Args:
        records: The store's, and those that come with it.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        records = list(records)
        self.teachers = {record.identity: record for record in records if record.kind == "teacher"}
        self.metrics: dict[str, set[str]] = {}
        self.values: dict[tuple[str, str], list[float]] = {}
        self.weights: dict[tuple[str | None, ...], set[str]] = {}
        """Teacher and where its students were trained -> the weights that these were distilled from."""
        for record in records:
            self.metrics.setdefault(record.dataset, set()).add(record.metric)
            if record.teacher is not None and record.teacher.value is not None:
                same = (record.teacher.identity, record.teacher.weights_sha256)
                self.values.setdefault(same, []).append(record.teacher.value)
                ours = _taught(record, record.teacher)
                self.weights.setdefault(ours, set()).add(record.teacher.weights_sha256)

    def problems(self, record: Record) -> Iterator[str]:
        """List what is wrong with a record beside the others."""
        if len(self.metrics[record.dataset]) > 1:
            names = ", ".join(sorted(self.metrics[record.dataset]))
            yield f"metric: records of {record.dataset} are ranked by {names}, where one is due"
        if record.kind == "cell" and record.teacher is not None:
            yield from self._of_the_teacher(record)

    def _of_the_teacher(self, record: Record) -> Iterator[str]:
        taught = record.teacher
        assert taught is not None, "asked for cells with a teacher only"
        if taught.value is None:
            return  # it gives feature maps alone, so it has no record
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
        """Whether an identity is that of an ensemble of known teachers, that one its first."""
        alike = [other for other in self.teachers.values() if other is not first and _alike(other, first)]
        teams = (team for size in range(1, len(alike) + 1) for team in permutations(alike, size))
        return any(
            digest([first.identity, *(member.identity for member in team)]) == identity
            for team in islice(teams, MOST_ENSEMBLES)
        )


def _where(record: Record) -> tuple[str | None, ...]:
    """Who trained a record on what: of the same, a teacher has the same weights."""
    return record.reported_by, record.machine, record.versions.get("torch")


def _taught(record: Record, teacher: MeasuredTeacher) -> tuple[str | None, ...]:
    """Return a teacher and where the student that it taught was trained."""
    return (teacher.identity, *_where(record))


def _alike(one: Record, other: Record) -> bool:
    """Whether two teachers may be of one ensemble: they differ in their seeds or checkpoints only."""
    changing = {"seed", "checkpoint", "pretrained"}
    return {k: v for k, v in one.spec.items() if k not in changing} == {
        k: v for k, v in other.spec.items() if k not in changing
    }


def _score(record: Record) -> str:
    return record.status if record.score is None else f"{record.score:.3f}"


def _write(files: Sequence[Filed], store: Store) -> list[Path]:
    """Write all; what was written is taken back where one fails."""
    written: list[Path] = []
    try:
        for _, record in files:
            written.append(store.write(record))
    except BaseException:
        for path in written:
            path.unlink(missing_ok=True)
        raise
    return written


def problems(record: Record) -> list[str]:
    """List what is implausible or contradictory in a record; empty where all is well."""
    found = [*unfit_texts(record), *_of_the_spec(record)]
    if not found:
        for rule in (
            _of_the_names,
            _of_the_result,
            _of_the_cost,
            _of_the_teacher,
            _of_the_tuning,
            _of_the_origin,
        ):
            found += rule(record)
    return found


def _of_the_spec(record: Record) -> Iterator[str]:
    kind = SPECS[record.kind]
    if record.kind == "teacher" and "stage" in record.spec:
        kind = StagedTeacherSpec
    try:
        spec = kind.model_validate_json(json.dumps(record.spec), strict=True)
    except ValidationError as error:
        yield f"spec: {explain(error)}"
        return
    if record.seed < 0:
        yield f"spec: seed {record.seed} is negative"
    if re.fullmatch("[0-9a-f]{64}", spec.data) is None:
        yield "spec: data is not a fingerprint of a dataset (64 hex digits)"
    if record.is_control and not 1 < training_time(record.method, record.options) <= 100:
        yield f"spec: the time of a control is over 1 and at most 100, not {record.options['time']!r}"


def _of_the_names(record: Record) -> Iterator[str]:
    """Dataset, metric, method and selector, as far as they are known here."""
    known = registry().datasets.get(record.dataset)
    if known is not None and record.metric != known.value.metric:
        yield f"metric: {record.dataset} is ranked by {known.value.metric}, not by {record.metric}"
    metric = registry().metrics.get(record.metric)
    if metric is not None and record.higher_is_better != metric.value.higher_is_better:
        yield f"higher_is_better: it is {record.higher_is_better}, and not so of {record.metric}"
    if record.kind != "cell":
        return
    if record.spec["pair"]["dataset"] != record.dataset:
        yield f"spec: pair '{record.pair_name}' is for another dataset than {record.dataset}"
    if re.fullmatch(r"\S+ \S+", record.plugin) is None:
        yield f"plugin '{record.plugin}' is not a distribution with its version"
    if wrong := contradiction(record):
        yield f"spec: {wrong}"


def _of_the_result(record: Record) -> Iterator[str]:
    """Check that a done record's metrics agree with the last and best points of its curve."""
    if not record.done or record.metrics is None:
        if record.metrics is not None or record.curve:
            yield f"status '{record.status}' contradicts its metrics or curve"
        return
    if not record.curve:
        yield "curve: it is empty"
        return
    yield from _of_the_curve(record)
    last = {name: value for name, value in record.curve[-1].items() if name != "iteration"}
    if last != record.metrics.last:
        yield "metrics.last is not the curve's last point"
    best = best_point(record.curve, record.metric, higher_is_better=record.higher_is_better)
    if best != record.metrics.best:
        yield "metrics.best is not the curve's best point"


def _of_the_curve(record: Record) -> Iterator[str]:
    steps = [point["iteration"] for point in record.curve]
    if any(not isinstance(step, int) or step < 0 for step in steps) or sorted(set(steps)) != steps:
        yield "curve: its iterations do not increase"
    if steps[-1] != _iterations(record.spec):
        yield f"curve: it ends at iteration {steps[-1]}, the schedule at {_iterations(record.spec)}"
    for point in record.curve:
        for name, value in point.items():
            if name != "iteration" and not 0 <= value <= 1:
                yield f"curve: {name} {value} at iteration {point['iteration']} is not a fraction in [0, 1]"


def _iterations(spec: dict[str, Any]) -> int:
    """Where a training ends; a given checkpoint is only measured."""
    if spec.get("checkpoint") is not None:
        return 0
    if "recipe" in spec:
        return int(spec["recipe"]["iterations"])
    iterations = int(spec["pair"]["schedule"]["iterations"])
    return round(training_time(spec["method"], spec["options"]) * iterations)


def _of_the_cost(record: Record) -> Iterator[str]:
    for name, value in record.cost.model_dump(exclude={"timed_with"}).items():
        if value is not None and (value < 0 or (value == 0 and name in POSITIVE)):
            yield f"cost: {name} {value} is not positive"


def _of_the_teacher(record: Record) -> Iterator[str]:
    if record.kind != "cell":
        return
    if (record.method == PLAIN) != (record.teacher_identity is None):
        yield "teacher: every method has one, and the plain student none"
    if record.teacher is None:
        if record.done and record.method != PLAIN:
            yield "teacher: missing"
        return
    if record.method == PLAIN:
        yield "teacher: the plain student has none"
    if (record.teacher.value is None) != is_feature_network(record.teacher.config):
        yield "teacher: every teacher has a value, and one that gives feature maps alone none"
    if re.fullmatch("[0-9a-f]{64}", record.teacher.weights_sha256) is None:
        yield "teacher: weights_sha256 is not a hash (64 hex digits)"


def _of_the_tuning(record: Record) -> Iterator[str]:
    if record.tuned is not None and not is_best(record.options, record.tuned, record.sign):
        yield "tuned: the options are not those of the best trial"


def _of_the_origin(record: Record) -> Iterator[str]:
    """Provenance: software, machine, time and command of a result."""
    needed = NEEDED if record.reported_by is None else (*NEEDED, "kdbench")
    for name in needed:
        if not record.versions.get(name, "").strip():
            yield f"versions: no version of {name}"
    if not record.device.strip() or not record.host_class.strip():
        yield "device or host_class: empty"
    if (record.device == CPU) != (record.device_class == CPU):
        yield f"device: '{record.device}' is not of the spec's class, {record.device_class}"
    if record.made.command.split()[:1] != ["kdbench"]:
        yield "made: the command is none of kdbench"
    try:
        datetime.datetime.fromisoformat(record.made.clock.replace("Z", "+00:00"))
    except ValueError:
        yield f"made: the clock '{record.made.clock}' is not an ISO 8601 time"

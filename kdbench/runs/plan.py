"""From what a user asks for to the specs of a run, without importing torch."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kdbench.cards import MethodCard, Options
from kdbench.combined import CombinedCard
from kdbench.dataset_cards import Dataset
from kdbench.datasets.checked import Checked, keep, known, stamp_of
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.locate import folder_of, prepare, require
from kdbench.datasets.usable import check_files
from kdbench.errors import ArgumentError, UserError, running
from kdbench.files import parsed_once
from kdbench.offers import Offer
from kdbench.plugins import registry, title_of
from kdbench.runs.request import Request, overridden, pair_of, with_benchmark
from kdbench.selectors import canonical, parse, resolve
from kdbench.source import source_hash
from kdbench.specs import (
    PLAIN,
    Model,
    Pair,
    RunSpec,
    Spec,
    StagedTeacherSpec,
    TeacherSpec,
    digest,
    file_digest,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A request, resolved: every name looked up, every value checked.

    Attributes:
        card: The method's card.
        options: Its options.
        dataset: The dataset's card.
        folder: Where its files are.
        teacher: Spec of the teacher; None for the plain student and for a control.
        plain: Spec of the plain student of the same seed.
        cell: Spec of the method's own cell (the same as ``plain`` for the plain student).
        checkpoints: The teachers' checkpoints, if they were given, by their hash.
        staged: Spec of the teacher after the stage that the method asks for, or None.
        others: Specs of an ensemble's further teachers.
        ancestor: Spec of the teacher that all students of the pair start from, or None.
        plugin: Distribution and version that the method comes from.
        command: Command that runs the cell by hand; empty: that of this process.
    """

    card: MethodCard
    options: Options
    dataset: Dataset
    folder: Path
    teacher: TeacherSpec | None
    plain: RunSpec
    cell: RunSpec
    checkpoints: Mapping[str, Path]
    staged: StagedTeacherSpec | None = None
    others: tuple[TeacherSpec, ...] = ()
    ancestor: TeacherSpec | None = None
    plugin: str = ""
    command: str = ""

    def compresses(self, cell: RunSpec) -> bool:
        """Whether the method makes a cell's student from the teacher; it does not make the plain one."""
        return self.card.kind == "compression" and cell.method == self.card.name

    def student_of(self, cell: RunSpec) -> Model:
        """Return the model of a cell's student: the pair's, but where the cell is a compression's."""
        compressed = self.card.compression
        if compressed is None or not self.compresses(cell):
            return cell.pair.student
        with running(title_of(self.card), "compression()"), redirect_stdout(sys.stderr):
            return compressed(self.options, cell.pair)

    @property
    def code(self) -> str:
        """Hash of the method's own source as it is now."""
        if isinstance(self.card, CombinedCard):
            return digest([_code(offer.value, origin(offer)) for offer in self.card.offers])
        return _code(self.card, self.plugin)


def plan(request: Request, *, rehash: bool = False) -> Plan:
    """Resolve a request.

    Args:
        request: What the user asks for.
        rehash: Read every file of the dataset, whatever the index of hashes has of it.

    Raises:
        UserError: For anything unknown, malformed or missing, in one line.
    """
    return Planner(rehash=rehash).plan(request)


class Planner:
    """Resolves requests; what several share (the data, a pair, its teacher, a selector) is resolved once.

    Args:
        rehash: Read every file of a dataset, whatever the index of hashes has of it.
    """

    def __init__(self, *, rehash: bool = False) -> None:
        self.rehash = rehash
        for name in ("_asked", "_method", "_data", "_pair", "_ensemble", "_teaching", "_students", "_plain"):
            setattr(self, name, cache(getattr(self, name)))  # once for all requests with the same arguments

    def plan(self, request: Request) -> Plan:
        """Resolve a request. Raises UserError for anything unknown, malformed or missing, in one line."""
        given = bool(request.teacher_checkpoints)
        asked = self._asked(replace(request, method="", seed=0))
        request = replace(asked, method=request.method, seed=request.seed)
        offer, options, selector = self._method(request.method)
        card = offer.value
        dataset = registry().dataset(request.dataset).value
        if dataset.task not in card.tasks:
            raise UserError(
                f"method '{card.name}' is for {' and '.join(card.tasks)}; '{dataset.name}' is {dataset.task}."
            )
        pair, (folder, _) = self._pair(asked), self._data(asked.dataset, asked.data_root)
        without = card.name == PLAIN and not pair.inherit
        checkpoints = no_checkpoints(given) if without else given_checkpoints(request, options)
        files = tuple(checkpoints)
        teachers, staged, taught = self._teaching(asked, request.method, files)
        pair, ancestor = self._students(asked, files)
        cell = RunSpec(
            **self._common(asked, request.seed),
            method=card.name,
            selector=selector,
            options=options.recorded(),
            revision=card.revision,
            pair=pair,
            teacher=taught,
        )
        return Plan(
            card,
            options,
            dataset,
            folder,
            teachers[0] if teachers else None,
            self._plain(asked, request.seed, files),
            cell,
            checkpoints,
            staged,
            tuple(teachers[1:]),
            ancestor,
            origin(offer),
        )

    def _asked(self, request: Request) -> Request:
        """Return a request, without its method and seed, with what its benchmark file says."""
        return with_benchmark(request)

    def _method(self, text: str) -> tuple[Offer[MethodCard], Options, str]:
        name, raw = parse(text)
        offer = registry().method(name)
        with running(offer.title, "its options"), redirect_stdout(sys.stderr):
            options = resolve(offer.value, raw)
            return offer, options, canonical(offer.value, options)

    def _pair(self, asked: Request) -> Pair:
        declared = overridden(pair_of(asked, registry().dataset(asked.dataset).value), asked)
        found = resolved(declared)
        if declared.family not in (None, found.family) and asked.student is None:
            log.info(f"pair '{found.name}' says {declared.family}, its student is {found.family}")
        return found

    def _data(self, dataset: str, root: Path | None) -> tuple[Path, str]:
        return data_of(registry().dataset(dataset).value, root, rehash=self.rehash)

    def _common(self, asked: Request, seed: int) -> dict[str, Any]:
        """Return what the specs of students and teachers have in common."""
        return {
            "dataset": registry().dataset(asked.dataset).value.name,
            "data": self._data(asked.dataset, asked.data_root)[1],
            "seed": seed,
            "schedule": schedule_of(asked),
            "precision": asked.precision,
            "device": asked.device,
            "processes": asked.processes,
        }

    def _ensemble(self, asked: Request, size: int, checkpoints: tuple[str, ...]) -> list[TeacherSpec]:
        classes = dict(asked.teacher_classes) or None
        return ensemble(self._pair(asked), self._common(asked, 0), size, checkpoints, classes)

    def _teaching(
        self, asked: Request, method: str, checkpoints: tuple[str, ...]
    ) -> tuple[list[TeacherSpec], StagedTeacherSpec | None, str | None]:
        """Return a method's teachers, the first one after the stage, if any, and the identity of what teaches."""
        offer, options, _ = self._method(method)
        if offer.value.name == PLAIN:
            return [], None, None
        teachers = self._ensemble(asked, options.ensemble, checkpoints)
        staged = staged_teacher(teachers[0], offer.value, options)
        return teachers, staged, taught_by([staged] if staged else teachers)

    def _students(self, asked: Request, checkpoints: tuple[str, ...]) -> tuple[Pair, TeacherSpec | None]:
        """Return the pair as the specs of its students have it, and the teacher that they start from, if any."""
        pair = self._pair(asked)
        if not pair.inherit:
            return pair, None
        ancestor = self._ensemble(asked, Options().ensemble, checkpoints)[0]
        return pair.model_copy(update={"inherits": ancestor.identity()}), ancestor

    def _plain(self, asked: Request, seed: int, checkpoints: tuple[str, ...]) -> RunSpec:
        return RunSpec(
            **self._common(asked, seed),
            method=PLAIN,
            selector=PLAIN,
            options={},
            revision=registry().method(PLAIN).value.revision,
            pair=self._students(asked, checkpoints)[0],
            teacher=None,
        )


def schedule_of(request: Request) -> Literal["default", "smoke", "custom"]:
    """Return the name of a request's schedule; ``custom`` where anything of the pair was changed."""
    if request.schedule == "smoke":
        return "smoke"
    changed = request.settings or request.teacher or request.student or request.from_scratch
    return "custom" if changed else "default"


def _code(card: MethodCard, plugin: str) -> str:
    return source_hash(card.method.partition(":")[0], plugin.rpartition(" ")[0])


def origin(offer: Offer[MethodCard]) -> str:
    """Return distribution and version that a method comes from."""
    return f"{offer.plugin.distribution} {offer.plugin.version}"


def no_checkpoints(given: bool) -> dict[str, Path]:
    """Return no checkpoints, for a plain student that has no teacher. Raises ArgumentError if any are given."""
    if given:
        why = f"method '{PLAIN}' has no teacher: leave them out, or name another method."
        raise ArgumentError("teacher_checkpoints", why)
    return {}


def given_checkpoints(request: Request, options: Options) -> dict[str, Path]:
    """Return the checkpoints of the teachers, by their hash.

    Raises:
        UserError: If one cannot be read or is not on this machine, or there are not as many as the method has
            teachers.
    """
    from kdbench.openmmlab.weights.zoo import checkpoint_file

    files = [checkpoint_file(one, download=request.download) for one in request.teacher_checkpoints]
    checkpoints = {sha256(file): file for file in files}
    if request.teacher_checkpoints and len(checkpoints) != options.ensemble:
        raise ArgumentError(
            "teacher_checkpoints",
            f"{len(checkpoints)} different ones for {options.ensemble} teacher(s) of '{request.method}': "
            "give one for each, or none to have them trained.",
        )
    return checkpoints


def ensemble(
    pair: Pair,
    common: dict[str, Any],
    size: int,
    checkpoints: Sequence[str],
    classes: dict[str, str] | None = None,
) -> list[TeacherSpec]:
    """Return specs of the pair's teacher with seeds 0 up to ``size``, or of the given checkpoints' teachers."""
    return [
        TeacherSpec(
            **{**common, "seed": 0 if checkpoints else seed},
            model=pair.teacher,
            recipe=pair.teacher_schedule,
            pretrained=pair.pretrained and not checkpoints,
            checkpoint=checkpoints[seed] if checkpoints else None,
            classes=classes,
        )
        for seed in range(size)
    ]


def taught_by(teachers: Sequence[TeacherSpec]) -> str | None:
    """Return the identity of a teacher, or of an ensemble; None if there is none."""
    identities = [teacher.identity() for teacher in teachers]
    return digest(identities) if len(identities) > 1 else next(iter(identities), None)


def staged_teacher(teacher: TeacherSpec, card: MethodCard, options: Options) -> StagedTeacherSpec | None:
    """Return the teacher after the stage that a method asks for with these options; None if it asks for none."""
    with running(title_of(card), "teacher_stage()"), redirect_stdout(sys.stderr):
        stage = None if card.teacher_stage is None else card.teacher_stage(options)
    if stage is not None and options.ensemble > 1:
        raise UserError(
            f"method '{card.name}' asks for several teachers and for a stage: it can have one of both."
        )
    return None if stage is None else StagedTeacherSpec.after(teacher, stage, card.revision)


def located(dataset: Dataset, root: Path | None) -> Path:
    """Return the folder of a dataset's files; an embedded dataset is written if it is missing."""
    if dataset.embedded:
        return prepare(dataset, root)
    return require(dataset, root)


def data_of(dataset: Dataset, root: Path | None, *, rehash: bool = False) -> tuple[Path, str]:
    """Check a dataset's files and return their folder and fingerprint.

    Args:
        dataset: Its card.
        root: Folder of the datasets.
        rehash: Read every file, whatever the index of hashes has of it.

    Raises:
        UserError: If they are missing or cannot be used.
    """
    folder = located(dataset, root) if dataset.embedded else folder_of(dataset, root)
    found = None if rehash else known(dataset, folder)
    if found is None:
        stamp = stamp_of(dataset, located(dataset, root))
        warnings = check_files(dataset, folder, root, rehash=rehash)
        found = Checked(fingerprint(dataset, folder, rehash=rehash), warnings)
        keep(dataset, folder, stamp, found)
    for line in found.warnings:
        log.warning(line)
    return folder, found.fingerprint


def resolved(pair: Pair) -> Pair:
    """Return the pair with its models :func:`resolved_model` and the family that its student has."""
    models = {
        "teacher": resolved_model(pair.teacher, pretrained=pair.pretrained),
        "student": resolved_model(pair.student, pretrained=pair.pretrained),
    }
    from kdbench.openmmlab.models.resolved import family_in

    return pair.model_copy(update={**models, "family": family_in(pair.student)})


def resolved_model(model: Model, *, pretrained: bool) -> Model:
    """Return the model with the hash of what its config resolves to.

    Raises:
        UserError: If OpenMMLab is missing, the config cannot be read, or an edit does not fit it.
    """
    try:
        from kdbench.openmmlab.models.resolved import model_hash
    except ImportError as error:
        raise UserError(
            f"OpenMMLab does not import ({error}): `kdbench doctor` says how to fix it."
        ) from error
    return model.model_copy(update={"sha256": model_hash(model, pretrained=pretrained)})


def sha256(path: Path) -> str:
    """Return the hash of a user's file. Raises UserError if it cannot be read."""
    try:
        return _digest_once(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from error


_digest_once = parsed_once(file_digest)


def stored(spec: Spec) -> dict[str, Any]:
    """Return a spec as a record keeps it; its digest is the identity."""
    values: dict[str, Any] = json.loads(spec.model_dump_json())
    return values

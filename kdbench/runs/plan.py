"""From what a user asks for to the specs of a run, without importing torch."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from kdbench.cards import Dataset, MethodCard, Options
from kdbench.combined import CombinedCard
from kdbench.datasets.checked import Checked, keep, known, stamp_of
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.locate import folder_of, prepare, require
from kdbench.datasets.usable import check_files
from kdbench.errors import ArgumentError, UserError, running
from kdbench.files import parsed_once
from kdbench.offers import Offer
from kdbench.plugins import registry, title_of
from kdbench.runs.request import Request, of_benchmark, overridden, pair_of
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
        teacher: Spec of the teacher; None where the method is the plain student, or a control.
        plain: Spec of the plain student of the same seed.
        cell: Spec of the method's own cell (the same as ``plain`` for the plain student).
        checkpoints: The teachers' checkpoints, if they were given, by their hash.
        staged: Spec of the teacher after the stage that the method asks for, or None.
        others: Specs of an ensemble's further teachers.
        ancestor: Spec of the teacher that all students of the pair start from, or None.
        plugin: Distribution and version that the method comes from.
        command: Command that runs the cell by hand; empty where that is this process's own.
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

    def student_of(self, cell: RunSpec) -> Model:
        """Return the model of a cell's student: the pair's, but where the cell is a compression's."""
        if self.card.compression is None or cell.method != self.card.name:
            return cell.pair.student
        with running(title_of(self.card), "compression()"), redirect_stdout(sys.stderr):
            return self.card.compression(self.options, cell.pair)

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
    """Resolves requests; what several share (the data, a pair, its teacher, a selector) is looked at once.

    Args:
        rehash: Read every file of a dataset, whatever the index of hashes has of it.
    """

    def __init__(self, *, rehash: bool = False) -> None:
        self.rehash = rehash
        self._asked: dict[str, tuple[Offer[MethodCard], Options, str]] = {}
        self._content: dict[tuple[str, Path | None], tuple[Path, str]] = {}
        self._pairs: dict[Request, Pair] = {}
        self._plain: dict[tuple[Request, int], RunSpec] = {}
        self._members: dict[tuple[Request, int], list[TeacherSpec]] = {}
        self._requests: dict[Request, Request] = {}
        self._taught_by: dict[tuple[Request, str], tuple[StagedTeacherSpec | None, str | None]] = {}

    def plan(self, request: Request) -> Plan:
        """Resolve a request. Raises UserError for anything unknown, malformed or missing, in one line."""
        given = request.teacher_checkpoints
        request = self._of_benchmark(request)
        offer, options, selector = self._method(request.method)
        card = offer.value
        dataset = registry().dataset(request.dataset).value
        if dataset.task not in card.tasks:
            raise UserError(
                f"method '{card.name}' is for {' and '.join(card.tasks)}; '{dataset.name}' is {dataset.task}."
            )
        ground = replace(request, method="", seed=0)
        pair = self._pair(ground, dataset)
        folder, data = self._data(dataset, request.data_root)
        common: dict[str, Any] = {
            "dataset": dataset.name,
            "data": data,
            "seed": request.seed,
            "schedule": kind_of(request),
            "precision": request.precision,
            "device": request.device,
            "processes": request.processes,
        }
        if card.name == PLAIN and not pair.inherit:
            refuse_checkpoints(given)
            checkpoints = {}
        else:
            checkpoints = given_checkpoints(request, options)
        members = [] if card.name == PLAIN else self._ensemble(ground, pair, common, options, checkpoints)
        ancestor = None
        if pair.inherit:
            ancestor = self._ensemble(ground, pair, common, Options(), checkpoints)[0]
            pair = pair.model_copy(update={"inherits": ancestor.identity()})
        staged, taught_by = self._teaching(ground, members, card, options, selector)
        cell = RunSpec(
            **common,
            method=card.name,
            selector=selector,
            options=options.recorded(),
            revision=card.revision,
            pair=pair,
            teacher=taught_by,
        )
        return Plan(
            card,
            options,
            dataset,
            folder,
            members[0] if members else None,
            self._plain_student(ground, pair, common),
            cell,
            checkpoints,
            staged,
            tuple(members[1:]),
            ancestor,
            origin(offer),
        )

    def _of_benchmark(self, request: Request) -> Request:
        """Return :func:`of_benchmark` of a request; a file is read once for all seeds and methods."""
        key = replace(request, method="", seed=0)
        if key not in self._requests:
            self._requests[key] = of_benchmark(request)
        return replace(self._requests[key], method=request.method, seed=request.seed)

    def _method(self, text: str) -> tuple[Offer[MethodCard], Options, str]:
        if text not in self._asked:
            name, raw = parse(text)
            offer = registry().method(name)
            with running(offer.title, "its options"), redirect_stdout(sys.stderr):
                options = resolve(offer.value, raw)
                self._asked[text] = offer, options, canonical(offer.value, options)
        return self._asked[text]

    def _pair(self, ground: Request, dataset: Dataset) -> Pair:
        """Return the pair; ``ground`` is the request without its method and seed, here and below."""
        if ground not in self._pairs:
            declared = overridden(pair_of(ground, dataset), ground)
            self._pairs[ground] = found = resolved(declared)
            if declared.family not in (None, found.family) and ground.student is None:
                log.info(f"pair '{found.name}' says {declared.family}, its student is {found.family}")
        return self._pairs[ground]

    def _data(self, dataset: Dataset, root: Path | None) -> tuple[Path, str]:
        key = (dataset.name, root)
        if key not in self._content:
            self._content[key] = data_of(dataset, root, rehash=self.rehash)
        return self._content[key]

    def _plain_student(self, ground: Request, pair: Pair, common: dict[str, Any]) -> RunSpec:
        key = (ground, common["seed"])
        if key not in self._plain:
            self._plain[key] = RunSpec(
                **common,
                method=PLAIN,
                selector=PLAIN,
                options={},
                revision=registry().method(PLAIN).value.revision,
                pair=pair,
                teacher=None,
            )
        return self._plain[key]

    def _ensemble(
        self,
        ground: Request,
        pair: Pair,
        common: dict[str, Any],
        options: Options,
        checkpoints: Mapping[str, Path],
    ) -> list[TeacherSpec]:
        key = (ground, options.ensemble)
        if key not in self._members:
            classes = dict(ground.teacher_classes) or None
            self._members[key] = ensemble(pair, common, options.ensemble, list(checkpoints), classes)
        return self._members[key]

    def _teaching(
        self, ground: Request, members: list[TeacherSpec], card: MethodCard, options: Options, selector: str
    ) -> tuple[StagedTeacherSpec | None, str | None]:
        """Return the teacher after the method's stage, if any, and the identity of the one that teaches."""
        key = (ground, selector)
        if key not in self._taught_by:
            staged = staged_teacher(members[0], card, options) if members else None
            self._taught_by[key] = staged, taught_by([staged] if staged else members)
        return self._taught_by[key]


def kind_of(request: Request) -> Literal["default", "smoke", "custom"]:
    """Return the name of a request's schedule; ``custom`` where anything of the pair was changed."""
    if request.schedule == "smoke":
        return "smoke"
    changed = request.settings or request.teacher or request.student or request.from_scratch
    return "custom" if changed else "default"


def _code(card: MethodCard, plugin: str) -> str:
    return source_hash(card.method.partition(":")[0], plugin.rpartition(" ")[0])


def origin(offer: Offer[MethodCard]) -> str:
    """Distribution and version that a method comes from."""
    return f"{offer.plugin.distribution} {offer.plugin.version}"


def refuse_checkpoints(given: Sequence[str]) -> None:
    """Raise ArgumentError if checkpoints are given for a plain student that has no teacher."""
    if given:
        why = f"method '{PLAIN}' has no teacher: leave them out, or name another method."
        raise ArgumentError("teacher_checkpoints", why)


def given_checkpoints(request: Request, options: Options) -> dict[str, Path]:
    """Return the checkpoints of the teachers, by their hash.

    Raises:
        UserError: If one cannot be read or is not on this machine, or there are not as many as the method has
            teachers.
    """
    from kdbench.openmmlab.zoo import checkpoint_file

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
    checkpoints: list[str],
    classes: dict[str, str] | None = None,
) -> list[TeacherSpec]:
    """Specs of the pair's teacher from seeds 0 up to ``size``, or of the given checkpoints' teachers."""
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
    """Identity of a teacher, or of an ensemble; None where there is none."""
    identities = [teacher.identity() for teacher in teachers]
    return digest(identities) if len(identities) > 1 else next(iter(identities), None)


def staged_teacher(teacher: TeacherSpec, card: MethodCard, options: Options) -> StagedTeacherSpec | None:
    """Return the teacher after the stage that a method asks for with these options; None where it asks for none."""
    with running(title_of(card), "teacher_stage()"), redirect_stdout(sys.stderr):
        stage = None if card.teacher_stage is None else card.teacher_stage(options)
    if stage is not None and options.ensemble > 1:
        raise UserError(
            f"method '{card.name}' asks for several teachers and for a stage: it can have one of both."
        )
    return None if stage is None else StagedTeacherSpec.after(teacher, stage, card.revision)


def located(dataset: Dataset, root: Path | None) -> Path:
    """Folder of a dataset's files; an embedded dataset is written where it is missing."""
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
    from kdbench.openmmlab.resolved import family_in

    return pair.model_copy(update={**models, "family": family_in(pair.student)})


def resolved_model(model: Model, *, pretrained: bool) -> Model:
    """Return the model with the hash of what its config resolves to.

    Raises:
        UserError: If OpenMMLab is missing, the config cannot be read, or an edit does not fit it.
    """
    try:
        from kdbench.openmmlab.resolved import model_hash
    except ImportError as error:
        raise UserError(
            f"OpenMMLab does not import ({error}): `kdbench doctor` says how to fix it."
        ) from error
    return model.model_copy(update={"sha256": model_hash(model, pretrained=pretrained)})


def sha256(path: Path) -> str:
    """Hash of a user's file. Raises UserError where it cannot be read."""
    try:
        return _digest_once(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}.") from error


_digest_once = parsed_once(file_digest)


def stored(spec: Spec) -> dict[str, Any]:
    """Return a spec as a record keeps it; its digest is the identity."""
    values: dict[str, Any] = json.loads(spec.model_dump_json())
    return values

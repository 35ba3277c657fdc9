"""Runs a recorded cell again, from nothing, and compares the result with the record."""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

import yaml

from kdbench.changes import MODELS, RECIPES
from kdbench.errors import RunError, UserError
from kdbench.plugins import registry
from kdbench.results.record import Record
from kdbench.results.reproduce import Agreement, differences, judge, noise_of
from kdbench.results.store import Store
from kdbench.runs.cells import subject_of
from kdbench.runs.launch import start
from kdbench.runs.plan import Plan, plan, stored
from kdbench.runs.progress import LineConsole
from kdbench.runs.request import Request, overridden
from kdbench.runs.session import Session
from kdbench.runs.settings import RunSettings, run_folder
from kdbench.runs.trainer import openmmlab
from kdbench.specs import Pair, TeacherSpec, unlabelled

log = logging.getLogger(__name__)
REPRODUCED = "reproduced"
"""Below the work directory: a folder for each cell that is run again."""


def reproduce(
    then: Record,
    records: Sequence[Record],
    like: Request,
    settings: RunSettings,
    console: LineConsole,
    *,
    anyway: bool,
) -> Agreement:
    """Run a record's cell again and compare; the new run is removed if it agrees.

    Args:
        then: The record.
        records: All records, for the spread over the seeds of the cell's row.
        like: Method, dataset, pair and seed of the record, and what the user gives.
        settings: Runtime settings; the records and trained weights in them are only read.
        console: Receives progress messages.
        anyway: Run even if the code, a plugin or the data differ from the record.

    Raises:
        UserError: If they differ, which the log shows line by line, or if the cell cannot be planned.
    """
    planned = plan(request_of(then, like))
    changed = changes_since(then, planned, settings.store)
    for line in changed:
        log.warning(f"differs: {line}")
    if changed and not anyway:
        raise UserError(
            "what would run here is not what was recorded (see above): install that version, restore the data or "
            "give the teacher's checkpoint, or compare all the same with `anyway=True`."
        )
    start(planned.cell.device, planned.dataset)
    apart = _apart(planned, settings)
    _copy_inputs(then, planned, settings, apart, console)
    verdict = judge(then, _run(planned, apart, console), noise_of(then, records), same_spec=not changed)
    if verdict.agrees:
        shutil.rmtree(apart.work_dir, ignore_errors=True)
    return verdict


def request_of(then: Record, like: Request) -> Request:
    """Return the request that makes a record's cell again, with the models and settings that it has of its own.

    Args:
        then: The record.
        like: Its method, dataset, pair and seed.
    """
    if then.schedule == "default":
        return like
    pair, wanted = registry().pair(then.pair_name).value, Pair.model_validate(then.spec["pair"])
    own: dict[str, Any] = {
        role: getattr(wanted, role).config
        for role in MODELS
        if getattr(wanted, role).config != getattr(pair, role).config
    }
    request = replace(like, from_scratch=pair.pretrained and not wanted.pretrained, **own)
    return replace(request, settings=tuple(_settings_between(overridden(pair, request), wanted)))


def _settings_between(pair: Pair, wanted: Pair) -> Iterator[str]:
    """Yield the settings, ``SECTION.KEY=VALUE``, that turn a pair into the wanted one, as far as they can."""
    now, then = pair.model_dump(mode="json"), wanted.model_dump(mode="json")
    parts = [(name, now[name], then[name]) for name in RECIPES]
    parts += [(name, now[name]["edits"], then[name]["edits"]) for name in MODELS]
    if pair.inherit != wanted.inherit:
        yield f"inherit={str(wanted.inherit).lower()}"
    for name, there, due in parts:
        for key, value in due.items():
            if key not in there or there[key] != value:
                text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
                text = text.removesuffix("...\n").strip()
                yield f"{name}.{key}={text}"


def changes_since(then: Record, planned: Plan, store: Store) -> list[str]:
    """List what the present code, plugins and data would run differently, a line for each key."""
    found = differences(unlabelled(then.spec), unlabelled(stored(planned.cell)))
    teacher = planned.staged or planned.teacher
    if then.teacher_identity != planned.cell.teacher and then.teacher_identity and teacher:
        before = store.find(then.teacher_identity)
        found += [] if before is None else differences(before.spec, stored(teacher), "its teacher's ")
    return found


def _apart(planned: Plan, settings: RunSettings) -> RunSettings:
    """Return settings with a store and a work directory of their own: only an interrupted reproduction resumes."""
    identity = planned.cell.identity()
    folder = run_folder(settings.work_dir / REPRODUCED, identity)
    if any(record.identity == identity for record in Store(folder).records()[0]):
        shutil.rmtree(folder)  # that one ended
    return RunSettings(work_dir=folder, results=folder, download=settings.download)


def _copy_inputs(
    then: Record, planned: Plan, settings: RunSettings, apart: RunSettings, console: LineConsole
) -> None:
    """Copy what need not be trained again: the plain student's record, and a teacher with the recorded weights.

    Args:
        then: The record.
        planned: Its cell's plan.
        settings: Where it was made.
        apart: Where it is run again.
        console: Receives progress messages.
    """
    teacher = planned.staged or planned.teacher
    plain = settings.store.find(planned.plain.identity())
    if plain is not None and planned.cell != planned.plain:
        apart.store.write(plain)
    if teacher is None:
        return
    if teacher.checkpoint is not None or teacher.model.gives_features:
        console.say("teacher: as it was given")
        return
    record, weights = settings.store.find(teacher.identity()), settings.weights(teacher)
    if record is None or not weights.is_file():
        console.say("teacher: trained too (its record or weights are not here)")
    elif then.teacher is None or _hash_of(teacher, planned, settings) != then.teacher.weights_sha256:
        console.say("teacher: trained too (the weights here are not the recorded ones)")
    else:
        target = apart.weights(teacher)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(weights, target)
        apart.store.write(record)
        console.say(f"teacher: taken from {weights}, which has the recorded weights")


def _hash_of(teacher: TeacherSpec, planned: Plan, settings: RunSettings) -> str:
    """Return the hash of a trained teacher's weights, as records have it."""
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    subject = subject_of(teacher, planned, settings)
    loaded = openmmlab().load_teacher(subject, settings.weights(teacher), lambda _failed: None)
    return weights_hash(loaded.model)


def _run(planned: Plan, settings: RunSettings, console: LineConsole) -> Record:
    """Run the cell; a training that fails gives its failed record."""
    try:
        with redirect_stdout(sys.stderr):
            return Session(planned, settings, console).run()
    except RunError as failed:
        console.say(f"failed: {failed}")
        return failed.record

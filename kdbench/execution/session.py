"""Runs a plan in this process: teachers, plain student and distilled student, each with its record."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kdbench.errors import UserError
from kdbench.execution.cells import Means, Spec, interrupted_at, place_of, score, subject_of, title
from kdbench.execution.elapsed import span
from kdbench.execution.launch import is_main_process
from kdbench.execution.plan import Plan
from kdbench.execution.provenance import record_of
from kdbench.results.record import Record, Teacher
from kdbench.specs import StagedTeacherSpec, TeacherSpec

if TYPE_CHECKING:
    from kdbench.openmmlab.distiller import Teacher as TeacherModel
    from kdbench.openmmlab.hooks import Progress
    from kdbench.openmmlab.students import Outcome, Subject
    from kdbench.openmmlab.training import Place

    Work = Callable[[Subject, Place, Progress], Outcome]


class Console(Protocol):
    """Where a session tells what it does."""

    def say(self, line: str) -> None:
        """One line."""

    def stage(self, title: str, iterations: int) -> AbstractContextManager[Progress]:
        """Shows a training of so many iterations while it lasts."""


class RunError(Exception):
    """A training failed and is recorded as failed; the message says why.

    Args:
        message: Why, and what to look at.
        record: The failed record.
    """

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message)
        self.record = record


class Session:
    """One plan on its way to its records.

    Args:
        plan: What to run.
        means: With what.
        console: Who is told.
    """

    def __init__(self, plan: Plan, means: Means, console: Console) -> None:
        self.plan, self.means, self.console = plan, means, console
        self.total = self.position = 0
        """Trainings that this session needs, and which of them it is at."""
        self.overruled: list[str] = []
        """Gates that failed and were overruled."""

    def run(self) -> Record:
        """Everything that has no record yet, and the record of the method's own cell.

        Raises:
            RunError: If a training failed; its failed record is written.
            UserError: If a gate fails or a file is bad.
            KeyboardInterrupt: On Ctrl-C, with a checkpoint to go on from.
        """
        plan = self.plan
        for broken in self.means.store.records(plan.dataset.name)[1]:
            self.console.say(f"broken record {broken}")
        self._introduce()
        if plan.teacher is None:
            return self._plain()
        done = self._known(plan.cell)
        if done is not None:
            self._plain()
            return done
        taught_by = [self._taught_by(plan.teacher)]
        taught_by += [self._teacher(spec) for spec in plan.others]
        self._plain()
        return self._distilled(*zip(*taught_by, strict=True))

    def _introduce(self) -> None:
        """Say what is ahead, and refuse what cannot work before anything is trained."""
        plan = self.plan
        needed = [self._find(plan.plain) is None]
        if plan.teacher is not None and self._find(plan.cell) is None:
            needed += [True, *map(self._must_train, self._teachers(plan.teacher))]
        self.total = sum(needed)
        where = f"pair {plan.cell.pair.name}, seed {plan.cell.seed}, {plan.cell.schedule} schedule"
        self.console.say(f"{plan.cell.selector} on {plan.dataset.name}: {where}, on {self.means.device}")
        if self.total:
            self._check()

    def _check(self) -> None:
        from kdbench.execution.refusals import check_method, check_model, check_stage

        plan, student = self.plan, subject_of(self.plan.cell, self.plan, self.means)
        check_method(plan, student)
        if plan.teacher is not None:
            self.console.say(check_model("teacher", subject_of(plan.teacher, plan, self.means)))
        if plan.staged is not None:
            self.console.say(check_stage(plan.staged.stage))
        self.console.say(check_model("student", student))

    def _plain(self) -> Record:
        from kdbench.openmmlab.students import train_alone

        spec = self.plan.plain
        return self._known(spec) or self._train(spec, train_alone)

    def _distilled(self, teachers: Sequence[TeacherModel], measured: Sequence[Teacher]) -> Record:
        """Train with the method; an ensemble is measured against the pair's own teacher, its first."""
        from kdbench.openmmlab.students import train_with

        plan = self.plan

        def work(subject: Subject, place: Place, progress: Progress) -> Outcome:
            outcome = train_with(
                subject,
                teachers,
                plan.card,
                plan.options,
                place,
                progress,
                report=lambda line: self.console.say(f"  {line}"),
                force=self.means.force,
            )
            return replace(outcome, notes=[*self.overruled, *members, *outcome.notes])

        members = [] if len(measured) == 1 else [ensemble_note(measured)]
        return self._train(plan.cell, work, measured[0])

    def _teachers(self, base: TeacherSpec) -> list[TeacherSpec]:
        """The teachers that the method's cell needs, in the order in which they are made."""
        staged = self.plan.staged
        if staged is None:
            return [base, *self.plan.others]
        return [base, staged] if self._must_train(staged) else [staged]

    def _taught_by(self, base: TeacherSpec) -> tuple[TeacherModel, Teacher]:
        """The teacher to distil from: as it is, or after the stage that the method asks for."""
        from kdbench.openmmlab.students import fine_tune

        def further(subject: Subject, place: Place, progress: Progress) -> Outcome:
            return fine_tune(subject, self._weights(base), place, progress)

        staged = self.plan.staged
        if staged is None:
            return self._teacher(base)
        origin = self._teacher(base)[1] if self._must_train(staged) else None
        return self._teacher(staged, further, origin)

    def _teacher(
        self, spec: TeacherSpec, work: Work | None = None, origin: Teacher | None = None
    ) -> tuple[TeacherModel, Teacher]:
        """A teacher: from its checkpoint, from an earlier run, or trained now; measured once.

        Args:
            spec: The teacher.
            work: How it is trained, if not on its own.
            origin: The teacher that a stage starts from.
        """
        from kdbench.openmmlab.checkpoints import weights_hash
        from kdbench.openmmlab.students import load_teacher, train_alone

        subject = subject_of(spec, self.plan, self.means)
        if self._must_train(spec):
            record: Record | None = self._train(spec, work or train_alone, origin)
        else:
            record = self._known(spec)
        model = load_teacher(subject, self._weights(spec), self.console.say)
        record = record or self._measured(spec, subject, model)
        value = record.score
        assert value is not None, "a done record has its metric"
        self._judge(spec, value)
        measured = Teacher(
            identity=record.identity,
            config=spec.model.config,
            weights_sha256=weights_hash(model.model),
            value=value,
        )
        return model, measured

    def _judge(self, spec: TeacherSpec, value: float) -> None:
        """Refuse a teacher at chance, unless forced: then the record of the method says so."""
        from kdbench.openmmlab.preflight import check_teacher

        if spec.schedule == "smoke":
            return
        try:
            check_teacher(self.plan.dataset.metric, value, self.plan.dataset)
        except UserError as failed:
            why = f"{title(spec)}: {failed}" if isinstance(spec, StagedTeacherSpec) else str(failed)
            if not self.means.force:
                raise UserError(why) from failed
            self.overruled.append(f"a gate failed and was overruled by --force: {why}")
            self.console.say(self.overruled[-1])

    def _must_train(self, spec: TeacherSpec) -> bool:
        """Whether the teacher has neither a given checkpoint nor a record with its weights beside it."""
        if spec.checkpoint is not None:
            return False
        return self._find(spec) is None or not self._weights(spec).is_file()

    def _weights(self, spec: TeacherSpec) -> Path:
        from kdbench.openmmlab.students import WEIGHTS

        if spec.checkpoint is not None:
            return self.plan.checkpoints[spec.checkpoint]
        return self.means.folder(spec) / WEIGHTS

    def _measured(self, spec: TeacherSpec, subject: Subject, model: TeacherModel) -> Record:
        """Evaluate a given checkpoint and record it."""
        from kdbench.openmmlab.students import evaluate

        self.console.say("teacher: evaluating the given checkpoint")
        metrics = evaluate(model.model, subject, place_of(spec, self.plan, self.means))
        record = self._write(spec, curve=[{"iteration": 0, **metrics}])
        self.console.say(f"teacher: {score(record)}")
        return record

    def _find(self, spec: Spec) -> Record | None:
        return self.means.store.find(spec.identity())

    def _known(self, spec: Spec) -> Record | None:
        """The done record of a spec, told, or None."""
        record = self._find(spec)
        if record is not None:
            self.console.say(f"{title(spec)}: done already, {score(record)}")
        return record

    def _train(self, spec: Spec, work: Work, teacher: Teacher | None = None) -> Record:
        """Train one student or teacher and write its record, also when it fails."""
        from kdbench.openmmlab.distiller import NonFiniteLoss

        self.position += 1
        subject, place = subject_of(spec, self.plan, self.means), place_of(spec, self.plan, self.means)
        name, begun = title(spec), time.monotonic()
        heading = f"{self.position} of {self.total}: {name}"
        if (stopped := interrupted_at(place.work_dir)) is not None:
            self.console.say(f"{heading} goes on from iteration {stopped}")
        try:
            with self.console.stage(heading, subject.schedule.iterations) as progress:
                outcome = work(subject, place, progress)
        except NonFiniteLoss as failed:
            record = self._failed(spec, str(failed), teacher)
            raise RunError(
                f"{name}: {failed}. Look at the learning rate and the method's weight.", record
            ) from failed
        except (UserError, OSError):
            raise
        except Exception as failed:
            reason, trace = self._crashed(spec, failed)
            raise RunError(
                f"{name}: {reason}. The traceback is in {trace}.", self._failed(spec, reason, teacher)
            ) from failed
        record = self._write(
            spec, curve=outcome.curve, cost=outcome.cost, notes=outcome.notes, teacher=teacher
        )
        self.console.say(f"{name}: {score(record)} in {span(time.monotonic() - begun)}")
        return record

    def _crashed(self, spec: Spec, error: Exception) -> tuple[str, Path]:
        """Reason of a training that raised, in one line, and the file with its traceback."""
        lines = traceback.format_exception(error)
        trace = self.means.folder(spec) / "traceback.txt"
        trace.parent.mkdir(parents=True, exist_ok=True)
        trace.write_text("".join(lines), encoding="utf-8")
        return lines[-1].strip().splitlines()[0].rstrip("."), trace

    def _failed(self, spec: Spec, reason: str, teacher: Teacher | None) -> Record:
        """Record a failure; without checkpoints, since a retry from the last one would fail like it."""
        from kdbench.openmmlab.students import drop_checkpoints

        if is_main_process():
            drop_checkpoints(self.means.folder(spec))
        return self._write(spec, reason=reason, teacher=teacher)

    def _write(self, spec: Spec, **values: Any) -> Record:
        """Make the record of a spec and store it (one process of a distributed run does)."""
        folder = self.means.folder(spec)
        record = record_of(spec, self.plan.dataset.metric, self.means.device, folder, **values)
        if is_main_process():
            self.means.store.write(record)
        return record


def ensemble_note(members: Sequence[Teacher]) -> str:
    """What an ensemble's teachers reach, in one line."""
    values = ", ".join(f"{member.identity[:12]} {member.value:.3f}" for member in members)
    return f"ensemble of {len(members)} teachers: {values}"

"""Runs a plan in this process: teachers, plain student and distilled student, each with its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench import devices
from kdbench.errors import GateError, UserError
from kdbench.plugins import registry
from kdbench.results.record import MeasuredTeacher, Record
from kdbench.runs.cells import (
    OUTDATED,
    AnySpec,
    outdated,
    place_of,
    score,
    subject_of,
    teacher_weights,
    title,
)
from kdbench.runs.made import is_made, teachers_to_train, was_trained
from kdbench.runs.plan import Plan
from kdbench.runs.progress import LineConsole
from kdbench.runs.settings import RunSettings
from kdbench.runs.trainer import Trainer, openmmlab
from kdbench.runs.training import Teaching, Training
from kdbench.specs import StagedTeacherSpec, TeacherSpec

if TYPE_CHECKING:
    from kdbench.openmmlab.checks.rehearsal import Untrained
    from kdbench.openmmlab.students import Subject
    from kdbench.openmmlab.training.distiller import Teacher as TeacherModel
    from kdbench.openmmlab.training.runner import Place


class Session:
    """Runs one plan.

    Args:
        plan: What to run.
        settings: Runtime settings.
        console: Receives progress messages.
        trainer: Trains and loads the models; default: :mod:`kdbench.openmmlab.students`.
    """

    def __init__(
        self, plan: Plan, settings: RunSettings, console: LineConsole, trainer: Trainer | None = None
    ) -> None:
        self.plan, self.settings, self.console = plan, settings, console
        self.trainer = trainer or openmmlab()
        self.total = self.position = 0
        """Number of trainings that this session needs, and of the current one."""
        self.overruled: list[str] = []
        """Gates that failed and were overruled."""
        self._fine_tuned: dict[str, bool] = {}
        """Given checkpoint -> whether it is trained further, since it is of another number of classes."""

    def run(self) -> Record:
        """Run everything that has no record yet.

        Returns:
            The record of the method's own cell.

        Raises:
            RunError: If a training failed; its failed record is written.
            GateError: If a gate fails; the cell is recorded as failed.
            UserError: If a file is bad.
            KeyboardInterrupt: On Ctrl-C, after a checkpoint to continue from.
        """
        try:
            return self._run()
        except GateError as failed:
            self.failed(failed)
            raise

    def failed(self, gate: GateError) -> Record:
        """Record the cell as failed by a gate."""
        return self.alone(self.plan.cell).failed(gate.why)

    def _run(self) -> Record:
        plan = self.plan
        for broken in self.settings.store.records(plan.dataset.name)[1]:
            self.console.say(str(broken))
        self.introduce()
        if plan.teacher is None:
            plain = self._alone(plan.plain)
            return plain if plan.cell == plan.plain else self._alone(plan.cell)
        done = self.known(plan.cell)
        if done is not None:
            self._alone(plan.plain)
            return done
        teaching = self.teaching()
        self._alone(plan.plain)
        return self._train(self.distillation(teaching))

    def introduce(self, *, models: bool = True) -> None:
        """Report what will be trained, and refuse what cannot work before anything is trained.

        Args:
            models: Check the models too.
        """
        plan = self.plan
        needed = [self._find(plan.plain) is None]
        if plan.cell != plan.plain and self._find(plan.cell) is None:
            lacking = teachers_to_train(plan, lambda spec: not self._must_train(spec))
            needed += [True] * (1 + len(lacking))
        elif plan.ancestor is not None and needed[0]:
            needed.append(self._must_train(plan.ancestor))
        self.total = sum(needed)
        where = f"pair {plan.cell.pair.name}, seed {plan.cell.seed}, {plan.cell.schedule} schedule"
        self.console.say(f"{plan.cell.selector} on {plan.dataset.name}: {where}, on {plan.cell.device}")
        warning = devices.untried(plan.cell.device)
        if warning is not None:
            self.console.say(warning)
        if self.total:
            self._check(models)

    def _check(self, models: bool) -> None:
        from kdbench.openmmlab.checks.rehearsal import Untrained, check_model
        from kdbench.runs.refusals import check_method, check_stage

        plan, student = self.plan, subject_of(self.plan.cell, self.plan, self.settings)
        untrained = Untrained()
        check_method(plan, student)
        if models and plan.teacher is not None:
            teacher, trained = subject_of(plan.teacher, plan, self.settings), self._is_trained(plan.teacher)
            place = self._place(plan.teacher)
            if trained and plan.teacher.checkpoint is not None:
                self.console.say(_fine_tuned(plan))
            self.console.say(check_model("teacher", teacher, place, untrained, trained=trained))
        if models and plan.staged is not None:
            self.console.say(check_stage(plan.staged.stage))
        if models:
            self.console.say(check_model("student", student, self._place(plan.cell), untrained))
        if plan.teacher is not None and self.total > 1:
            self._rehearse(student, plan.staged or plan.teacher, untrained)

    def _rehearse(self, student: Subject, teacher: TeacherSpec, untrained: Untrained) -> None:
        """Try the method between untrained models, since other trainings come first."""
        from kdbench.openmmlab.checks.rehearsal import check_together

        plan, place = self.plan, self._place(self.plan.cell)
        teachers = [subject_of(teacher, plan, self.settings)] * plan.options.ensemble
        with self.alone(plan.cell).recording_failures(place):
            force = self.settings.force
            check_together(student, teachers, plan.card, plan.options, place, untrained, force=force)

    def _place(self, spec: AnySpec) -> Place:
        return place_of(spec, self.plan, self.settings)

    def _alone(self, spec: AnySpec) -> Record:
        """Return the record of a student that has no teacher; train it if there is none."""
        done = self.known(spec)
        if done is not None:
            return done
        self.make_ancestor()
        return self._train(self.alone(spec))

    def make_ancestor(self) -> None:
        """Train the teacher that the students start from, if there is one and it has no weights yet."""
        ancestor = self.plan.ancestor
        if ancestor is not None and self._must_train(ancestor):
            self._teacher(ancestor)

    def alone(self, spec: AnySpec) -> Training:
        """Return the training of a plain student or of a teacher."""
        return Training(self.plan, self.settings, spec, self.trainer)

    def teaching(self) -> Teaching:
        """Return the method's teachers: given, trained before, or trained now.

        Raises:
            RunError: If the training of one failed.
            UserError: If one is no better than chance, or its checkpoint does not fit.
        """
        assert self.plan.teacher is not None, "a plain student has no teacher"
        taught_by = [self._taught_by(self.plan.teacher)]
        taught_by += [self._teacher(spec) for spec in self.plan.others]
        self.make_ancestor()
        return Teaching([model for model, _ in taught_by], [measured for _, measured in taught_by])

    def distillation(self, teaching: Teaching) -> Training:
        """Return the training with the method; an ensemble is measured against its first, the pair's own."""
        members = [] if len(teaching.measured) == 1 else [ensemble_note(teaching.measured)]
        return replace(self.alone(self.plan.cell), teaching=teaching, notes=[*self.overruled, *members])

    def _taught_by(self, base: TeacherSpec) -> tuple[TeacherModel, MeasuredTeacher]:
        """Return the teacher to distil from: as it is, or after the stage that the method asks for."""
        staged = self.plan.staged
        if staged is None:
            return self._teacher(base)
        if not self._must_train(staged):
            return self._teacher(staged)
        origin = self._teacher(base)[1]
        return self._teacher(staged, start=self._weights(base), origin=origin)

    def _teacher(
        self, spec: TeacherSpec, *, start: Path | None = None, origin: MeasuredTeacher | None = None
    ) -> tuple[TeacherModel, MeasuredTeacher]:
        """Return a teacher: from its checkpoint, from an earlier run, or trained now; it is measured once.

        Args:
            spec: The teacher.
            start: Weights that a stage starts from.
            origin: The measured teacher that those weights belong to.
        """
        from kdbench.openmmlab.weights.checkpoints import weights_hash

        subject = subject_of(spec, self.plan, self.settings)
        if spec.model.gives_features:
            return self._feature_teacher(spec, subject)
        if self._must_train(spec):
            start = self.plan.checkpoints[spec.checkpoint] if spec.checkpoint else start
            training = replace(self.alone(spec), start=start, origin=origin)
            record: Record | None = self._train(training)
        else:
            record = self.known(spec)
        model = self._loaded(spec, subject, self._weights(spec))
        weights = weights_hash(model.model)
        record = record or self._measured(spec, subject, model, weights)
        self._check_weights(record, weights, spec)
        value = record.score
        assert value is not None, "a done record has its metric"
        self._judge(spec, value)
        measured = MeasuredTeacher(
            identity=record.identity,
            config=spec.model.config,
            weights_sha256=weights,
            value=value,
        )
        return model, measured

    def _feature_teacher(self, spec: TeacherSpec, subject: Subject) -> tuple[TeacherModel, MeasuredTeacher]:
        """Return a teacher of feature maps only; it has no predictions to measure, so it has no record."""
        from kdbench.openmmlab.weights.checkpoints import weights_hash

        file = None if spec.checkpoint is None else self._weights(spec)
        model = self._loaded(spec, subject, file)
        weights = weights_hash(model.model)
        return model, MeasuredTeacher(
            identity=spec.identity(), config=spec.model.config, weights_sha256=weights
        )

    def _loaded(self, spec: TeacherSpec, subject: Subject, file: Path | None) -> TeacherModel:
        return self.trainer.load_teacher(subject, file, lambda failed: self._overrule(failed, spec))

    def _check_weights(self, record: Record, weights: str, spec: TeacherSpec) -> None:
        """Refuse weights other than those that the teacher's record measured, since its score is not theirs."""
        if record.weights_sha256 not in (None, weights):
            file = self._weights(spec)
            raise UserError(
                f"{title(spec)}: the weights in {file} are not those of its record: put them back, or remove "
                "the file and the teacher is trained again."
            )

    def _judge(self, spec: TeacherSpec, value: float) -> None:
        """Refuse a teacher that is no better than chance, unless forced."""
        from kdbench.datasets.usable import chance
        from kdbench.openmmlab.checks.preflight import check_teacher

        if spec.schedule == "smoke":
            return
        dataset = self.plan.dataset
        try:
            check_teacher(registry().metric(dataset.metric), value, chance(dataset, self.plan.folder))
        except GateError as failed:
            self._overrule(failed, spec)

    def _overrule(self, failed: GateError, spec: TeacherSpec) -> None:
        """Raise the error of a gate, unless it is overruled: then the method's record says so."""
        why = f"{title(spec)}: {failed.why}" if isinstance(spec, StagedTeacherSpec) else failed.why
        if not self.settings.force:
            raise GateError(why) from failed
        self.overruled.append(f"a gate failed and was overruled: {why}")
        self.console.say(self.overruled[-1])

    def _must_train(self, spec: TeacherSpec) -> bool:
        """Return whether the teacher is still to be trained here."""
        return self._is_trained(spec) and not is_made(self.settings, spec)

    def _is_trained(self, spec: TeacherSpec) -> bool:
        """Return whether the teacher is trained here: it predicts, and has no checkpoint that fits as it is."""
        if spec.model.gives_features or spec.checkpoint is None:
            return not spec.model.gives_features
        if spec.checkpoint not in self._fine_tuned:
            record, subject = self._find(spec), subject_of(spec, self.plan, self.settings)
            self._fine_tuned[spec.checkpoint] = (
                self.trainer.other_classes(subject, self.plan.checkpoints[spec.checkpoint]) is not None
                if record is None
                else was_trained(record)
            )
        return self._fine_tuned[spec.checkpoint]

    def _weights(self, spec: TeacherSpec) -> Path:
        return teacher_weights(spec, self.plan, self.settings)

    def _measured(self, spec: TeacherSpec, subject: Subject, model: TeacherModel, weights: str) -> Record:
        """Measure a given checkpoint and record the result."""
        self.console.say("teacher: evaluating the given checkpoint")
        metrics = self.trainer.evaluate(model.model, subject, self._place(spec))
        record = self.alone(spec).write(curve=[{"iteration": 0, **metrics}], weights=weights)
        self.console.say(f"teacher: {score(record)}")
        return record

    def _find(self, spec: AnySpec) -> Record | None:
        """Return the done record of a spec; None where there is none, or it is to be made again."""
        again = self.settings.rerun and spec == self.plan.cell
        return None if again else self.settings.store.find(spec.identity())

    def known(self, spec: AnySpec) -> Record | None:
        """Return the done record of a spec, after reporting it, or None."""
        record = self._find(spec)
        if record is not None:
            other = spec == self.plan.cell and outdated(record, self.plan)
            note = f", {OUTDATED}: {self.settings.store.path_of(record)}" if other else ""
            self.console.say(f"{title(spec)}: done already, {score(record)}{note}")
        return record

    def _train(self, training: Training) -> Record:
        """Train one student or teacher and write its record, also when it fails."""
        self.position += 1
        heading = f"{self.position} of {self.total}: {title(training.spec)}"
        return training.run(self._place(training.spec), self.console, heading)


def _fine_tuned(plan: Plan) -> str:
    """Return the line which says that a given teacher is fine-tuned."""
    length = plan.cell.pair.teacher_schedule.iterations
    return f"teacher: its checkpoint is for other classes: it is fine-tuned first, for {length} iterations"


def ensemble_note(members: Sequence[MeasuredTeacher]) -> str:
    """Return the scores of an ensemble's teachers in one line."""
    values = ", ".join(
        member.identity[:12] if member.value is None else f"{member.identity[:12]} {member.value:.3f}"
        for member in members
    )
    return f"ensemble of {len(members)} teachers: {values}"

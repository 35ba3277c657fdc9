"""One training of a plan, from its spec to its record, also if it fails."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdbench.errors import Disturbed, PluginError, RunError, UserError, is_out_of_memory, reason
from kdbench.openmmlab.training.run_files import drop_checkpoints
from kdbench.plugins import registry
from kdbench.results.record import MeasuredTeacher, Record
from kdbench.results.tuned import chosen_by
from kdbench.runs.cells import AnySpec, score, subject_of, title
from kdbench.runs.launch import is_main_process
from kdbench.runs.plan import Plan, origin
from kdbench.runs.progress import LineConsole, span
from kdbench.runs.provenance import record_of
from kdbench.runs.settings import TUNING, RunSettings
from kdbench.runs.trainer import Trainer
from kdbench.specs import PLAIN, StagedTeacherSpec, TeacherSpec

CODE = "method-code.txt"
"""In a run's folder: the hash of the method's source that its training began with."""

if TYPE_CHECKING:
    from kdbench.openmmlab.students import Outcome, Subject
    from kdbench.openmmlab.training.distiller import Teacher as TeacherModel
    from kdbench.openmmlab.training.hooks import Progress
    from kdbench.openmmlab.training.runner import Place


class OutOfMemory(Exception):
    """A lane of a pack found too little memory; with fewer lanes it may be enough."""


@dataclass(frozen=True)
class Teaching:
    """The teachers that a student learns from.

    Attributes:
        models: Their models: one, or an ensemble's.
        measured: Score and identity of each; students are compared with the first, the pair's own.
    """

    models: Sequence[TeacherModel]
    measured: Sequence[MeasuredTeacher]


@dataclass(frozen=True)
class Training:
    """One training and the record that it is for.

    Attributes:
        plan: The plan that it is part of.
        settings: Runtime settings.
        spec: The student or teacher.
        trainer: Trains the model.
        teaching: The teachers that a student learns from; None for a plain student and for a teacher.
        start: Weights to start from, of the teacher that a stage trains further.
        origin: That teacher, as measured.
        timed_with: Name of the group of trainings that it takes turns with; None if it is alone.
        notes: Notes of the record before the training's own.
    """

    plan: Plan
    settings: RunSettings
    spec: AnySpec
    trainer: Trainer
    teaching: Teaching | None = None
    start: Path | None = None
    origin: MeasuredTeacher | None = None
    timed_with: str | None = None
    notes: Sequence[str] = ()

    def run(self, place: Place, console: LineConsole, heading: str) -> Record:
        """Train and write the record.

        Args:
            place: Folders, device and the other lanes.
            console: Receives progress messages.
            heading: Title of the training in them.

        Raises:
            RunError: If it failed; its failed record is written.
            OutOfMemory: If there was too little memory beside the other lanes of its pack.
            Disturbed: If a lane of its pack changed global state that all depend on.
            UserError: If a gate fails or a file is bad.
            KeyboardInterrupt: On Ctrl-C, after a checkpoint to continue from.
        """
        subject, begun = subject_of(self.spec, self.plan, self.settings), time.monotonic()
        self._look_back(place.work_dir, console, heading)
        with self.recording_failures(place), console.stage(heading, subject.schedule.iterations) as progress:
            outcome = self._outcome(subject, place, progress)
        cost = {**outcome.cost, "timed_with": self.timed_with}
        notes = [*self.notes, *outcome.notes]
        weights = outcome.weights if isinstance(self.spec, TeacherSpec) else None
        record = self.write(curve=outcome.curve, cost=cost, notes=notes, weights=weights)
        console.say(f"{title(self.spec)}: {score(record)} in {span(time.monotonic() - begun)}")
        return record

    @contextmanager
    def recording_failures(self, place: Place) -> Iterator[None]:
        """Record as failed what the block raises, unless it is a user's mistake.

        Args:
            place: Folders, device and the other lanes.

        Raises:
            RunError: If the block failed; the failed record is written.
            OutOfMemory: If there was too little memory beside the other lanes of its pack.
            UserError: As it was raised.
        """
        from kdbench.openmmlab.training.losses import NonFiniteLoss

        name = title(self.spec)
        try:
            yield
        except NonFiniteLoss as failed:
            why = f"{name}: {failed}. Look at the learning rate and the method's weight."
            raise RunError(why, self.failed(str(failed))) from failed
        except PluginError as failed:
            _, trace = self._crashed(failed)
            record = self.failed(str(failed))
            raise RunError(f"{name}: {failed}. The traceback is in {trace}.", record) from failed
        except (UserError, OSError):
            raise
        except Disturbed as failed:
            if place.pack is not None:
                raise
            raise RunError(f"{name}: {failed}.", self.failed(str(failed))) from failed
        except Exception as failed:
            if place.pack is not None and is_out_of_memory(failed):
                raise OutOfMemory from failed
            why, trace = self._crashed(failed)
            raise RunError(f"{name}: {why}. The traceback is in {trace}.", self.failed(why)) from failed

    def _outcome(self, subject: Subject, place: Place, progress: Progress) -> Outcome:
        if self.teaching is None:
            return self.trainer.train_alone(subject, place, progress, self.start)
        return self.trainer.train_with(
            subject,
            self.teaching.models,
            self.plan.card,
            self.plan.options,
            place,
            progress,
            force=self.settings.force,
        )

    def _look_back(self, folder: Path, console: LineConsole, heading: str) -> None:
        """Report from which iteration the training resumes, or why it starts again.

        It starts again if the method's code has changed: no result may be of two versions of a method.
        """
        from kdbench.openmmlab.training.resuming import is_of_this_code, resume_point

        left = resume_point(folder)
        if self._runs_method and not is_of_this_code(folder / CODE, self.plan.code):
            console.say(
                f"{heading} starts again: the method's code is not that of iteration {left.iteration}"
            )
            return
        for line in left.unreadable:
            console.say(f"checkpoint left out: {line}")
        if left.checkpoint is not None:
            console.say(f"{heading} resumes from iteration {left.iteration}")
        elif left.begun:
            console.say(f"{heading} starts again: no checkpoint in {folder} can be read")

    @property
    def _runs_method(self) -> bool:
        """Whether the method's code is run."""
        if isinstance(self.spec, TeacherSpec):
            return isinstance(self.spec, StagedTeacherSpec)
        return self.spec.teacher is not None

    def _code(self) -> dict[str, str]:
        """Return the plugin and the hash of the source that is run."""
        if self._runs_method:
            return {"plugin": self.plan.plugin, "code": self.plan.code}
        return {} if isinstance(self.spec, TeacherSpec) else {"plugin": origin(registry().method(PLAIN))}

    def failed(self, reason: str) -> Record:
        """Record a failure, and drop the checkpoints, since a retry from the last one would fail again."""
        if is_main_process():
            drop_checkpoints(self.settings.folder(self.spec))
        return self.write(reason=reason)

    def write(self, **values: Any) -> Record:
        """Make the record and store it (one process of a distributed run does)."""
        plan = self.plan
        measured = self.teaching.measured[0] if self.teaching else self.origin
        values |= self._code() | {"teacher": measured, "command": plan.command}
        if not isinstance(self.spec, TeacherSpec) and self._runs_method:
            values["tuned"] = chosen_by(self.settings.results / TUNING, self.spec)
        record = record_of(self.spec, plan.dataset.metric, self.settings.folder(self.spec), **values)
        if is_main_process():
            self.settings.store.write(record, replace=self.settings.rerun and self.spec == plan.cell)
        return record

    def _crashed(self, error: Exception) -> tuple[str, Path]:
        """Write the traceback of a training that raised; return the reason in one line, and the file."""
        lines = "".join(traceback.format_exception(error))
        trace = self.settings.folder(self.spec) / "traceback.txt"
        trace.parent.mkdir(parents=True, exist_ok=True)
        trace.write_text(lines, encoding="utf-8", errors="backslashreplace")
        return reason(error).rstrip("."), trace

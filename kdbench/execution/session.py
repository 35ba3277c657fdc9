"""Runs a plan in this process: the teacher, the plain student and the distilled student, each with its record."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kdbench.execution.launch import is_main_process
from kdbench.execution.plan import Plan, stored
from kdbench.results.record import Cost, Made, Metrics, Record, Teacher
from kdbench.results.store import Store
from kdbench.specs import RunSpec, TeacherSpec, digest

if TYPE_CHECKING:
    from kdbench.openmmlab.distiller import Teacher as TeacherModel
    from kdbench.openmmlab.students import Outcome, Subject
    from kdbench.openmmlab.training import Place

DISTRIBUTIONS = ("kdbench", "torch", "torchvision", "mmengine", "mmcv", "mmdet", "mmseg")


class Console(Protocol):
    """Where a session tells what it does."""

    def say(self, line: str) -> None:
        """One line."""

    def stage(self, title: str, iterations: int) -> Any:
        """A context manager that gives the stage's :class:`kdbench.openmmlab.hooks.Progress`."""


class RunFailed(Exception):
    """A training failed and is recorded as failed; the message says why."""


@dataclass(frozen=True)
class Means:
    """With what a plan is run; nothing here is part of a result's identity.

    Attributes:
        work_dir: Runs are kept below it, a folder an identity.
        store: Where records go.
        device: ``cpu`` or ``cuda``.
        workers: Data loading processes.
        visualizers: mmengine's visualisation backends.
        download: Fetch initial weights that are not there.
        force: Go on although a gate failed.
    """

    work_dir: Path
    store: Store
    device: str
    workers: int = 0
    visualizers: tuple[str, ...] = ("LocalVisBackend",)
    download: bool = False
    force: bool = False


class Session:
    """One plan on its way to its records.

    Args:
        plan: What to run.
        means: With what.
        console: Who is told.
    """

    def __init__(self, plan: Plan, means: Means, console: Console) -> None:
        self.plan, self.means, self.console = plan, means, console

    def run(self) -> Record:
        """Everything that has no record yet, and the record of the method's own cell.

        Raises:
            RunFailed: If a training failed; its failed record is written.
            UserError: If a gate fails or a file is bad.
            KeyboardInterrupt: On Ctrl-C, with a checkpoint to go on from.
        """
        done = self.means.store.find(digest(stored(self.plan.cell)))
        if done is not None:
            self.console.say(f"{self.plan.cell.selector} is done already: {self._score(done)}")
            return done
        if self.plan.teacher is None:
            return self._plain()
        self._check()
        teacher, measured = self._teacher(self.plan.teacher)
        self._plain()
        return self._distilled(teacher, measured)

    def _check(self) -> None:
        """Refuse what cannot work before anything is trained."""
        from kdbench.openmmlab.configs import family_of
        from kdbench.openmmlab.preflight import check_family

        plan = self.plan
        config = self._subject(plan.cell).config()
        check_family(plan.card.name, plan.card.load(), plan.options, family_of(config))

    def _plain(self) -> Record:
        from kdbench.openmmlab.students import train_alone

        spec = self.plan.plain
        done = self.means.store.find(digest(stored(spec)))
        if done is not None:
            self.console.say(f"plain student, seed {spec.seed}: done already, {self._score(done)}")
            return done
        title = f"plain student, seed {spec.seed}"
        return self._record(spec, title, lambda place, bar: train_alone(self._subject(spec), place, bar))

    def _distilled(self, teacher: TeacherModel, measured: Teacher) -> Record:
        from kdbench.openmmlab.students import train_with

        plan, spec = self.plan, self.plan.cell

        def work(place: Place, progress: Any) -> Outcome:
            return train_with(
                self._subject(spec),
                teacher,
                plan.card,
                plan.options,
                place,
                progress,
                report=self.console.say,
                force=self.means.force,
            )

        return self._record(spec, f"{spec.selector}, seed {spec.seed}", work, measured)

    def _teacher(self, spec: TeacherSpec) -> tuple[TeacherModel, Teacher]:
        """The teacher: from its checkpoint, from an earlier run, or trained now; measured once."""
        from kdbench.openmmlab.checkpoints import weights_hash
        from kdbench.openmmlab.preflight import check_teacher
        from kdbench.openmmlab.students import WEIGHTS, Subject, evaluate, load_teacher

        identity = spec.identity()
        subject = Subject(
            identity,
            spec.model,
            spec.recipe,
            self.plan.dataset,
            spec.seed,
            spec.pretrained,
            self.means.download,
        )
        weights = self.plan.checkpoint or self._place(identity).work_dir / WEIGHTS
        record = self.means.store.find(identity)
        if self.plan.checkpoint is None and (record is None or not weights.is_file()):
            record = self._train_teacher(spec, subject)
        else:
            self.console.say(f"teacher: weights from {weights}")
        model = load_teacher(subject, weights, self.console.say)
        if record is None:
            metrics = evaluate(model.model, subject, self._place(identity))
            record = self._write(spec, "done", metrics=[{"iteration": 0, **metrics}])
        value = record.score
        assert value is not None, "a done record has its metric"
        self.console.say(f"teacher: {self._score(record)}")
        if spec.schedule != "smoke" and not self.means.force:
            check_teacher(self.plan.dataset.metric, value, self.plan.dataset)
        measured = Teacher(
            identity=identity, config=spec.model.config, weights_sha256=weights_hash(model.model), value=value
        )
        return model, measured

    def _train_teacher(self, spec: TeacherSpec, subject: Subject) -> Record:
        from kdbench.openmmlab.students import train_alone

        return self._record(spec, "teacher", lambda place, bar: train_alone(subject, place, bar))

    def _subject(self, spec: RunSpec) -> Subject:
        from kdbench.openmmlab.students import Subject

        pair = spec.pair
        return Subject(
            digest(stored(spec)),
            pair.student,
            pair.schedule,
            self.plan.dataset,
            spec.seed,
            pair.pretrained,
            self.means.download,
        )

    def _place(self, identity: str) -> Place:
        from kdbench.openmmlab.training import Place

        return Place(
            folder=self.plan.folder,
            work_dir=self.means.work_dir / identity[:16],
            device=self.means.device,
            amp=self.plan.cell.amp,
            workers=self.means.workers,
            visualizers=self.means.visualizers,
        )

    def _record(
        self,
        spec: RunSpec | TeacherSpec,
        title: str,
        work: Callable[[Place, Any], Outcome],
        teacher: Teacher | None = None,
    ) -> Record:
        """Do the work of one cell and write its record, also when it fails."""
        from kdbench.openmmlab.distiller import NonFiniteLoss

        recipe = spec.recipe if isinstance(spec, TeacherSpec) else spec.pair.schedule
        place = self._place(digest(stored(spec)))
        try:
            with self.console.stage(title, recipe.iterations) as progress:
                outcome = work(place, progress)
        except NonFiniteLoss as failed:
            self._write(spec, "failed", teacher=teacher, reason=str(failed))
            raise RunFailed(
                f"{title}: {failed}. Look at the learning rate and the method's weight."
            ) from failed
        record = self._write(
            spec, "done", teacher=teacher, metrics=outcome.curve, cost=outcome.cost, notes=outcome.notes
        )
        self.console.say(f"{title}: {self._score(record)}")
        return record

    def _write(
        self,
        spec: RunSpec | TeacherSpec,
        status: Any,
        *,
        teacher: Teacher | None = None,
        reason: str | None = None,
        metrics: list[dict[str, float]] | None = None,
        cost: Mapping[str, Any] | None = None,
        notes: list[str] | None = None,
    ) -> Record:
        metric = self.plan.dataset.metric
        record = Record(
            kind="teacher" if isinstance(spec, TeacherSpec) else "cell",
            identity=digest(stored(spec)),
            spec=stored(spec),
            status=status,
            reason=reason,
            metrics=None if not metrics else summary(metrics, metric),
            metric=metric,
            teacher=teacher,
            cost=Cost(**(cost or {})),
            curve=metrics or [],
            versions=versions(),
            device=device_name(self.means.device),
            host_class=host_class(),
            notes=notes or [],
            made=Made(
                clock=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                path=str(self._place(digest(stored(spec))).work_dir),
                command=shlex.join(["kdbench", *sys.argv[1:]]),
            ),
        )
        if is_main_process():
            self.means.store.write(record)
        return record

    def _score(self, record: Record) -> str:
        return f"{record.metric} {record.score:.3f}" if record.score is not None else record.status


def summary(curve: list[dict[str, float]], metric: str) -> Metrics:
    """Last and best evaluation of a curve."""
    last = {name: value for name, value in curve[-1].items() if name != "iteration"}
    best = max(curve, key=lambda point: point.get(metric, 0.0))
    return Metrics(last=last, best=best)


def versions() -> dict[str, str]:
    """Versions of what a result depends on, by import name or distribution."""
    providers = metadata.packages_distributions()
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        for distribution in sorted(set(providers.get(name, [name])))[:1]:
            found[name] = f"{distribution} {metadata.version(distribution)}"
    return found


def device_name(device: str) -> str:
    """``cpu`` or the GPU's name."""
    if device == "cpu":
        return "cpu"
    import torch

    return torch.cuda.get_device_name()


def host_class() -> str:
    """Kind of machine, without its name: system, architecture, number of usable cores and of threads."""
    import torch

    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    )

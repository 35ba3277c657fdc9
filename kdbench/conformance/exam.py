"""One method on the bench: its models, and cached trainings that several checks share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from kdbench.cards import MethodCard, Options
from kdbench.conformance.bench import Bench, Silent
from kdbench.conformance.models import examined_families
from kdbench.conformance.target import Target
from kdbench.conformance.watching import Watched, watch
from kdbench.distill.settings import noted
from kdbench.plugins import make_method

if TYPE_CHECKING:
    from kdbench.openmmlab.students import Subject
    from kdbench.openmmlab.training.distiller import Distiller
    from kdbench.specs import TeacherStage

Losses = list[dict[str, float]]
RUN: dict[str, Any] = {"validations": 2}
"""Change to the small models' schedule for trainings that are compared: two evaluations."""


class Telling(Silent):
    """Progress that stores the losses of each iteration.

    Args:
        until: Iteration after which to raise :class:`Interrupted`; None: never.
    """

    def __init__(self, until: int | None = None) -> None:
        self.losses: Losses = []
        self.until = until

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        """Store the losses."""
        self.losses.append(losses)
        if iteration == self.until:
            raise Interrupted


class Interrupted(Exception):
    """A training was stopped abruptly, as by a power cut."""


@dataclass(frozen=True)
class TrainingResult:
    """Result of a training.

    Attributes:
        student: The student's state dict.
        method: The method's state dict.
        curve: The evaluations.
        losses: The losses of each iteration.
        seen: Observations of the method.
        model: The distiller.
    """

    student: dict[str, Tensor]
    method: dict[str, Tensor]
    curve: list[dict[str, float]]
    losses: Losses
    seen: Watched
    model: Distiller = field(repr=False)


class Exam:
    """A method with its options on the bench.

    Args:
        target: The method and its options.
        bench: Models and scenes.
    """

    def __init__(self, target: Target, bench: Bench) -> None:
        self.target, self.bench = target, bench
        self.card: MethodCard = target.card
        self.changed: set[str] = set()
        """Settings of the process that the method changed; they are restored each time."""
        self._teachers: dict[tuple[str, str], list[Any]] = {}
        self._ended: dict[tuple[str, str], TrainingResult] = {}

    @cached_property
    def options(self) -> Options:
        """The method's options, as requested."""
        return self.target.options()

    @cached_property
    def variants(self) -> list[Options]:
        """The requested options; if they are the defaults, followed by those of each other variant."""
        others = [] if self.target.raw else [{"variant": name} for name in self.card.variants]
        found = [self.options]
        for values in others:
            options = self.card.options.model_validate(values)
            if options not in found:
                found.append(options)
        return found

    def families(self, options: Options | None = None) -> list[str]:
        """Return the families in which the method is checked, see :func:`examined_families`."""
        return examined_families(self.card, options or self.options)

    def teachers(self, family: str, options: Options) -> list[Any]:
        """Return the teachers for these options; they are cached."""
        key = family, f"{options.ensemble} {self._stage(options)}"
        if key not in self._teachers:
            self._teachers[key] = self.new_teachers(family, options)
        return self._teachers[key]

    def new_teachers(self, family: str, options: Options) -> list[Any]:
        """Return new teachers for these options."""
        stage = self._stage(options)
        return [self.bench.teacher(family, number, stage) for number in range(options.ensemble)]

    def _stage(self, options: Options) -> TeacherStage | None:
        return None if self.card.teacher_stage is None else self.card.teacher_stage(options)

    def distiller(
        self, family: str, options: Options | None = None, pack: Any = None, **changes: Any
    ) -> Distiller:
        """Build a student with the method, like a run but without gates."""
        from kdbench.distill.randomness import seeded
        from kdbench.openmmlab.checks.preflight import check_family, probe_shapes
        from kdbench.openmmlab.training.distiller import Distiller

        options = options or self.options
        subject, method = self.bench.subject(family, **changes), make_method(self.card, options)
        names = check_family(method, family)
        student, teachers = self._student(subject), self.teachers(family, options)
        if pack is not None:
            teachers = [pack.shared(teacher) for teacher in teachers]
        shapes = probe_shapes(student, teachers[0], self.bench.probe(family), names, subject.dataset)
        with seeded(0, "method"), noted(self.changed):
            method.build(shapes)
        self._note_settings(method)
        iterations = subject.schedule.iterations
        return Distiller(
            student, method, teachers[0], seed=0, iterations=iterations, names=names, others=teachers[1:]
        )

    def _student(self, subject: Subject) -> Any:
        return subject.build().to(self.bench.device)

    def _note_settings(self, method: Any) -> None:
        """Record the settings that the method changes from now on."""
        for name in ("losses", "adversary_losses"):
            setattr(method, name, noted(self.changed)(getattr(method, name)))

    def trained(self, family: str, options: Options | None = None) -> TrainingResult:
        """Train some iterations while watching the method; the result is cached."""
        key = family, (options or self.options).model_dump_json()
        if key not in self._ended:
            self._ended[key] = self.train(family, options, watched=True)
        return self._ended[key]

    def train(
        self,
        family: str,
        options: Options | None = None,
        *,
        folder: Path | None = None,
        progress: Telling | None = None,
        watched: bool = False,
        pack: Any = None,
        **changes: Any,
    ) -> TrainingResult:
        """Train from the beginning, or from the last checkpoint in the folder."""
        changes = {**RUN, **changes}
        model = self.distiller(family, options, pack, **changes)
        seen = watch(model) if watched else Watched()
        progress = progress or Telling()
        done = self.bench.train(model, family, folder or self.bench.new_folder(), progress, pack, **changes)
        return TrainingResult(
            state_of(model.student), state_of(model.method), done.curve, progress.losses, seen, model
        )

    def plain(self, family: str) -> TrainingResult:
        """Train the plain student; the result is cached."""
        key = family, "plain"
        if key not in self._ended:
            self._ended[key] = self.train_plain(family)
        return self._ended[key]

    def train_plain(self, family: str, pack: Any = None, **changes: Any) -> TrainingResult:
        """Train the plain student; ``changes`` apply to the schedule."""
        from kdbench.openmmlab.students import Unaided
        from kdbench.openmmlab.training.distiller import Distiller

        changes = {**RUN, **changes}
        subject, progress = self.bench.subject(family, **changes), Telling()
        student, method = self._student(subject), Unaided(Options())
        iterations, names = subject.schedule.iterations, frozenset[str]()
        model = Distiller(student, method, None, seed=0, iterations=iterations, names=names)
        done = self.bench.train(model, family, self.bench.new_folder(), progress, pack, **changes)
        return TrainingResult(state_of(model.student), {}, done.curve, progress.losses, Watched(), model)


def state_of(module: Any) -> dict[str, Tensor]:
    """Copy a module's state dict."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}

"""Trains plans of one pair and seed side by side in this process: one teacher and one data loader for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from kdbench.errors import Disturbed, GateError, RunError, UserError
from kdbench.results.record import Record
from kdbench.runs.cells import place_of, shown, title
from kdbench.runs.plan import Plan
from kdbench.runs.progress import LineConsole, LineStage
from kdbench.runs.session import Session
from kdbench.runs.settings import RunSettings
from kdbench.runs.trainer import Trainer
from kdbench.runs.training import OutOfMemory, Teaching, Training
from kdbench.specs import RunSpec, digest

if TYPE_CHECKING:
    from kdbench.openmmlab.training.hooks import Progress
    from kdbench.openmmlab.training.sharing import Lanes


@dataclass
class PackOutcome:
    """The result of a pack.

    Attributes:
        records: Of the plans' cells and of what they needed, done and failed.
        refused: Identity -> why, of cells that cannot be run; they have no record.
    """

    records: list[Record] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lane:
    """One student of a pack.

    Attributes:
        session: Makes its training.
        teaching: Its teachers; None for a plain student.
    """

    session: Session
    teaching: Teaching | None

    def training(self, teaching: Teaching | None) -> Training:
        """Return its training, with these models of its teachers."""
        if teaching is None:
            return self.session.alone(self.spec)
        return self.session.distillation(teaching)

    @property
    def spec(self) -> RunSpec:
        """Spec of the student."""
        return self.session.plan.cell

    @property
    def name(self) -> str:
        """Its name in messages."""
        return title(self.spec)


def run_pack(
    plans: Sequence[Plan], settings: RunSettings, console: LineConsole, trainer: Trainer | None = None
) -> PackOutcome:
    """Train the cells of plans that have no record yet.

    A lane that fails is recorded as failed and affects no other. If the memory is too small for all lanes, they
    train in several groups.

    Args:
        plans: Plans of one dataset, pair, seed, schedule and teacher.
        settings: Runtime settings.
        console: Receives progress messages.
        trainer: Trains and loads the models.

    Raises:
        KeyboardInterrupt: When asked to stop, after a checkpoint of each lane.
        Disturbed: If a lane changed global state that all depend on: train the rest in other processes.
        OSError: If the disk is full, or another file cannot be used.
    """
    return _PackRun(settings, console, trainer).run(plans)


class _PackRun:
    def __init__(self, settings: RunSettings, console: LineConsole, trainer: Trainer | None) -> None:
        self.settings, self.console, self.trainer = settings, console, trainer
        self.outcome = PackOutcome()
        self.taught: dict[str | None, Teaching] = {}
        self.checked: set[str | None] = set()
        """Teachers whose models, and the pair's student, were checked: they are the same for all their lanes."""
        self.limit = 1
        """Lanes that train side by side; halved when the memory runs out."""
        self.disturbed: Disturbed | None = None
        """Global state that a lane which trained alone has changed: no other is trained in this process."""

    def run(self, plans: Sequence[Plan]) -> PackOutcome:
        lanes = self._lanes(plans)
        self.limit = len(lanes)
        while lanes:
            if self.disturbed is not None:
                raise self.disturbed
            batch, later = lanes[: self.limit], lanes[self.limit :]
            lanes = [*self._train(batch), *later]
        return self.outcome

    def _lanes(self, plans: Sequence[Plan]) -> list[Lane]:
        """Return the students to train, the plain one first."""
        lanes: dict[str, Lane] = {}
        for plan in plans:
            session = Session(plan, self.settings, self.console, self.trainer)
            try:
                self._add(lanes, session)
            except UserError as failed:
                self._not_run(session, failed)
            except RunError as failed:
                self.console.say(f"failed: {failed}")
                self.outcome.records.append(failed.record)
                if failed.record.identity != plan.cell.identity():
                    self.outcome.records.append(self._failed(session, f"what it needs failed: {failed}"))
        return sorted(lanes.values(), key=lambda lane: lane.teaching is not None)

    def _add(self, lanes: dict[str, Lane], session: Session) -> None:
        plan = session.plan
        session.introduce(models=plan.compresses(plan.cell) or plan.cell.teacher not in self.checked)
        self.checked |= {plan.cell.teacher} if session.total else set()
        known = session.known(plan.cell)
        if known is not None:
            self.outcome.records.append(known)
            return
        key, teaching = plan.cell.teacher, None
        if plan.teacher is None:
            session.make_ancestor()
        else:
            teaching = self.taught[key] = self.taught.get(key) or session.teaching()
        lanes[plan.cell.identity()] = Lane(session, teaching)

    def _train(self, lanes: Sequence[Lane]) -> list[Lane]:
        """Train lanes, and return those that found too little memory."""
        from kdbench.openmmlab import process
        from kdbench.openmmlab.training.sharing import make_pack
        from kdbench.openmmlab.training.stopping import StopNow

        if len(lanes) == 1:
            return self._settled(lanes, [_caught(partial(self._alone, lanes[0]))])
        device = lanes[0].spec.device
        pack, before, together = make_pack(), process.used(device), _turns_of(lanes)
        with self._stage(lanes) as progress:
            bodies = {
                str(number): partial(self._body, lane, pack, progress, together)
                for number, lane in enumerate(lanes)
            }
            results = pack.turns.run(
                bodies,
                stop_on=(OutOfMemory, StopNow, Disturbed),
                room=lambda: process.room_for(process.used(device) - before, device),
            )
        return self._settled(lanes, list(results.values()))

    def _alone(self, lane: Lane) -> Record:
        training = lane.training(lane.teaching)
        place = place_of(training.spec, training.plan, self.settings)
        return training.run(place, self.console, lane.name)

    def _body(self, lane: Lane, pack: Lanes, progress: _PackProgress, together: str) -> Record:
        if pack.stop.signalled is not None:
            raise KeyboardInterrupt  # it would have to be built first, to stop after one iteration
        training = lane.training(None if lane.teaching is None else self._shared(lane.teaching, pack))
        training = replace(training, timed_with=together)
        place = replace(place_of(training.spec, training.plan, self.settings), pack=pack)
        return training.run(place, _LaneConsole(self.console, progress, lane.name), lane.name)

    def _shared(self, teaching: Teaching, pack: Lanes) -> Teaching:
        return replace(teaching, models=[pack.shared(model) for model in teaching.models])

    def _settled(self, lanes: Sequence[Lane], results: Sequence[Record | BaseException]) -> list[Lane]:
        """Keep the records, and return the lanes that are to be trained again.

        Raises:
            BaseException: What ends all lanes: an interruption, a full disk, a changed teacher.
        """
        from kdbench.distill.turns import Stopped

        again: list[Lane] = []
        for lane, result in zip(lanes, results, strict=True):
            if isinstance(result, Record):
                self.outcome.records.append(result)
            elif isinstance(result, RunError):
                self.console.say(f"failed: {result}")
                self.outcome.records.append(result.record)
                self.disturbed = (
                    result.__cause__ if isinstance(result.__cause__, Disturbed) else self.disturbed
                )
            elif isinstance(result, UserError):
                self._not_run(lane.session, result)
            elif isinstance(result, OutOfMemory | Stopped):
                again.append(lane)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(
                result, RunError | UserError | OutOfMemory | Stopped
            ):
                raise result
        if again:
            self.console.say(f"not enough memory for {len(lanes)} lanes: {len(again)} of them train later")
        if any(isinstance(result, OutOfMemory) for result in results):
            self.limit = (len(lanes) + 1) // 2
        return again

    def _not_run(self, session: Session, why: UserError) -> None:
        """Record a failed gate as a failure; report a user's mistake without a record."""
        cell = session.plan.cell
        if isinstance(why, GateError):
            self.console.say(f"failed: {title(cell)}: {why}")
            self.outcome.records.append(session.failed(why))
            return
        self.console.say(f"refused: {title(cell)}: {why}")
        self.outcome.refused[cell.identity()] = str(why)

    def _failed(self, session: Session, why: str) -> Record:
        return session.alone(session.plan.cell).failed(why)

    @contextmanager
    def _stage(self, lanes: Sequence[Lane]) -> Iterator[_PackProgress]:
        iterations = lanes[0].spec.recipe.iterations
        heading = f"{len(lanes)} lanes side by side: {', '.join(lane.name for lane in lanes)}"
        with self.console.stage(heading, iterations) as progress:
            yield _PackProgress(progress)


def _turns_of(lanes: Iterable[Lane]) -> str:
    """Return a name of the lanes that take turns, made from what they train."""
    return digest(sorted(lane.spec.identity() for lane in lanes))[:12]


def _caught(work: Callable[[], Record]) -> Record | BaseException:
    try:
        return work()
    except BaseException as error:
        return error


class _PackProgress:
    """Shows the progress of a pack: that of its slowest lane."""

    def __init__(self, shown: Progress) -> None:
        self.shown = shown
        self.at: dict[str, int] = {}
        self.slowest = 0

    def advance(self, name: str, iteration: int) -> None:
        self.at[name] = iteration
        slowest = min(self.at.values())
        if slowest > self.slowest:
            self.slowest = slowest
            self.shown.advance(slowest, {})


class _LaneConsole(LineConsole):
    """A lane's console within that of the pack."""

    def __init__(self, console: LineConsole, pack: _PackProgress, name: str) -> None:
        super().__init__(console.say)
        self.pack, self.name = pack, name

    @contextmanager
    def stage(self, title: str, iterations: int) -> Iterator[LineStage]:
        self.pack.at[self.name] = 0
        try:
            yield _LaneStage(self, iterations)
        finally:
            self.pack.at.pop(self.name, None)


class _LaneStage(LineStage):
    console: _LaneConsole

    def advance(self, iteration: int, losses: dict[str, float]) -> None:
        self.console.pack.advance(self.console.name, iteration)

    def evaluated(self, iteration: int, metrics: dict[str, float]) -> None:
        self.console.say(f"  {self.console.name} after {iteration} iterations: {shown(metrics)}")

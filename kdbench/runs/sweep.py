"""Runs a sweep: hands packs to an executor's workers until every cell is settled."""

from __future__ import annotations

import datetime
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from kdbench.errors import ERROR, PluginError
from kdbench.executors.base import HELD, REFUSED, Ended, Executor
from kdbench.executors.select import executor_of
from kdbench.guests import Interruption
from kdbench.results.record import Record
from kdbench.runs.cells import AnySpec, title
from kdbench.runs.claims import Claims
from kdbench.runs.estimate import Rates, dealt, in_order
from kdbench.runs.made import has_weights, own_record, stamp, teachers_of, trainings_of
from kdbench.runs.packs import write_pack
from kdbench.runs.progress import PackProgress
from kdbench.runs.settings import RunSettings
from kdbench.runs.status import LineView, Manifest, Snapshot, SweepReport, best_of
from kdbench.runs.sweep_plan import SweepPlan
from kdbench.runs.sweep_state import PackState, Settled, write_lost
from kdbench.specs import TeacherSpec

LOOK_EVERY = 1.0
"""Seconds between two looks at progress, claims and teachers while no worker ends."""
DEATHS = 3
"""Workers that may die on a cell in a row without getting further, one on a larger pack among them."""


@dataclass(frozen=True)
class SweepResult:
    """How a sweep went.

    Attributes:
        plan: What it was to run.
        records: Records of the cells that are done, whether now or before.
        failures: The cells that have failed, now or before, each with its record, if it has one, and why.
        stopped: Whether it was stopped by Ctrl-C: the same call continues from the checkpoints.
    """

    plan: SweepPlan
    records: Sequence[Record]
    failures: Sequence[Settled]
    stopped: bool = False


def run_sweep(
    plan: SweepPlan, settings: RunSettings, view: LineView, *, executor: str, slots: int | None, device: str
) -> SweepResult:
    """Run what a plan has to run.

    Args:
        plan: The cells.
        settings: Runtime settings.
        view: Shows the progress.
        executor: Selector of the executor.
        slots: Workers at once; None: as many as fit.
        device: Type of the workers' device.

    Raises:
        UserError: If the executor cannot be used.
    """
    if not plan.packs:
        return result_before(plan)
    titles = {identity: item.title for identity, item in plan.cells.items()}
    commands = {identity: item.plan.command for identity, item in plan.cells.items()}
    Manifest(results=settings.results, cells=titles, commands=commands).write(settings.work_dir)
    sweep = Sweep(plan, settings, executor_of(executor, slots, device), view)
    ended, before = sweep.run(), result_before(plan)
    return SweepResult(plan, sweep.records, [*before.failures, *sweep.failures], stopped=not ended)


def result_before(plan: SweepPlan) -> SweepResult:
    """Return what was done and what had failed before a sweep."""
    failed = [(plan.cells[cell], record) for cell, record in sorted(plan.failed.items())]
    settled = [Settled(item, record, record.reason or "") for item, record in failed]
    return SweepResult(plan, list(plan.done.values()), settled)


def worker_command(file: Path) -> list[str]:
    """Return the command of a worker."""
    return [sys.executable, "-m", "kdbench", "worker", str(file)]


class Sweep:
    """A sweep while it runs.

    Args:
        plan: What to run.
        settings: Runtime settings.
        executor: Runs the workers.
        view: Shows the progress.
        command: Returns the command of a worker for a pack's file.
    """

    def __init__(
        self,
        plan: SweepPlan,
        settings: RunSettings,
        executor: Executor,
        view: LineView,
        command: Callable[[Path], Sequence[str]] = worker_command,
    ) -> None:
        self.plan, self.settings, self.store = plan, settings, settings.store
        self.executor, self.view, self.command = executor, view, command
        self.rates = Rates()
        self.rates.learn(plan.records)
        order = in_order(dealt(plan.packs, executor.slots, self.rates), self.rates)
        self.pending = [PackState.of(pack, settings) for pack in order]
        self.running: dict[str, PackState] = {}
        self.records, self.done_before = list(plan.done.values()), len(plan.done)
        self.failures: list[Settled] = []
        self.failed_needs: dict[str, str] = {}
        """Identity -> why, of teachers and plain students that failed in this sweep."""
        self.asked = self.passed_on = 0
        """How often it was asked to stop, and how often that was passed on to the workers."""
        self.start = time.monotonic()
        self.began = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._made = {record.identity for record in plan.records if record.done and record.kind == "cell"}

    def run(self) -> bool:
        """Run until every cell is settled, or it is asked to stop.

        Returns:
            Whether it came to its end; False if it was asked to stop by Ctrl-C or SIGTERM.
        """
        with Claims(self.settings.results) as claims, self._signals():
            try:
                while self.running or (self.pending and not self.asked):
                    self._pass_on()
                    self._submit(claims)
                    self._show(claims)
                    if self.running or self.pending:
                        for ended in self.executor.wait(LOOK_EVERY):
                            self._ended(ended, claims)
                self._tidy(claims)
                self._show(claims)
            finally:
                for handle in self.running:
                    self._try(partial(self.executor.cancel, handle, now=False))
                self._try(self.executor.close)
        return not self.asked

    def _tidy(self, claims: Claims) -> None:
        """Remove the claims on what is done that killed workers of this sweep or an earlier one left."""
        left = claims.left()
        for item in (item for pack in self.plan.packs for item in pack.items if left):
            for spec in trainings_of(item.plan).values():
                self.made(spec)  # which keeps it in mind
        for identity in left & self._made:
            if claims.take(identity):
                claims.release(identity, done=True)

    def _try(self, work: Callable[[], None]) -> None:
        """Clean up as far as possible: report failures without hiding why the sweep ends."""
        try:
            work()
        except PluginError as error:
            self.view.say(str(error))

    def _show(self, claims: Claims) -> None:
        """Show how far the sweep is, here and to ``kdbench status``."""
        now = self.snapshot()
        self.view.show(now)
        ends = None if now.seconds_left is None else time.time() + now.seconds_left
        refused = {failure.item.identity: failure.why for failure in self.failures if failure.record is None}
        SweepReport(owner=claims.owner, ends=ends, refused=refused).write(self.settings.work_dir)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Have Ctrl-C and SIGTERM ask to stop; the third one leaves at once. Only a main thread receives them."""

        def ask(number: int, frame: FrameType | None) -> None:
            self.asked += 1
            if self.asked > 2:
                raise Interruption

        heard = (signal.SIGINT, signal.SIGTERM)
        main = threading.current_thread() is threading.main_thread()
        previous = {number: signal.signal(number, ask) for number in heard} if main else {}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _pass_on(self) -> None:
        """Pass a request to stop on to the workers: the first with a checkpoint, the second at once."""
        if self.asked == self.passed_on:
            return
        now = self.asked > 1
        self.passed_on = self.asked
        self.view.say(
            "stopping now; again: leave at once"
            if now
            else "stopping: workers write their checkpoints; again: stop now"
        )
        for handle in self.running:
            self.executor.cancel(handle, now=now)

    def _submit(self, claims: Claims) -> None:
        """Start workers in the free slots."""
        while self.pending and not self.asked and len(self.running) < self.executor.slots:
            state = self._next(claims)
            if state is None:
                return
            state.start(self.made)
            file = write_pack(state.pack, state.name, self.settings)
            handle = self.executor.submit(self.command(file), self.executor.resources, state.log)
            self.running[handle] = state

    def _next(self, claims: Claims) -> PackState | None:
        """Remove the first pack that can run now from the pending ones, and return it."""
        busy = {i for state in self.running.values() for i in state.cells | self._needs(state)}
        for state in list(self.pending):
            self._look(state)
            if not state.pack.items:
                continue
            needs = self._needs(state)
            if needs & busy or any(claims.holder(identity) for identity in needs | state.cells):
                continue
            self.pending.remove(state)
            return state
        return None

    def _look(self, state: PackState) -> None:
        """Settle the cells of a pending pack that another sweep has done, or whose teacher has failed."""
        for item in list(state.pack.items):
            needs = trainings_of(item.plan).keys() - {item.identity}
            lacking = [self.failed_needs[need] for need in needs & self.failed_needs.keys()]
            if lacking:
                self._settle(state, Settled(item, None, lacking[0]))
        self._collect(state)
        if not state.pack.items:
            self.pending.remove(state)

    def _needs(self, state: PackState) -> set[str]:
        """Return what a pack would train beside its cells."""
        return set(teachers_of(state.plans, self.made))

    def made(self, spec: AnySpec) -> bool:
        """Return whether a spec need not be run: it has a done record and, as a trained teacher, its weights."""
        identity = spec.identity()
        if identity not in self._made:
            trained = isinstance(spec, TeacherSpec) and spec.checkpoint is None
            if trained and not self.settings.weights(spec).is_file():
                return False  # without a look into its record, since this is asked each second
            record = own_record(self.store, spec)
            if record is None or not record.done or not has_weights(self.settings, spec, record):
                return False
            self._made.add(identity)
        return True

    def _collect(self, state: PackState) -> None:
        """Settle the cells of a pack that have a new record."""
        for item in list(state.pack.items):
            if stamp(self.store, item.plan.cell) == state.before[item.identity]:
                continue
            record = own_record(self.store, item.plan.cell)
            if record is not None:
                self._settle(state, Settled(item, record, record.reason or ""))

    def _settle(self, state: PackState, settled: Settled) -> None:
        state.keep([item for item in state.pack.items if item is not settled.item])
        lines: Sequence[str] = ()
        if settled.record is not None and settled.record.done:
            self.records.append(settled.record)
            self.rates.learn([settled.record])
        else:
            self.failures.append(settled)
            lines = state.last_lines()
        self.view.settled(settled, lines)

    def _ended(self, ended: Ended, claims: Claims) -> None:
        """Settle what a worker that has ended has done, and decide what becomes of the rest."""
        state = self.running.pop(ended.handle)
        needs = {need: spec for plan in state.plans for need, spec in trainings_of(plan).items()}
        self._collect(state)
        self._note_failed(needs)
        refused = ended.code == REFUSED and self._refused(state)
        if not state.pack.items:
            return
        progress = state.progress()
        ours = None if progress is None else progress.owner  # it seems to live if it was on another machine
        held = any(claims.holder(identity) not in (None, ours) for identity in state.cells)
        left = ended.code == HELD and progress is None
        if self.asked or held or left or refused:
            self.pending.insert(0, state)
        else:
            self._died(state, ended, claims)

    def _note_failed(self, specs: Mapping[str, AnySpec]) -> None:
        """Remember the teachers and plain students that have just failed: what needs them is not tried."""
        for identity, spec in specs.items():
            record = own_record(self.store, spec)
            if record is not None and not record.done and record.made.clock >= self.began:
                self.failed_needs[identity] = f"{title(spec)} failed: {record.reason}"

    def _refused(self, state: PackState) -> bool:
        """Settle the cells that a worker refused, all if it could not even begin; False if it died instead."""
        progress = state.progress()
        refused = progress.refused if progress is not None and progress.ended else {}
        last = next(reversed(state.last_lines()), "")
        if not refused and not last.startswith(ERROR):
            return False
        for item in list(state.pack.items):
            if item.identity in refused or not refused:
                why = refused.get(item.identity, last.removeprefix(ERROR))
                self._settle(state, Settled(item, None, why))
        return True

    def _died(self, state: PackState, ended: Ended, claims: Claims) -> None:
        """Run the cells again from their last checkpoints: in halves, and a single one until it has failed."""
        deaths = state.died(self.made)
        line = f"{state.pack.title}: its worker ended with {ended.how}"
        if len(state.pack.items) > 1 and not self._in_teacher(state):
            self.view.say(f"{line}; its {len(state.pack.items)} cells are run again in halves")
            self.pending[:0] = state.halves()
        elif deaths < DEATHS:
            self.view.say(f"{line}; started again")
            self.pending.insert(0, state)
        else:
            self._lost(state, ended, claims)

    def _in_teacher(self, state: PackState) -> bool:
        """Return whether a worker died in the training of a teacher, so that none of its cells is to blame."""
        progress = state.progress()
        return progress is not None and progress.training != "" and bool(self._needs(state))

    def _lost(self, state: PackState, ended: Ended, claims: Claims) -> None:
        """Record the cells as failed."""
        why = f"its worker died {DEATHS} times without getting further, at last with {ended.how}"
        for item in list(state.pack.items):
            record = None
            if claims.take(item.identity):
                record = write_lost(item.plan, self.settings, why)
                claims.release(item.identity)
            self._settle(state, Settled(item, record, why))

    def snapshot(self) -> Snapshot:
        """Return the sweep as it is now."""
        running = list(self.running.values())
        found = [state.progress() for state in running]
        workers = tuple(progress for progress in found if progress is not None and not progress.ended)
        return Snapshot(
            total=len(self.plan.cells),
            done=len(self.records),
            failed=len(self.plan.failed) + len(self.failures),
            running=sum(len(state.pack.items) for state in running),
            workers=workers,
            seconds_left=self._seconds_left(workers),
            best=best_of(self.records),
        )

    def _seconds_left(self, workers: Sequence[PackProgress]) -> float | None:
        """Estimate the time to the end from the mean time of this sweep's finished cells; before any, from records.

        It is no shorter than what any worker still needs.
        """
        left = [item for state in (*self.running.values(), *self.pending) for item in state.pack.items]
        spent, finished = time.monotonic() - self.start, len(self.records) - self.done_before
        known, unknown = self.rates.total(left)
        if not left or (not finished and unknown):
            return None
        shared = spent / finished * len(left) if finished else known / self.executor.slots - spent
        return max(0.0, shared, *(worker.seconds_left or 0.0 for worker in workers))

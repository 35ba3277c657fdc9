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
from typing import Protocol

from kdbench.errors import ERROR, PluginError
from kdbench.executors.base import HELD, REFUSED, Ended, Executor
from kdbench.guests import Interruption
from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.runs import packs_file
from kdbench.runs import progress as worker_progress
from kdbench.runs.cells import AnySpec, title
from kdbench.runs.claims import Claims
from kdbench.runs.dealing import dealt
from kdbench.runs.estimate import Rates, in_order, teachers_of
from kdbench.runs.packs import Pack
from kdbench.runs.progress import PackProgress
from kdbench.runs.settings import RunSettings
from kdbench.runs.status import Snapshot, SweepReport, best_of, last_lines
from kdbench.runs.sweep_records import has_weights, needs_of, record_of, specs_of, stamp
from kdbench.runs.sweep_state import PackState, Settled, mark_of, write_lost

LOOK_EVERY = 1.0
"""Seconds between two looks at progress, claims and teachers while no worker ends."""
DEATHS = 3
"""Workers that may die on a cell in a row without getting further, one on a larger pack among them."""


class View(Protocol):
    """Where a sweep is shown."""

    def show(self, snapshot: Snapshot) -> None:
        """Show the sweep as it is now."""

    def settled(self, settled: Settled, lines: Sequence[str]) -> None:
        """Show the result of a cell; ``lines`` are the last ones of its log where it has failed."""

    def say(self, line: str) -> None:
        """Anything else."""


def worker_command(file: Path) -> list[str]:
    """Return the command of a worker."""
    return [sys.executable, "-m", "kdbench", "worker", str(file)]


@dataclass(frozen=True)
class SweepTask:
    """A sweep to run.

    Attributes:
        packs: The cells to run.
        done: Records of the cells that are done already.
        failed: Cells that failed before and are not retried.
        known: All records of the store.
        settings: Runtime settings.
    """

    packs: Sequence[Pack]
    done: Sequence[Record]
    failed: int
    known: Sequence[Record]
    settings: RunSettings


class Sweep:
    """A sweep on its way.

    Args:
        task: What to run.
        executor: Runs the workers.
        view: Shows the progress.
        command: The command of a worker for a pack's file.
    """

    def __init__(
        self,
        task: SweepTask,
        executor: Executor,
        view: View,
        command: Callable[[Path], Sequence[str]] = worker_command,
    ) -> None:
        self.settings, self.executor, self.view, self.command = task.settings, executor, view, command
        self.packs, self.store = task.packs, Store(task.settings.results)
        self.rates = Rates()
        self.rates.learn(task.known)
        order = in_order(dealt(task.packs, executor.slots, self.rates), self.rates)
        self.pending = [PackState.of(p, self.store, task.settings.pack_folder(p.name)) for p in order]
        self.running: dict[str, PackState] = {}
        self.records, self.done_before = list(task.done), len(task.done)
        self.start = time.monotonic()
        self.failed_before = task.failed
        self.failures: list[Settled] = []
        self.failed_needs: dict[str, str] = {}
        """Identity -> why, of teachers and plain students that failed in this sweep."""
        self.total = len(task.done) + task.failed + sum(len(pack.items) for pack in task.packs)
        self.asked = self.passed_on = 0
        """How often it was asked to stop, and how often the workers were told."""
        self.began = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._there = {record.identity for record in task.known if record.done}

    def run(self) -> bool:
        """Run until every cell is settled, or it is asked to stop.

        Returns:
            Whether it came to its end; False where it was asked to stop by Ctrl-C or SIGTERM.
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
        """Remove what killed workers, of this sweep or an earlier one, left of claims on what is done."""
        left = claims.left()
        for item in (item for pack in self.packs for item in pack.items if left):
            for spec in specs_of(item.plan).values():
                self.there(spec)
        for identity in left & self._there:
            if claims.take(identity):
                claims.release(identity, done=True)

    def _try(self, work: Callable[[], None]) -> None:
        """Clean up as far as possible: report failures without hiding why the sweep ends."""
        try:
            work()
        except PluginError as error:
            self.view.say(str(error))

    def _show(self, claims: Claims) -> None:
        """Show how far it is, here and to ``kdbench status``."""
        now = self.snapshot()
        self.view.show(now)
        ends = None if now.seconds_left is None else time.time() + now.seconds_left
        refused = {failure.item.identity: failure.why for failure in self.failures if failure.record is None}
        SweepReport(owner=claims.owner, ends=ends, refused=refused).write(self.settings.work_dir)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM ask to stop (only a main thread hears them); the third leaves at once."""

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
        """Tell the workers that they are to stop: at first with a checkpoint, then now."""
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
        """Fill the free slots."""
        while self.pending and not self.asked and len(self.running) < self.executor.slots:
            state = self._next(claims)
            if state is None:
                return
            mark = mark_of(state.pack, self.settings.work_dir, self.there)
            state.start(mark)
            file = packs_file.write(state.pack, state.name, self.settings)
            handle = self.executor.submit(self.command(file), self.executor.resources, state.log)
            self.running[handle] = state

    def _next(self, claims: Claims) -> PackState | None:
        """Take the first pack that can run now out of the pending ones."""
        busy = {identity for state in self.running.values() for identity in self._made_by(state)}
        for state in list(self.pending):
            self._look(state)
            if not state.pack.items:
                continue
            needs = self._needs(state)
            wanted = needs | {item.identity for item in state.pack.items}
            if needs & busy or any(claims.holder(identity) for identity in wanted):
                continue
            self.pending.remove(state)
            return state
        return None

    def _look(self, state: PackState) -> None:
        """Settle the cells of a pending pack that another sweep has done, or that can no longer be run."""
        for item in list(state.pack.items):
            needs = specs_of(item.plan).keys() - {item.identity}
            lacking = [self.failed_needs[need] for need in needs & self.failed_needs.keys()]
            if lacking:
                self._settle(state, Settled(item, None, lacking[0]))
        self._collect(state)
        if not state.pack.items:
            self.pending.remove(state)

    def _needs(self, state: PackState) -> set[str]:
        """Return what a pack would train beside its cells."""
        needs = {identity for item in state.pack.items for identity in needs_of(item.plan, self.there)}
        return needs - {item.identity for item in state.pack.items}

    def _made_by(self, state: PackState) -> set[str]:
        """Return what a running pack trains, or has still to train."""
        return self._needs(state) | {item.identity for item in state.pack.items}

    def there(self, spec: AnySpec) -> bool:
        """Whether a spec need not be run."""
        identity = spec.identity()
        if identity not in self._there:
            record = record_of(self.store, spec)
            if record is None or not record.done or not has_weights(self.settings.work_dir, spec, record):
                return False
            self._there.add(identity)
        return True

    def _collect(self, state: PackState) -> None:
        """Settle the cells of a pack that have a new record."""
        for item in list(state.pack.items):
            if stamp(self.store, item.plan.cell) == state.before[item.identity]:
                continue
            record = record_of(self.store, item.plan.cell)
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
            lines = last_lines(state.log, state.log_start)
        self.view.settled(settled, lines)

    def _ended(self, ended: Ended, claims: Claims) -> None:
        """Settle what a worker that has ended did, and return what is to become of the rest."""
        state = self.running.pop(ended.handle)
        needs = {need: spec for item in state.pack.items for need, spec in specs_of(item.plan).items()}
        self._collect(state)
        self._note_failed(needs)
        refused = ended.code == REFUSED and self._refused(state)
        if not state.pack.items:
            return
        told = worker_progress.read(state.folder)
        ours = None if told is None else told.owner  # who seems to live yet where that was on another machine
        held = any(claims.holder(item.identity) not in (None, ours) for item in state.pack.items)
        left = ended.code == HELD and told is None
        if self.asked or held or left or refused:
            self.pending.insert(0, state)
        else:
            self._died(state, ended, claims)

    def _note_failed(self, specs: Mapping[str, AnySpec]) -> None:
        """Remember the teachers and plain students that have just failed: what needs them is not tried."""
        for identity, spec in specs.items():
            record = record_of(self.store, spec)
            if record is not None and not record.done and record.made.clock >= self.began:
                self.failed_needs[identity] = f"{title(spec)} failed: {record.reason}"

    def _refused(self, state: PackState) -> bool:
        """Settle the cells that a worker refused, all where it could not even begin; False if it died instead."""
        told = worker_progress.read(state.folder)
        refused = told.refused if told is not None and told.ended else {}
        last = next(reversed(last_lines(state.log, state.log_start)), "")
        if not refused and not last.startswith(ERROR):
            return False
        for item in list(state.pack.items):
            if item.identity in refused or not refused:
                why = refused.get(item.identity, last.removeprefix(ERROR))
                self._settle(state, Settled(item, None, why))
        return True

    def _died(self, state: PackState, ended: Ended, claims: Claims) -> None:
        """Run the cells again from their last checkpoints: in halves, and a single one until it has failed."""
        deaths = state.died(mark_of(state.pack, self.settings.work_dir, self.there))
        line = f"{state.pack.title}: its worker ended with {ended.how}"
        if len(state.pack.items) > 1 and not self._in_teacher(state):
            self.view.say(f"{line}; its {len(state.pack.items)} cells are run again in halves")
            self.pending[:0] = state.halves(self.store, self.settings)
        elif deaths < DEATHS:
            self.view.say(f"{line}; started again")
            self.pending.insert(0, state)
        else:
            self._lost(state, ended, claims)

    def _in_teacher(self, state: PackState) -> bool:
        """Whether a worker died in the training of a teacher, for which none of its cells is to blame."""
        told = worker_progress.read(state.folder)
        lacking = teachers_of(state.pack.items, self.there)
        return told is not None and told.training != "" and bool(lacking)

    def _lost(self, state: PackState, ended: Ended, claims: Claims) -> None:
        """Record the cells as failed."""
        why = f"its worker died {DEATHS} times without getting further, at last with {ended.how}"
        for item in list(state.pack.items):
            record = None
            if claims.take(item.identity):
                record = write_lost(item.plan, self.store, self.settings, why)
                claims.release(item.identity)
            self._settle(state, Settled(item, record, why))

    def snapshot(self) -> Snapshot:
        """Return the sweep as it is now."""
        running = list(self.running.values())
        told = [worker_progress.read(state.folder) for state in running]
        workers = tuple(progress for progress in told if progress is not None and not progress.ended)
        return Snapshot(
            total=self.total,
            done=len(self.records),
            failed=self.failed_before + len(self.failures),
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

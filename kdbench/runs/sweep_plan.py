"""Runs a sweep from benchmarks to its result: what is done, what is left, and how it went."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kdbench.benchmarks import Benchmark
from kdbench.devices import check, choose
from kdbench.errors import ArgumentError
from kdbench.executors.select import executor_of
from kdbench.plugins import registry
from kdbench.results.record import Record
from kdbench.runs.cells import OUTDATED
from kdbench.runs.packs import Pack, packs_of
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.runs.status import Manifest
from kdbench.runs.sweep import Sweep, SweepTask, View
from kdbench.runs.sweep_cells import Item, Known, done_by_other_code, items_of, known
from kdbench.runs.sweep_state import Settled
from kdbench.selectors import parse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep is to run.

    Attributes:
        cells: All of its cells by identity.
        known: What the records had of them before.
        packs: The cells to run, those of a pack by one worker.
    """

    cells: Mapping[str, Item]
    known: Known
    packs: Sequence[Pack]

    @property
    def failed_before(self) -> list[Settled]:
        """The cells that failed in an earlier sweep and are not run again."""
        again = {item.identity for pack in self.packs for item in pack.items}
        failed = {identity: self.known.failed[identity] for identity in self.known.failed.keys() - again}
        return [Settled(self.cells[cell], failed[cell], failed[cell].reason or "") for cell in sorted(failed)]


@dataclass(frozen=True)
class SweepResult:
    """How a sweep went.

    Attributes:
        plan: What it was to run.
        records: Records of the cells that are done, whether now or before.
        failures: The cells that have failed, each with its record, if it has one, and why.
        stopped: Whether it was stopped by Ctrl-C: the same call continues from the checkpoints.
    """

    plan: SweepPlan
    records: Sequence[Record]
    failures: Sequence[Settled]
    stopped: bool = False


def plan_sweep(
    benchmarks: Sequence[Benchmark],
    like: Request,
    settings: RunSettings,
    view: View,
    *,
    retry_failed: bool,
    max_lanes: int | None,
    share_teacher: bool,
    rehash: bool,
) -> SweepPlan:
    """Look up what the records have of the cells of benchmarks, and pack the rest.

    Args:
        benchmarks: What to run.
        like: What all cells have in common.
        settings: Runtime settings.
        view: Where lines are shown.
        retry_failed: Run failed cells again.
        max_lanes: Most cells of a pack; None: no limit.
        share_teacher: Whether cells with the same teacher are run together.
        rehash: Read every file of the data, whatever the index of hashes has of it.

    Raises:
        UserError: If anything is unknown, malformed or missing.
    """
    cells = items_of(benchmarks, like, settings, rehash=rehash)
    store = known(cells, settings.store)
    if settings.rerun:
        store = replace(store, done={}, failed={})
    for selector, records in sorted(done_by_other_code(cells, store.done).items()):
        files = [str(settings.store.path_of(record)) for record in records]
        log.warning(f"{selector}: done {OUTDATED}: {len(files)} records, such as {min(files)}")
    again = retry_failed or settings.force  # which overrules the gates that some have failed at
    settled = store.done.keys() | (set() if again else store.failed.keys())
    left = [item for identity, item in cells.items() if identity not in settled]
    return SweepPlan(cells, store, packs_of(left, max_lanes=max_lanes, share_teacher=share_teacher))


def run_sweep(
    plan: SweepPlan, settings: RunSettings, view: View, *, executor: str, slots: int | None, device: str
) -> SweepResult:
    """Run what a plan has to run.

    Args:
        plan: The cells.
        settings: Runtime settings.
        view: Where progress is shown.
        executor: Selector of the executor.
        slots: Workers at once; None: as many as fit.
        device: Class of the workers' device.

    Raises:
        UserError: If the executor cannot be had.
    """
    done, failed = list(plan.known.done.values()), plan.failed_before
    if not plan.packs:
        return SweepResult(plan, done, failed)
    titles = {identity: item.title for identity, item in plan.cells.items()}
    commands = {identity: item.plan.command for identity, item in plan.cells.items()}
    Manifest(results=settings.results, cells=titles, commands=commands).write(settings.work_dir)
    task = SweepTask(plan.packs, done, len(failed), plan.known.records, settings)
    sweep = Sweep(task, executor_of(executor, slots, device), view)
    ended = sweep.run()
    return SweepResult(plan, sweep.records, [*failed, *sweep.failures], stopped=not ended)


def device_of(device: str | None, executor: str) -> str:
    """Return the class of device that a sweep's workers use, which is a part of their cells' identity.

    Raises:
        UserError: If the executor is unknown, the workers are elsewhere and no device is given, or this machine
            does not have it.
    """
    if registry().executor(parse(executor)[0]).value.name == "local":
        return choose(device)
    if device is None:
        why = "name the device that its workers have as well, cuda or cpu."
        raise ArgumentError(("executor", "device"), why)
    check(device)
    return device

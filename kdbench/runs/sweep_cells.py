"""The cells of a sweep: requests from benchmarks, planned once, and what the store has of them."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kdbench.benchmarks import Benchmark, Cell
from kdbench.results.record import Record
from kdbench.results.store import Broken, Store
from kdbench.runs.cells import outdated
from kdbench.runs.plan import Plan, Planner
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.runs.sweep_records import specs_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """A cell of a sweep.

    Attributes:
        request: What was asked for.
        plan: The same, resolved.
        identity: Of the cell's result.
    """

    request: Request
    plan: Plan
    identity: str

    @property
    def title(self) -> str:
        """What the cell is called on the screen."""
        cell = self.plan.cell
        return f"{cell.selector}, seed {cell.seed}, {cell.pair.name}"


def items_of(
    benchmarks: Iterable[Benchmark],
    like: Request,
    settings: RunSettings,
    *,
    rehash: bool = False,
) -> dict[str, Item]:
    """Return the cells of benchmarks by identity, in their order; what two benchmarks share is there once.

    Args:
        benchmarks: What to run.
        like: What all requests have in common.
        settings: Runtime settings, for the command that runs a cell by hand.
        rehash: Read every file of the data, whatever the index of hashes has of it.

    Raises:
        UserError: For anything that does not fit together, in one line.
    """
    planner = Planner(rehash=rehash)
    items: dict[str, Item] = {}
    for benchmark in benchmarks:
        for cell in benchmark.cells():
            request = _request(benchmark, cell, like)
            plan = planner.plan(request)
            identity = plan.cell.identity()
            if identity not in items:
                plan = replace(plan, command=command_of(request, settings))
                items[identity] = Item(request, plan, identity)
    return items


def _request(benchmark: Benchmark, cell: Cell, like: Request) -> Request:
    return replace(
        like,
        method=cell.method,
        dataset=benchmark.dataset,
        pair=cell.pair,
        seed=cell.seed,
        schedule=benchmark.schedule,
        settings=(*benchmark.set, *like.settings),
        benchmark=benchmark.own_file,
    )


def command_of(request: Request, settings: RunSettings) -> str:
    """Return the command that runs a cell by hand, for a shell."""
    words = ["kdbench", "run", "--method", request.method]
    flags = {
        "--from-scratch": request.from_scratch,
        "--download": settings.download,
        "--force": settings.force,
    }
    options: dict[str, Sequence[object]] = {
        "--benchmark": [request.benchmark],
        "--dataset": [None if request.benchmark else request.dataset],
        "--pair": [request.pair],
        "--seed": [request.seed],
        "--schedule": [None if request.schedule == "default" else request.schedule],
        "--teacher": [request.teacher],
        "--student": [request.student],
        "--teacher-checkpoint": request.teacher_checkpoints,
        "--set": request.settings,
        "--amp": [None if request.precision == "fp32" else request.precision],
        "--device": [request.device],
        "--gpus": [None if request.processes == 1 else request.processes],
        "--workers": [settings.workers],
        "--step-limit": [settings.step_limit],
        "--visualizer": settings.visualizers,
        "--root": [request.data_root],
        "--work-dir": [_unless_default(settings, "work_dir")],
        "--results": [_unless_default(settings, "results")],
    }
    for name, values in options.items():
        for value in values:
            words += [] if value is None else [name, str(value)]
    return shlex.join([*words, *(flag for flag, given in flags.items() if given)])


def _unless_default(settings: RunSettings, name: str) -> Path | None:
    value: Path = getattr(settings, name)
    return None if value == RunSettings.model_fields[name].default else value


@dataclass(frozen=True)
class Known:
    """What a store had of the sweep's cells when the sweep began.

    Attributes:
        done: Identity -> record.
        failed: Identity -> record, of those that are not done.
        records: All records of the store, for estimates.
    """

    done: Mapping[str, Record]
    failed: Mapping[str, Record]
    records: Sequence[Record]


def known(items: Mapping[str, Item], store: Store) -> Known:
    """Read the store once. Its broken files are reported, and count as missing.

    Raises:
        UserError: When a newer kdbench wrote the record of a cell, or of what one needs.
    """
    records, broken = store.records()
    _refuse_newer(items, [file for file in broken if file.newer])
    for file in broken:
        log.warning(str(file))
    ours = [record for record in records if record.identity in items]
    done = {record.identity: record for record in ours if record.done}
    failed = {r.identity: r for r in ours if not r.done and r.identity not in done}
    return Known(done, failed, records)


def done_by_other_code(items: Mapping[str, Item], done: Mapping[str, Record]) -> dict[str, list[Record]]:
    """Return selector -> the records that are done, but by other code of the method than there is now.

    Args:
        items: The cells.
        done: Identity -> record of those that are done.
    """
    found: dict[str, list[Record]] = {}
    for identity, record in done.items():
        plan = items[identity].plan
        if outdated(record, plan):
            found.setdefault(plan.cell.selector, []).append(record)
    return found


def _refuse_newer(items: Mapping[str, Item], files: Sequence[Broken]) -> None:
    """Refuse cells whose records a newer kdbench wrote; a record's file ends with the beginning of its identity."""
    if not files:
        return
    wanted = {identity[:12] for item in items.values() for identity in specs_of(item.plan)}
    for file in files:
        if file.path.stem.rpartition("-")[2] in wanted:
            file.refuse()

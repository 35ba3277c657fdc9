"""What a sweep is to run: the cells of benchmarks, what the store has of them, and the packs of the rest."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kdbench.benchmarks import Benchmark, Cell
from kdbench.results.record import Record
from kdbench.results.store import Broken
from kdbench.runs.cells import OUTDATED, outdated
from kdbench.runs.made import trainings_of
from kdbench.runs.packs import Item, Pack, packs_of
from kdbench.runs.plan import Planner
from kdbench.runs.request import Request, command_of
from kdbench.runs.settings import RunSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep is to run.

    Attributes:
        cells: All of its cells by identity.
        done: Identity -> record, of the cells that were done before.
        failed: Identity -> record, of those that failed before and are not run again.
        records: All records of the store, for estimates.
        packs: The cells to run, those of a pack by one worker.
    """

    cells: Mapping[str, Item]
    done: Mapping[str, Record]
    failed: Mapping[str, Record]
    records: Sequence[Record]
    packs: Sequence[Pack]


def plan_sweep(
    benchmarks: Iterable[Benchmark],
    like: Request,
    settings: RunSettings,
    *,
    retry_failed: bool = False,
    max_lanes: int | None = None,
    share_teacher: bool = True,
    rehash: bool = False,
) -> SweepPlan:
    """Look up what the store has of the cells of benchmarks, and pack the rest.

    Broken files of the store are logged, and count as missing.

    Args:
        benchmarks: What to run.
        like: What all cells have in common.
        settings: Runtime settings.
        retry_failed: Run failed cells again.
        max_lanes: Most cells of a pack; None: no limit.
        share_teacher: Whether cells with the same teacher are run together.
        rehash: Read every file of the data, whatever the index of hashes has of it.

    Raises:
        UserError: If anything is unknown, malformed or missing, or if a newer kdbench wrote the record of a cell or
            of what one needs.
    """
    cells = items_of(benchmarks, like, settings, rehash=rehash)
    records, broken = settings.store.records()
    _refuse_newer(cells, [file for file in broken if file.newer])
    for file in broken:
        log.warning(str(file))
    ours = [] if settings.rerun else [record for record in records if record.identity in cells]
    done = {record.identity: record for record in ours if record.done}
    again = retry_failed or settings.force  # which overrules the gates that some have failed at
    failed = {} if again else {r.identity: r for r in ours if r.identity not in done}
    _warn_of_other_code(cells, done, settings)
    left = [item for identity, item in cells.items() if identity not in done.keys() | failed.keys()]
    packs = packs_of(left, max_lanes=max_lanes, share_teacher=share_teacher)
    return SweepPlan(cells, done, failed, records, packs)


def items_of(
    benchmarks: Iterable[Benchmark], like: Request, settings: RunSettings, *, rehash: bool = False
) -> dict[str, Item]:
    """Return the cells of benchmarks by identity, in their order; a cell of two benchmarks is there once.

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


def _refuse_newer(cells: Mapping[str, Item], files: Sequence[Broken]) -> None:
    """Refuse cells whose records a newer kdbench wrote; a record's file ends with the beginning of its identity."""
    if not files:
        return
    wanted = {identity[:12] for item in cells.values() for identity in trainings_of(item.plan)}
    for file in files:
        if file.path.stem.rpartition("-")[2] in wanted:
            file.refuse()


def _warn_of_other_code(cells: Mapping[str, Item], done: Mapping[str, Record], settings: RunSettings) -> None:
    """Log, a line a selector, the done records that were made with other code of the method than there is now."""
    files: dict[str, list[str]] = defaultdict(list)
    for identity, record in done.items():
        plan = cells[identity].plan
        if outdated(record, plan):
            files[plan.cell.selector].append(str(settings.store.path_of(record)))
    for selector, found in sorted(files.items()):
        log.warning(f"{selector}: done {OUTDATED}: {len(found)} records, such as {min(found)}")

"""The cells of a sweep: requests from benchmarks, planned once, and what the store has of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from kdbench.benchmarks import Benchmark, Cell
from kdbench.execution.cells import outdated
from kdbench.execution.plan import Plan, Planner, Request
from kdbench.execution.sweep_means import SweepMeans
from kdbench.execution.sweep_records import specs_of
from kdbench.results.record import Record
from kdbench.results.store import Broken, Store


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
    benchmarks: Iterable[Benchmark], like: Request, report: Callable[[str], None], *, rehash: bool = False
) -> dict[str, Item]:
    """The cells of benchmarks by identity, in their order; what two benchmarks share is there once.

    Args:
        benchmarks: What to run.
        like: What all requests have in common.
        report: Gets lines of progress.
        rehash: Read every file of the data, whatever the index of hashes has of it.

    Raises:
        UserError: For anything that does not fit together, in one line.
    """
    planner = Planner(report, rehash=rehash)
    items: dict[str, Item] = {}
    for benchmark in benchmarks:
        for cell in benchmark.cells():
            request = _request(benchmark, cell, like)
            plan = planner.plan(request)
            identity = plan.cell.identity()
            items.setdefault(identity, Item(request, plan, identity))
    return items


def _request(benchmark: Benchmark, cell: Cell, like: Request) -> Request:
    return replace(
        like,
        method=cell.method,
        dataset=benchmark.dataset,
        pair=cell.pair,
        seed=cell.seed,
        schedule=benchmark.schedule,
    )


def command_of(request: Request, means: SweepMeans) -> str:
    """The command that runs a cell by hand, for a shell."""
    words = ["kdbench", "run", "--method", request.method, "--dataset", request.dataset]
    words += ["--pair", str(request.pair), "--seed", str(request.seed)]
    if request.schedule != "default":
        words += ["--schedule", request.schedule]
    words += [f"--{flag}" for flag in ("download", "force") if getattr(means, flag)]
    words += [] if request.precision == "fp32" else ["--amp", request.precision]
    options = {"--device": request.device, "--workers": means.workers, "--root": request.data_root}
    folders = {"--work-dir": (means.work_dir, "out/runs"), "--results": (means.results, "results")}
    options |= {name: folder for name, (folder, default) in folders.items() if str(folder) != default}
    for name, value in options.items():
        words += [] if value is None else [name, str(value)]
    return shlex.join(words)


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


def known(items: Mapping[str, Item], store: Store, report: Callable[[str], None]) -> Known:
    """Read the store once. Its broken files are reported, and count as missing.

    Raises:
        UserError: When a newer kdbench wrote the record of a cell, or of what one needs.
    """
    records, broken = store.records()
    _refuse_newer(items, [file for file in broken if file.newer])
    for file in broken:
        report(str(file))
    ours = [record for record in records if record.identity in items]
    done = {record.identity: record for record in ours if record.done}
    failed = {r.identity: r for r in ours if not r.done and r.identity not in done}
    return Known(done, failed, records)


def done_by_other_code(items: Mapping[str, Item], done: Mapping[str, Record]) -> list[str]:
    """Return the selectors with cells that are done, but by other code of the method than there is now.

    Args:
        items: The cells.
        done: Identity -> record of those that are done.
    """
    plans = {identity: items[identity].plan for identity in done}
    return sorted({p.cell.selector for identity, p in plans.items() if outdated(done[identity], p)})


def _refuse_newer(items: Mapping[str, Item], files: Sequence[Broken]) -> None:
    """A record's file ends with the beginning of its identity."""
    if not files:
        return
    wanted = {identity[:12] for item in items.values() for identity in specs_of(item.plan)}
    for file in files:
        if file.path.stem.rpartition("-")[2] in wanted:
            file.refuse()

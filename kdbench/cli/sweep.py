"""``kdbench sweep``: methods x datasets x pairs x seeds, packed, claimed, resumable."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import INTERRUPTED, options
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.execution.packs import Pack
    from kdbench.execution.sweep_cells import Item, Known
    from kdbench.execution.sweep_means import SweepMeans


@click.command("sweep")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--methods", metavar="LIST", help="Methods: none,mimic,fine-grained[variant=I,G]; a list makes several."
)
@click.option("--datasets", metavar="LIST", help="Datasets: digits,bccd.")
@click.option("--pairs", metavar="LIST", help="Pairs; default: the first of each dataset.")
@click.option("--seeds", metavar="SEEDS", help="0..2 or 0,1,2; default: 0.")
@click.option(
    "--schedule",
    type=click.Choice(["default", "smoke"]),
    help="smoke: a handful of iterations of everything, never ranked.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and run nothing.")
@click.option("--retry-failed", is_flag=True, help="Run cells again that have failed.")
@click.option("--max-lanes", type=click.IntRange(min=1), help="Most students that train side by side.")
@click.option("--no-share-teacher", is_flag=True, help="Train every cell on its own.")
@click.option(
    "--executor",
    default="local",
    show_default=True,
    metavar="NAME",
    help="Where workers run: ray[address=auto], slurm[partition=gpu,time=120]; see `kdbench list executors`.",
)
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    help="Workers at once, several a GPU; default: as many as a GPU has room for, or one a CPU core.",
)
@options.device
@options.amp
@options.download
@options.force
@options.rerun
@options.rehash
@options.workers
@options.root
@options.work_dir("Checkpoints, logs and exported students.")
@options.results("Store of records.")
def command(files: tuple[Path, ...], **values: Any) -> int:
    """Run the cells of benchmark FILES, or of --methods x --datasets x --pairs x --seeds.

    What has a done record is not run again. Ctrl-C once writes checkpoints and stops, and the same command goes on.
    """
    from kdbench.execution.cells import OUTDATED
    from kdbench.execution.packs import packs_of
    from kdbench.execution.plan import Request
    from kdbench.execution.sweep_cells import done_by_other_code, items_of, known
    from kdbench.execution.sweep_means import SweepMeans
    from kdbench.execution.sweep_wish import benchmarks_of
    from kdbench.results.store import Store

    wish = ("methods", "datasets", "pairs", "seeds", "schedule")
    benchmarks = benchmarks_of(files, **{name: values[name] for name in wish})
    device = _device(values["device"], values["executor"])
    where = {"precision": values["precision"], "device": device, "data_root": values["root"]}
    items = items_of(benchmarks, Request(method="", dataset="", **where), _say, rehash=values["rehash"])
    store = known(items, Store(values["results"]), _say)
    if values["rerun"]:
        store = replace(store, done={}, failed={})
    for selector in done_by_other_code(items, store.done):
        _say(f"{selector}: done {OUTDATED}")
    left = [
        item
        for identity, item in items.items()
        if identity not in store.done and (values["retry_failed"] or identity not in store.failed)
    ]
    packs = packs_of(left, max_lanes=values["max_lanes"], share_teacher=not values["no_share_teacher"])
    if values["dry_run"]:
        from kdbench.cli.sweep_plan import show

        show(items, store, packs, values["work_dir"], values["slots"])
        return 0
    means = SweepMeans(
        **{name: values[name] for name in ("work_dir", "results", "workers", "download", "force", "rerun")}
    )
    chosen = {"executor": values["executor"], "slots": values["slots"], "device": device}
    return run(items, store, packs, means, **chosen)


def _device(device: str | None, executor: str) -> str:
    """Return the class of device that the cells are run on, which is a part of what they are.

    Raises:
        UserError: If the workers are elsewhere and none is given, or this machine does not have it.
    """
    from kdbench.devices import check, choose
    from kdbench.plugins import registry
    from kdbench.selectors import parse

    if registry().executor(parse(executor)[0]).value.name == "local":
        return choose(device)
    if device is None:
        raise UserError(f"--executor {executor}: add --device cuda or --device cpu, what its workers have.")
    check(device)
    return device


def run(
    items: Mapping[str, Item],
    store: Known,
    packs: Sequence[Pack],
    means: SweepMeans,
    *,
    executor: str,
    slots: int | None,
    device: str,
) -> int:
    """Run packs and say how it went.

    Returns:
        Exit code: 0 where all cells are done, 1 where some are not, 130 where it was stopped.
    """
    from kdbench.cli.liveview import view_of
    from kdbench.execution.elapsed import span
    from kdbench.execution.executors import executor_of
    from kdbench.execution.status import Manifest
    from kdbench.execution.sweep import Sweep, Task
    from kdbench.execution.sweep_cells import command_of

    begun = time.monotonic()
    commands = {identity: command_of(item.request, means) for identity, item in items.items()}
    titles = {identity: item.title for identity, item in items.items()}
    failed = len(store.failed.keys() - {item.identity for pack in packs for item in pack.items})
    ended, bad = True, failed
    if packs:
        Manifest(results=means.results, cells=titles, commands=commands).write(means.work_dir)
        task = Task(packs, list(store.done.values()), failed, store.records, means)
        with view_of(commands) as view:
            sweep = Sweep(task, executor_of(executor, slots, device), view)
            ended = sweep.run()
        bad += len(sweep.failures)
        done = len(sweep.records)
    else:
        done = len(store.done)
    _say(f"{done} of {len(items)} cells done, {bad} failed, took {span(time.monotonic() - begun)}")
    if failed:
        _say(f"{failed} failed in an earlier sweep: --retry-failed runs them again")
    if not ended:
        _say("stopped: the same command goes on from the checkpoints")
        return INTERRUPTED
    return 1 if bad else 0


def _say(line: str) -> None:
    click.echo(line, err=True)

"""``kdbench sweep``: methods x datasets x pairs x seeds, packed, claimed, resumable."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

import kdbench
from kdbench.cli import INTERRUPTED, options
from kdbench.cli.screen import echo

if TYPE_CHECKING:
    from kdbench.runs.sweep_plan import SweepResult
    from kdbench.specs import Precision


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
@options.settings
@click.option("--dry-run", is_flag=True, help="Print the plan and run nothing.")
@click.option("--retry-failed", is_flag=True, help="Run failed cells again.")
@click.option("--max-lanes", type=click.IntRange(min=1), help="Most students that train side by side.")
@click.option(
    "--no-share-teacher",
    "share_teacher",
    is_flag=True,
    flag_value=False,
    default=True,
    help="Train every cell on its own.",
)
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
@options.step_limit
@options.root
@options.work_dir("Checkpoints, logs and exported students.")
@options.results("Store of records.")
def command(
    files: tuple[Path, ...],
    methods: str | None,
    datasets: str | None,
    pairs: str | None,
    seeds: str | None,
    schedule: Literal["default", "smoke"] | None,
    settings: tuple[str, ...],
    dry_run: bool,
    retry_failed: bool,
    max_lanes: int | None,
    share_teacher: bool,
    executor: str,
    slots: int | None,
    device: str | None,
    precision: Precision,
    download: bool,
    force: bool,
    rerun: bool,
    rehash: bool,
    workers: int | None,
    step_limit: float | None,
    root: Path | None,
    work_dir: Path,
    results: Path,
) -> int:
    """Run the cells of benchmark FILES, or of --methods x --datasets x --pairs x --seeds.

    What has a done record is not run again. Ctrl-C once writes checkpoints and stops, and the same command goes on.
    """
    from kdbench.cli.liveview import view_of
    from kdbench.runs.elapsed import span

    begun = time.monotonic()
    with view_of() as view:
        result = kdbench.sweep(
            *files,
            methods=methods,
            datasets=datasets,
            pairs=pairs,
            seeds=seeds,
            schedule=schedule,
            settings=settings,
            dry_run=dry_run,
            retry_failed=retry_failed,
            max_lanes=max_lanes,
            share_teacher=share_teacher,
            executor=executor,
            slots=slots,
            device=device,
            precision=precision,
            data_root=root,
            results=results,
            work_dir=work_dir,
            workers=workers,
            step_limit=step_limit,
            download=download,
            force=force,
            rerun=rerun,
            rehash=rehash,
            view=view,
        )
    if dry_run:
        from kdbench.cli.sweep_plan import show

        show(result.plan, work_dir, slots)
        return 0
    return _tell(result, span(time.monotonic() - begun))


def _tell(result: SweepResult, took: str) -> int:
    """Say how a sweep went.

    Returns:
        Exit code: 0 where all cells are done, 1 where some are not, 130 where it was stopped.
    """
    bad, before = len(result.failures), len(result.plan.failed_before)
    _say(f"{len(result.records)} of {len(result.plan.cells)} cells done, {bad} failed, took {took}")
    if before:
        _say(f"{before} failed in an earlier sweep: --retry-failed runs them again")
    if result.stopped:
        _say("stopped: the same command goes on from the checkpoints")
        return INTERRUPTED
    return 1 if bad else 0


def _say(line: str) -> None:
    echo(line, err=True)

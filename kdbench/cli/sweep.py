"""``kdbench sweep``: methods x datasets x pairs x seeds, packed, claimed, resumable."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import kdbench
from kdbench.cli import CTRL_C, options
from kdbench.cli.screen import echo

if TYPE_CHECKING:
    from kdbench.runs.sweep import SweepResult


@click.command("sweep")
@click.argument("files", nargs=-1, type=options.FILE)
@click.option(
    "--methods", metavar="LIST", help="Methods: none,mimic,fine-grained[variant=I,G]; a list makes several."
)
@click.option("--datasets", metavar="LIST", help="Datasets: digits,bccd.")
@click.option("--pairs", metavar="LIST", help="Pairs; default: the first of each dataset.")
@click.option("--seeds", metavar="SEEDS", help="0..2 or 0,1,2; default: 0.")
@options.schedule("smoke: a handful of iterations of everything, never ranked.", default=None)
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
def command(files: tuple[Path, ...], **arguments: Any) -> int:
    """Run the cells of benchmark FILES, or of --methods x --datasets x --pairs x --seeds.

    What has a done record is not run again. Ctrl-C once writes checkpoints and stops, and the same command resumes.
    """
    from kdbench.cli.progress import view_of
    from kdbench.runs.progress import span

    begun = time.monotonic()
    with view_of() as view:
        result = kdbench.sweep(*files, **arguments, view=view)
    if arguments["dry_run"]:
        from kdbench.cli.sweep_plan import show

        show(result.plan, arguments["work_dir"], arguments["slots"])
        return 0
    return _tell(result, span(time.monotonic() - begun))


def _tell(result: SweepResult, took: str) -> int:
    """Say how a sweep went.

    Returns:
        Exit code: 0 where all cells are done, 1 where some are not, 130 where it was stopped.
    """
    say = partial(echo, err=True)
    bad, before = len(result.failures), len(result.plan.failed)
    say(f"{len(result.records)} of {len(result.plan.cells)} cells done, {bad} failed, took {took}")
    if before:
        say(f"{before} failed in an earlier sweep: --retry-failed runs them again")
    if result.stopped:
        say("stopped: the same command resumes from the checkpoints")
        return CTRL_C
    return 1 if bad else 0

"""``kdbench tune``: search a method's own options on validation images, never on the test split."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

import kdbench
from kdbench.cli import options
from kdbench.cli.screen import echo
from kdbench.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from kdbench.tuning.study import Study


@click.command("tune")
@click.argument("method", metavar="METHOD[opt=value,...]")
@options.dataset
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    required=True,
    help="Sets of options to try, failed ones included.",
)
@options.pair
@options.seed
@options.schedule("smoke: a handful of iterations a trial, to see whether it works.")
@options.device
@options.amp
@options.download
@options.force
@options.workers
@options.root
@options.work_dir("Checkpoints, logs and records of the trials.")
@options.results("Studies go to tuning/ in it.")
@click.option("--json", "as_json", is_flag=True, help="Print the study.")
def command(as_json: bool, **arguments: Any) -> int:
    """Search the options of METHOD with Optuna; those that it names stay as they are.

    The first trial has the options as given, the rest are chosen by a seeded sampler. All are judged on validation
    images that no model of the study was trained on. The same command resumes; more --trials continue.
    """
    from kdbench.cli.progress import TerminalConsole
    from kdbench.tuning.study import study_path

    try:
        study = kdbench.tune(**arguments, console=TerminalConsole())
    except RunError as failed:
        echo(f"failed: {failed}", err=True)
        return 1
    if as_json:
        echo(study.model_dump_json(indent=2))
    else:
        _show(study, arguments["trials"], study_path(arguments["results"], study))
    return 0 if study.best(arguments["trials"]) else 1


def _show(study: Study, count: int, path: Path) -> None:
    """Print the best options, how they were judged, and the command to run next."""
    best, start = study.best(count), study.trials[0]
    failed = sum(trial.status == "failed" for trial in study.trials[:count])
    echo(f"study     {path}")
    echo(f"trials    {count}, of which {failed} failed, on {study.validation}")
    different = len({trial.run for trial in study.trials[:count]})
    if different < count:
        echo(f"          only {different} differ, as the options have few values; none is trained twice")
    if best is None:
        echo(f"chosen    nothing: every trial failed, the last one so: {study.trials[count - 1].reason}")
        return
    given = "failed" if start.value is None else f"{start.value:.3f}"
    levels = f"options as given {given}, plain student {study.plain:.3f}, teacher {study.teacher:.3f}"
    echo(f"best      trial {best.number}: {study.metric} {best.value:.3f} ({levels})")
    echo("          chosen on a small validation set, so optimistic: run the sweep for a reportable score")
    echo(f"chosen    {best.selector}")
    if study.plain is not None and best.value is not None and best.value <= study.plain:
        echo("          no trial is better than the plain student: these options do not help here")
    cell = study.start
    if cell.schedule == "smoke":
        echo("smoke schedule: everything ran; the options mean nothing.")
    command = ["kdbench", "sweep", "--methods", best.selector]
    command += ["--datasets", study.dataset, "--pairs", cell.pair.name, "--seeds", "0..2"]
    echo(f"sweep     {shlex.join(command)}")

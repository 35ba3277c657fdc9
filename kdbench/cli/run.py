"""``kdbench run``: one method on one dataset, with the teacher and the plain student it is compared with."""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.cli import options
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.cli.progress import TerminalConsole
    from kdbench.execution.cells import Means
    from kdbench.execution.plan import Plan, Request
    from kdbench.results.record import Record


@click.command("run")
@click.option(
    "--method", required=True, metavar="NAME[opt=value,...]", help="Method, see `kdbench list methods`."
)
@options.dataset
@options.pair
@options.seed
@click.option(
    "--schedule",
    type=click.Choice(["default", "smoke"]),
    default="default",
    show_default=True,
    help="smoke: a handful of iterations of everything, never ranked.",
)
@click.option("--teacher", metavar="CFG", help="Config of the teacher: a file, or mmdet::... or mmseg::...")
@click.option("--student", metavar="CFG", help="Config of the student.")
@click.option(
    "--teacher-checkpoint",
    "teacher_checkpoints",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights of the teacher, one for each of an ensemble; without, it is trained once and kept.",
)
@options.device
@click.option(
    "--gpus", type=click.IntRange(min=1), help="Train on this many GPUs of this machine (torchrun)."
)
@options.amp
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change the pair: schedule.iterations=500, teacher_schedule.lr=0.01, student.backbone.depth=34.",
)
@click.option("--from-scratch", is_flag=True, help="Ignore the initial weights that the pair's configs name.")
@options.download
@options.force
@options.rerun
@options.rehash
@options.workers
@click.option(
    "--visualizer",
    "visualizers",
    multiple=True,
    metavar="BACKEND",
    help="mmengine visualisation backend, such as TensorboardVisBackend; may be repeated.",
)
@options.root
@options.work_dir("Checkpoints, logs and exported students.")
@options.results("Store of records.")
@click.option("--json", "as_json", is_flag=True, help="Print the record instead of the leaderboard.")
def command(**values: Any) -> int:
    """Train, distil, measure and rank one method."""
    from kdbench.cli.progress import TerminalConsole
    from kdbench.execution.launch import is_main_process, relaunch, start
    from kdbench.execution.plan import plan

    begun = time.monotonic()
    console = TerminalConsole(quiet=not is_main_process())
    planned = plan(_request(values), console.say, rehash=values["rehash"])
    if values["gpus"] is not None:
        if values["device"] == "cpu":
            raise UserError("--gpus and --device cpu exclude each other: leave one away.")
        code = relaunch(values["gpus"])
        if code is not None:
            return code
    start(planned.cell.device, planned.dataset)
    return _run(planned, _means(values, planned.cell.device), console, values["as_json"], begun)


def _request(values: Mapping[str, Any]) -> Request:
    """What decides the result."""
    from kdbench.devices import choose
    from kdbench.execution.launch import processes
    from kdbench.execution.plan import Request

    return Request(
        method=values["method"],
        dataset=values["dataset"],
        pair=values["pair"],
        seed=values["seed"],
        schedule=values["schedule"],
        teacher=values["teacher"],
        student=values["student"],
        teacher_checkpoints=values["teacher_checkpoints"],
        settings=values["settings"],
        precision=values["precision"],
        device=choose(values["device"]),
        processes=processes(values["gpus"]),
        from_scratch=values["from_scratch"],
        data_root=values["root"],
    )


def _means(values: Mapping[str, Any], device: str) -> Means:
    """What does not."""
    from kdbench.execution.cells import Means, loading_processes
    from kdbench.results.store import Store

    return Means(
        work_dir=values["work_dir"],
        store=Store(values["results"]),
        workers=loading_processes(values["workers"], device),
        visualizers=("LocalVisBackend", *values["visualizers"]),
        download=values["download"],
        force=values["force"],
        rerun=values["rerun"],
    )


def _run(planned: Plan, means: Means, console: TerminalConsole, as_json: bool, begun: float) -> int:
    """Run the session; only the main process of a distributed run prints."""
    from kdbench.execution.claimed import claimed
    from kdbench.execution.elapsed import span
    from kdbench.execution.launch import is_main_process
    from kdbench.execution.session import Session
    from kdbench.execution.training import RunError

    alone = claimed(planned, means) if is_main_process() else contextlib.nullcontext()
    try:
        with alone, contextlib.redirect_stdout(sys.stderr):  # libraries print, and stdout is for the result
            record, code = Session(planned, means, console).run(), 0
    except RunError as failed:
        record, code = failed.record, 1
        if is_main_process():
            click.echo(f"failed: {failed}", err=True)
    if is_main_process():
        if as_json:
            click.echo(record.to_json(), nl=False)
        elif record.done:
            _show(planned, means, record)
        console.say(f"took {span(time.monotonic() - begun)}")
    return code


def _show(planned: Plan, means: Means, record: Record) -> None:
    """The leaderboard that the new record is in, and where everything is."""
    if record.schedule == "smoke":
        click.echo("smoke schedule: everything ran; nothing of it is ranked.")
    else:
        _rank(means, planned.dataset.name)
    folder = means.folder(planned.cell)
    click.echo(f"record    {means.store.path_of(record)}")
    if folder.is_dir():
        click.echo(f"run       {folder}")
        click.echo(f"export    kdbench export {shlex.quote(str(folder))} --output student.pth")


def _rank(means: Means, dataset: str) -> None:
    from rich.console import Console

    from kdbench.results.formats import tables
    from kdbench.results.leaderboard import rankings

    records, _ = means.store.records(dataset)
    screen = Console()
    if not screen.is_terminal:
        screen = Console(width=200)
    for table in tables(rankings(record for record in records if record.dataset == dataset)):
        screen.print(table.rich())

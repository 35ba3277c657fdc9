"""``kdbench run``: one method on one dataset, with the teacher and the plain student it is compared with."""

from __future__ import annotations

import logging
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

import kdbench
from kdbench.cli import options
from kdbench.errors import RunError, UserError

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.results.store import Store
    from kdbench.specs import Precision


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
def command(
    method: str,
    dataset: str,
    pair: str | None,
    seed: int,
    schedule: Literal["default", "smoke"],
    teacher: str | None,
    student: str | None,
    teacher_checkpoints: tuple[Path, ...],
    device: str | None,
    gpus: int | None,
    precision: Precision,
    settings: tuple[str, ...],
    from_scratch: bool,
    download: bool,
    force: bool,
    rerun: bool,
    rehash: bool,
    workers: int | None,
    visualizers: tuple[str, ...],
    root: Path | None,
    work_dir: Path,
    results: Path,
    as_json: bool,
) -> int:
    """Train, distil, measure and rank one method."""
    from kdbench.cli.progress import TerminalConsole
    from kdbench.runs.elapsed import span
    from kdbench.runs.launch import is_main_process, relaunch
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request

    begun = time.monotonic()
    if not is_main_process():
        logging.getLogger("kdbench").setLevel(logging.WARNING)
    console = TerminalConsole()
    if gpus is not None:
        if device == "cpu":
            raise UserError("--gpus and --device cpu exclude each other: leave one away.")
        plan(Request(method, dataset, pair=pair, data_root=root))  # before the processes start
        code = relaunch(gpus)
        if code is not None:
            return code
    try:
        record = kdbench.run(
            method,
            dataset,
            pair=pair,
            seed=seed,
            schedule=schedule,
            teacher=teacher,
            student=student,
            teacher_checkpoints=teacher_checkpoints,
            settings=settings,
            from_scratch=from_scratch,
            device=device,
            precision=precision,
            data_root=root,
            results=results,
            work_dir=work_dir,
            workers=workers,
            visualizers=visualizers,
            download=download,
            force=force,
            rerun=rerun,
            rehash=rehash,
            console=console,
        )
    except RunError as failed:
        record = failed.record
        console.say(f"failed: {failed}")
    if is_main_process():
        _show(record, results, work_dir, as_json=as_json)
        console.say(f"took {span(time.monotonic() - begun)}")
    return 0 if record.done else 1


def _show(record: Record, results: Path, work_dir: Path, *, as_json: bool) -> None:
    """Print the record, or the leaderboard that it is in and where everything is."""
    from kdbench.results.store import Store
    from kdbench.runs.settings import run_folder

    if as_json:
        click.echo(record.to_json(), nl=False)
        return
    if not record.done:
        return
    store = Store(results)
    if record.schedule == "smoke":
        click.echo("smoke schedule: everything ran; nothing of it is ranked.")
    else:
        _rank(store, record.dataset)
    folder = run_folder(work_dir, record.identity)
    click.echo(f"record    {store.path_of(record)}")
    if folder.is_dir():
        click.echo(f"run       {folder}")
        click.echo(f"export    kdbench export {shlex.quote(str(folder))} --output student.pth")


def _rank(store: Store, dataset: str) -> None:
    from rich.console import Console

    from kdbench.results.formats import tables
    from kdbench.results.leaderboard import rankings

    records, _ = store.records(dataset)
    screen = Console()
    if not screen.is_terminal:
        screen = Console(width=200)
    for table in tables(rankings(record for record in records if record.dataset == dataset)):
        screen.print(table.rich())

"""``kdbench run``: one method on one dataset, with the teacher and the plain student it is compared with."""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import kdbench
from kdbench.cli import options
from kdbench.cli.screen import echo, page
from kdbench.errors import RunError, UserError

if TYPE_CHECKING:
    from kdbench.results.record import Record
    from kdbench.results.store import Store


@click.command("run")
@click.option(
    "--method",
    required=True,
    metavar="NAME[opt=value,...]",
    help="Method, see `kdbench list methods`, or a sum, a+b.",
)
@click.option("--dataset", default="", metavar="NAME", help="Dataset, see `kdbench list datasets`.")
@click.option(
    "--benchmark",
    type=options.FILE,
    help="Benchmark file that names the dataset, or defines it and its pairs.",
)
@options.pair
@options.seed
@options.schedule("smoke: a handful of iterations of everything, never ranked.")
@click.option(
    "--teacher",
    metavar="CFG",
    help="Config of the teacher: mmdet::..., mmseg::..., or a file, whose Python code runs with your rights; or "
    "timm:NAME, which gives feature maps (with --set teacher.out_indices=[1,2,3]).",
)
@click.option("--student", metavar="CFG", help="Config of the student, likewise.")
@options.teacher_checkpoints
@options.device
@click.option(
    "--gpus", type=click.IntRange(min=1), help="Train on this many GPUs of this machine (torchrun)."
)
@options.amp
@options.settings
@click.option("--from-scratch", is_flag=True, help="Ignore the initial weights that the pair's configs name.")
@options.download
@options.force
@options.rerun
@options.rehash
@options.workers
@options.step_limit
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
def command(gpus: int | None, as_json: bool, **arguments: Any) -> int:
    """Train, distil, measure and rank one method."""
    from kdbench.cli.progress import TerminalConsole
    from kdbench.runs.launch import is_main_process
    from kdbench.runs.progress import span

    begun = time.monotonic()
    if not is_main_process():
        logging.getLogger("kdbench").setLevel(logging.WARNING)
    if gpus is not None:
        code = _relaunch(gpus, arguments)
        if code is not None:
            return code
    console = TerminalConsole()
    try:
        record = kdbench.run(**arguments, console=console)
    except RunError as failed:
        record = failed.record
        console.say(f"failed: {failed}")
    if is_main_process():
        _show(record, arguments["results"], arguments["work_dir"], as_json=as_json)
        console.say(f"took {span(time.monotonic() - begun)}")
    return 0 if record.done else 1


def _relaunch(gpus: int, arguments: Mapping[str, Any]) -> int | None:
    """Run the command on several GPUs, after mistakes that would otherwise be reported by each process."""
    from kdbench.runs.launch import relaunch
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request

    if arguments["device"] == "cpu":
        raise UserError("--gpus and --device cpu exclude each other: leave one out.")
    named = ("method", "dataset", "pair", "data_root", "benchmark")
    plan(Request(**{name: arguments[name] for name in named}))
    return relaunch(gpus)


def _show(record: Record, results: Path, work_dir: Path, *, as_json: bool) -> None:
    """Print the record, or the leaderboard that it is in and where everything is."""
    from kdbench.results.store import Store
    from kdbench.runs.settings import run_folder

    if as_json:
        echo(record.to_json(), nl=False)
        return
    if not record.done:
        return
    store = Store(results)
    if record.schedule == "smoke":
        echo("smoke schedule: everything ran; it is never ranked.")
    else:
        _rank(store, record.dataset)
    folder = run_folder(work_dir, record.identity)
    echo(f"record    {store.path_of(record)}")
    if folder.is_dir():
        echo(f"run       {folder}")
        echo(f"export    kdbench export {shlex.quote(str(folder))} --output student.pth")


def _rank(store: Store, dataset: str) -> None:
    from kdbench.results.formats import tables
    from kdbench.results.leaderboard import rankings

    records, _ = store.records(dataset)
    screen = page()
    for table in tables(rankings(record for record in records if record.dataset == dataset)):
        screen.print(table.rich())

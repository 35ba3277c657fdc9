"""``kdbench run``: one method on one dataset, with the teacher and the plain student that it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command("run")
@click.option(
    "--method", required=True, metavar="NAME[opt=value,...]", help="Method, see `kdbench list methods`."
)
@click.option("--dataset", required=True, metavar="NAME", help="Dataset, see `kdbench list datasets`.")
@click.option("--pair", metavar="NAME", help="Teacher-student pair; default: the dataset's first.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
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
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights of the teacher; without, it is trained once and kept.",
)
@click.option("--device", metavar="D", help="cpu or cuda; default: cuda where there is one.")
@click.option(
    "--gpus", type=click.IntRange(min=1), help="Train on this many GPUs of this machine (torchrun)."
)
@click.option("--amp", is_flag=True, help="Mixed precision.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="SECTION.KEY=VALUE",
    help="Change the pair: schedule.iterations=500, teacher_schedule.lr=0.01, student.backbone.depth=34.",
)
@click.option("--from-scratch", is_flag=True, help="Ignore the initial weights that the pair's configs name.")
@click.option("--download", is_flag=True, help="Fetch those initial weights if they are not on disk.")
@click.option("--force", is_flag=True, help="Go on although a gate failed; the record says so.")
@click.option(
    "--workers", type=click.IntRange(min=0), help="Data loading processes; default: 0 on CPU, 4 on a GPU."
)
@click.option(
    "--visualizer",
    "visualizers",
    multiple=True,
    metavar="BACKEND",
    help="mmengine visualisation backend, such as TensorboardVisBackend; may be repeated.",
)
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="Data root; default: data/.")
@click.option(
    "--work-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/runs"),
    show_default=True,
    help="Checkpoints, logs and exported students.",
)
@click.option(
    "--results",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Store of records.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the record instead of the leaderboard.")
def command(**values: Any) -> int:
    """Train, distil, measure and rank one method."""
    from kdbench.execution.plan import Request, plan

    gpus, device = values["gpus"], values["device"]
    request = Request(
        method=values["method"],
        dataset=values["dataset"],
        pair=values["pair"],
        seed=values["seed"],
        schedule=values["schedule"],
        teacher=values["teacher"],
        student=values["student"],
        teacher_checkpoint=values["teacher_checkpoint"],
        settings=values["settings"],
        amp=values["amp"],
        from_scratch=values["from_scratch"],
        data_root=values["root"],
    )
    from kdbench.cli.progress import TerminalConsole
    from kdbench.execution.launch import is_main_process, relaunch, start

    console = TerminalConsole(quiet=not is_main_process())
    planned = plan(request, console.say)
    if gpus is not None and gpus > 1 and relaunch(gpus):
        return 0
    used = start(device, planned.dataset)
    return _run(planned, used, console, values)


def _run(planned: Any, device: str, console: Any, values: dict[str, Any]) -> int:
    from kdbench.execution.launch import is_main_process
    from kdbench.execution.session import Means, RunFailed, Session
    from kdbench.results.store import Store

    workers = values["workers"] if values["workers"] is not None else (0 if device == "cpu" else 4)
    store = Store(values["results"])
    means = Means(
        work_dir=values["work_dir"],
        store=store,
        device=device,
        workers=workers,
        visualizers=("LocalVisBackend", *values["visualizers"]),
        download=values["download"],
        force=values["force"],
    )
    try:
        record = Session(planned, means, console).run()
    except RunFailed as failed:
        click.echo(f"failed: {failed}", err=True)
        return 1
    if not is_main_process():
        return 0
    if values["as_json"]:
        click.echo(record.to_json())
    else:
        _show(planned, record, store, values)
    return 0


def _show(planned: Any, record: Any, store: Any, values: dict[str, Any]) -> None:
    """The leaderboard that the new record is in, and where everything is."""
    from rich.console import Console

    from kdbench.results.formats import to_tables
    from kdbench.results.leaderboard import leaderboard

    screen = Console()
    if record.schedule == "smoke":
        click.echo("smoke schedule: everything ran; nothing of it is ranked.")
    else:
        records, _ = store.records(planned.dataset.name)
        for table in to_tables(leaderboard(records, planned.dataset.name), screen.width):
            screen.print(table)
    click.echo(f"record       {store.path_of(record)}")
    click.echo(f"run          {values['work_dir'] / record.identity[:16]}")
    click.echo(f"export it    kdbench export {record.identity[:12]} --output student.pth")

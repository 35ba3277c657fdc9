"""``kdbench reproduce``: run a row again, from nothing, and say whether it agrees."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import kdbench
from kdbench.cli import options
from kdbench.cli.screen import echo

if TYPE_CHECKING:
    from kdbench.results.reproduce import Agreement


@click.command("reproduce")
@click.argument("row")
@click.option("--dataset", metavar="NAME", help="Dataset, where ROW is a selector.")
@click.option("--pair", metavar="NAME", help="Teacher-student pair, where ROW is a selector.")
@click.option(
    "--seed", type=click.IntRange(min=0), help="Seed of the row; default: ROW's own, or the lowest."
)
@options.results("Folder of the records; nothing is written there.")
@options.work_dir("Folder of the runs: a teacher with the recorded weights is taken from it.")
@options.root
@options.device
@options.download
@options.teacher_checkpoints
@click.option(
    "--benchmark",
    type=options.FILE,
    help="Benchmark file that defines the row's dataset or pair.",
)
@click.option(
    "--anyway", is_flag=True, help="Run even if the code, a plugin or the data differ from the record."
)
def command(**arguments: Any) -> int:
    """Run ROW again and say whether it agrees (exit code 0) or not (1).

    ROW is a record's file, the first digits (at least 6) of its identity, or a method with --dataset and --pair.
    On the CPU of the same kind of machine the numbers must be identical; elsewhere they must be within the noise,
    which is the spread over the row's seeds.
    """
    from kdbench.cli.progress import TerminalConsole

    verdict = kdbench.reproduce(**arguments, console=TerminalConsole())
    _show(verdict)
    if not verdict.agrees:
        echo(f"run       {Path(verdict.now.made.path).parent}")
    return 0 if verdict.agrees else 1


def _show(verdict: Agreement) -> None:
    """Print both results and the verdict."""
    then, now = verdict.then, verdict.now
    echo(f"row       {then.selector} on {then.pair_name}, seed {then.seed} ({then.identity[:12]})")
    for name, record in (("then", then), ("now", now)):
        value = record.status if record.score is None else f"{record.metric} {100 * record.score:.2f}"
        echo(f"{name:<10}{value}, {record.device}, {record.host_class}")
    if then.teacher is not None and now.teacher is not None:
        same = "the same" if then.teacher.weights_sha256 == now.teacher.weights_sha256 else "other"
        values = "not measured"
        if then.teacher.value is not None and now.teacher.value is not None:
            values = f"{then.metric} {100 * then.teacher.value:.2f} then, {100 * now.teacher.value:.2f} now"
        echo(f"teacher   {same} weights ({values})")
    echo(f"{'agrees' if verdict.agrees else 'disagrees'}: {verdict.why}")

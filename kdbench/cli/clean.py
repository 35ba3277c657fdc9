"""``kdbench clean``: what no record needs, and its space back."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options
from kdbench.cli.screen import echo


@click.command("clean")
@options.work_dir("Folder of the runs.")
@options.results("Folder of the records.")
@click.option("--yes", is_flag=True, help="Remove it.")
def command(work_dir: Path, results: Path, yes: bool) -> None:
    """List what no record needs, with its size, and remove it with --yes.

    Exported students, the weights of teachers and checkpoints of interrupted runs are never in the list.
    """
    from kdbench.runs.waste import wasted

    found = wasted(work_dir, results)
    total = 0
    for waste in found:
        total += waste.size
        echo(f"{_megabytes(waste.size):>12}  {waste.path}: {waste.why}")
        if yes:
            waste.remove()
    if not found:
        echo("nothing to remove: everything is needed")
    else:
        echo(f"removed {_megabytes(total)}" if yes else f"--yes removes {_megabytes(total)}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"

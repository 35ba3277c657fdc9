"""``kdbench worker``: trains one pack of a sweep; sweeps start it, on this machine or another."""

from __future__ import annotations

from pathlib import Path

import click

from kdbench.cli import options


@click.command("worker")
@click.argument("pack", type=options.FILE)
def command(pack: Path) -> int:
    """Train the cells of a sweep's PACK, a JSON file that `kdbench sweep` wrote.

    Its exit code is 0 when all are done, 1 when some failed (which is recorded), 2 after a user's mistake, 10
    when another process runs them, 75 when it was interrupted and can be resumed by the same command.
    """
    from kdbench.runs.worker import work

    return work(pack)

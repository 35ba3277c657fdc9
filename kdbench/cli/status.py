"""``kdbench status``: the progress of a sweep, from another shell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options
from kdbench.cli.screen import echo, page
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.runs.status import Manifest, Snapshot


@click.command("status")
@options.work_dir("Folder of the runs, as given to the sweep.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(work_dir: Path, as_json: bool) -> None:
    """Show the last sweep in a work directory: its cells, workers, best methods so far and failures."""
    from kdbench.runs.status import Manifest, from_outside

    manifest = Manifest.read(work_dir)
    if manifest is None:
        raise UserError(f"no sweep was started with --work-dir {work_dir}: start one with `kdbench sweep`.")
    snapshot, failed, broken = from_outside(manifest, work_dir)
    for file in broken:
        echo(str(file), err=True)
    if as_json:
        echo(json.dumps(_values(snapshot, failed, manifest), indent=2))
    else:
        _show(snapshot, failed, manifest)


def _values(snapshot: Snapshot, failed: Mapping[str, str], manifest: Manifest) -> dict[str, object]:
    values = {key: value for key, value in asdict(snapshot).items() if key != "failed"}
    values["workers"] = [worker.model_dump(mode="json") for worker in snapshot.workers]
    values["failed"] = [
        {"title": manifest.cells[cell], "reason": why, "command": manifest.commands[cell]}
        for cell, why in failed.items()
    ]
    return values


def _show(snapshot: Snapshot, failed: Mapping[str, str], manifest: Manifest) -> None:
    from kdbench.cli.progress import picture

    screen = page()
    screen.print(picture(snapshot))
    for cell, why in failed.items():
        echo(f"FAILED {manifest.cells[cell]}: {why}")
        echo(f"  by hand: {manifest.commands[cell]}")

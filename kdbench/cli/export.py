"""``kdbench export``: a finished run's student, for plain mmdet or mmseg."""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options
from kdbench.cli.screen import echo
from kdbench.errors import UserError
from kdbench.files import write_atomically

if TYPE_CHECKING:
    from kdbench.results.record import Record

PARTS = ("student.pth", "student.py")
"""What a finished run leaves in its folder: the checkpoint and its config."""
FOLDER_DIGITS = 16
"""Digits of the identity in the name of a run's folder."""
HOW = {
    "mmdet": ("init_detector", "inference_detector"),
    "mmseg": ("init_model", "inference_model"),
}
"""Library -> its functions that load a model and run it."""


@click.command("export")
@click.argument("run")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write, *.pth."
)
@options.work_dir("Folder of the runs.")
@options.results("Folder of the records.")
def command(run: str, output: Path, work_dir: Path, results: Path) -> None:
    """Write the student of RUN as a checkpoint and a config that plain mmdet or mmseg loads.

    RUN is a run's folder, its record's file, or the first digits (at least 6) of its identity.
    """
    if output.suffix != ".pth":
        raise UserError(f"--output {output} must end in .pth: the config goes beside it, ending in .py.")
    folder = find_run(run, work_dir, results)
    library = library_of(folder)
    targets = [output, output.with_suffix(".py")]
    for target in targets:
        if target.exists():
            raise UserError(f"{target} exists: choose another --output, or remove it.")
    output.parent.mkdir(parents=True, exist_ok=True)
    for name, target in zip(PARTS, targets, strict=True):
        with (folder / name).open("rb") as source:
            write_atomically(target, partial(shutil.copyfileobj, source))
    echo("\n".join(advice(folder, library, *targets)))


def library_of(folder: Path) -> str:
    """Return the library that a run's config is for. Raises UserError if kdbench did not write it."""
    file = folder / PARTS[1]
    found = re.search(r"^default_scope = '(\w+)'", file.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None or found[1] not in HOW:
        raise UserError(f"{file} is not a config that kdbench wrote: export a run's own folder.")
    return found[1]


def advice(folder: Path, library: str, weights: Path, config: Path) -> list[str]:
    """Say what was written and how to load it."""
    load, infer = HOW[library]
    return [
        f"wrote {weights} and {config}, the student of {folder}. With {library}, and without kdbench:",
        "",
        f"  from {library}.apis import {infer}, {load}",
        f"  model = {load}({str(config)!r}, {str(weights)!r}, device='cpu')",
        f"  result = {infer}(model, 'image.png')",
    ]


def find_run(run: str, work_dir: Path, results: Path) -> Path:
    """Return the folder of a finished run.

    Raises:
        UserError: If there is no such run, several, or one that is not finished.
    """
    path = Path(run)
    if path.is_dir():
        return finished(path)
    if path.is_file():
        from kdbench.results.store import record_in

        record = record_in(path)
        return finished(work_dir / record.identity[:FOLDER_DIGITS], record)
    if re.fullmatch("[0-9a-f]{6,64}", run) is None:
        raise UserError(
            f"unknown run '{run}': give a run's folder, its record's file, or at least 6 hex digits of its "
            "identity."
        )
    return _by_prefix(run, work_dir, results)


def _by_prefix(prefix: str, work_dir: Path, results: Path) -> Path:
    """Return the run whose identity starts with a prefix, among the records and the runs' folders."""
    from kdbench.results.store import Store

    records = {record.identity[:FOLDER_DIGITS]: record for record in Store(results).records()[0]}
    named = {name for name, record in records.items() if record.identity.startswith(prefix)}
    folders = {path.name for path in work_dir.glob(f"{prefix[:FOLDER_DIGITS]}*") if path.is_dir()}
    names = sorted(named | folders - records.keys())
    if not names:
        raise UserError(f"unknown run '{prefix}': neither {results} nor {work_dir} has one that starts so.")
    if len(names) > 1:
        raise UserError(f"run '{prefix}' is ambiguous: {', '.join(names)}. Give more digits.")
    return finished(work_dir / names[0], records.get(names[0]))


def finished(folder: Path, record: Record | None = None) -> Path:
    """Return a run's folder if it has the run's student.

    Raises:
        UserError: If it has none, with what is known of the run.
    """
    if record is not None and not record.done:
        raise UserError(f"run {folder.name} is not finished ({record.status}): {record.reason}")
    absent = [name for name in PARTS if not (folder / name).is_file()]
    if not absent:
        return folder
    if record is None:
        raise UserError(f"{folder} has no {absent[0]}: no run has finished there. Give its command again.")
    raise UserError(
        f"run {folder.name} is finished, but {folder} has no {absent[0]}: give its --work-dir, or make it "
        f"again with `{record.made.command}`."
    )

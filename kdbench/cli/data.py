"""``kdbench data``: get, link and check datasets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options
from kdbench.cli.listing import counted
from kdbench.cli.screen import echo
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.datasets.verify import Verification


@click.group("data")
def command() -> None:
    """Get, link and check datasets."""


@command.command(short_help="Make, download or link a dataset.")
@click.argument("name")
@options.root
@click.option("--from", "source", type=click.Path(path_type=Path), help="Link this folder; download nothing.")
def prepare(name: str, data_root: Path | None, source: Path | None) -> None:
    """Get the dataset NAME: make, download or link it. Quick where it is on disk already."""
    from kdbench.datasets import locate
    from kdbench.plugins import registry

    dataset = registry().dataset(name).value
    folder = locate.prepare(dataset, data_root, source)
    echo(f"{name} is ready in {folder}.")


@command.command(short_help="Count a dataset and check its files.")
@click.argument("name")
@options.root
@click.option("--pixels", is_flag=True, help="Decode every image, to find those that are cut short.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def verify(context: click.Context, name: str, data_root: Path | None, pixels: bool, as_json: bool) -> None:
    """Count the dataset NAME and find missing, unreadable or malformed files (then the exit code is 2).

    NAME may be a benchmark file. Annotations, masks and the headers of images are read.
    """
    from kdbench.benchmarks import load
    from kdbench.datasets import locate
    from kdbench.datasets.hashed import HashIndex
    from kdbench.datasets.verify import verify as check
    from kdbench.plugins import registry

    if name.endswith((".yaml", ".yml")):
        name = load(Path(name)).dataset
    dataset = registry().dataset(name).value
    folder = locate.folder_of(dataset, data_root)
    if not locate.has_files(folder):
        raise UserError(locate.absent(dataset, data_root))
    index = None if pixels else HashIndex(folder)
    with _bar() as advance:
        report = check(dataset, folder, pixels=pixels, index=index, advance=advance)
    if index is not None:
        index.save()
    (_print_json if as_json else _print)(report, folder)
    if report.errors:
        context.exit(2)


@contextmanager
def _bar() -> Iterator[Callable[[int, int], object]]:
    """Show a progress bar on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Checking", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_json(report: Verification, folder: Path) -> None:
    import json

    echo(json.dumps(report.to_json() | {"folder": str(folder), "ok": not report.errors}, indent=2))


def _print(report: Verification, folder: Path) -> None:
    """Print the counts to stdout and a line for each problem to stderr."""
    for split, counts in report.splits.items():
        boxes = f", {counts.boxes} boxes" if counts.boxes else ""
        echo(f"{split}: {counts.images} images, {counts.annotations} annotations{boxes}")
        echo("  " + ", ".join(f"{name} {count}" for name, count in counts.classes.items()))
    for problem in report.warnings:
        echo(f"warning: {problem}", err=True)
    for problem in report.errors:
        echo(f"error: {problem}", err=True)
    state = counted(len(report.errors), "error") if report.errors else "good"
    echo(f"{report.dataset} in {folder}: {state}, {counted(len(report.warnings), 'warning')}")

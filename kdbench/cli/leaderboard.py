"""``kdbench leaderboard``: the rankings from the records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options
from kdbench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from kdbench.results.record import Record


@click.command("leaderboard")
@click.argument("dataset", required=False)
@click.option(
    "--format", "style", type=click.Choice(["table", "csv", "markdown"]), default="table", show_default=True
)
@options.results("Folder of the records.")
@click.option("--write", is_flag=True, help="Write the leaderboards of RESULTS as markdown and CSV.")
@click.option("--check", is_flag=True, help="Exit with 1 when the written leaderboards are not the records'.")
def command(dataset: str | None, style: str, results: Path, write: bool, check: bool) -> None:
    """Rank the methods of DATASET (default: of all) against the plain student, seed by seed."""
    from kdbench.results.pages import boards
    from kdbench.results.store import Store

    if write and check:
        raise UserError("--write and --check exclude each other: choose one.")
    records, broken = Store(results).records(dataset)
    for file in broken:
        click.echo(f"broken record {file}", err=True)
    frames = boards(records, dataset)
    if check:
        _check(results, dataset)
    elif not frames:
        raise UserError(_nothing(dataset, records, results))
    elif write:
        _write(results, dataset)
    else:
        _show(list(frames.values()), style)


def _nothing(dataset: str | None, records: list[Record], results: Path) -> str:
    """Why there is no ranking, and the command that changes it."""
    if dataset is not None and not records:
        from kdbench.registry import registry

        registry().dataset(dataset)
    name = dataset or "digits"
    what = f"no records of '{dataset}'" if dataset else "no records"
    if records:
        what = "only smoke runs or teachers, which are never ranked,"
    return f"{what} in {results}: make some with `kdbench run --method mimic --dataset {name}`."


def _write(results: Path, dataset: str | None) -> None:
    from kdbench.results.pages import write_leaderboards

    for path in write_leaderboards(results, dataset):
        click.echo(path)


def _check(results: Path, dataset: str | None) -> None:
    from kdbench.results.pages import check_leaderboards

    problems = check_leaderboards(results, dataset)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        click.echo("make them anew with `kdbench leaderboard --write`", err=True)
        click.get_current_context().exit(1)
    click.echo("the leaderboards are what the records give")


def _show(frames: list[pd.DataFrame], style: str) -> None:
    import pandas as pd

    from kdbench.results.formats import LEGEND, to_csv, to_markdown, to_tables

    frame = pd.concat(frames, ignore_index=True)
    if style != "table":
        click.echo(to_csv(frame) if style == "csv" else to_markdown(frame), nl=False)
        return
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    for table in to_tables(frame, console.width):
        console.print(table)
    console.print(LEGEND, style="dim", markup=False, highlight=False)

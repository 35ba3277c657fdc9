"""``kdbench records``: add the results of others, check records, measure latencies, list a record's software."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kdbench.cli import options
from kdbench.cli.screen import echo
from kdbench.errors import UserError

if TYPE_CHECKING:
    from kdbench.results.contributed import Refusal


@click.group("records")
def command() -> None:
    """Add the results of others, check records, measure latencies, or list the software of a record."""


@command.command(short_help="Add records of others to the store.")
@click.argument(
    "files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False)
)
@options.results("Folder of the records.")
@click.option("--reported-by", metavar="NAME", help="Who reports them; default: others.")
def add(files: tuple[Path, ...], results: Path, reported_by: str | None) -> None:
    """Check record FILES of others and copy them into the store, marked as reported by others.

    A file that contradicts itself, is implausible, or has a result that is already in the store is refused with a
    reason (exit code 2), and then no file is added. Add the records of teachers with those of their students.
    """
    from kdbench.results.contributed import add as add_all
    from kdbench.results.store import Store

    outcome = add_all(files, Store(results), reported_by)
    if outcome.refused:
        _tell(outcome.refused)
        refused = len({refusal.path for refusal in outcome.refused})
        raise UserError(f"no file was added: {refused} of {len(files)} are refused for the reasons above.")
    for path in outcome.added:
        echo(path)


@command.command(short_help="Check all records of the store.")
@options.results("Folder of the records.")
def check(results: Path) -> None:
    """Apply the rules of `add` to all records of the store; the exit code is 2 if one breaks them."""
    from kdbench.results.contributed import check as check_all
    from kdbench.results.store import Store

    number, refused = check_all(Store(results))
    if not number:
        raise UserError(f"no records in {results}: give the --results folder that has them.")
    if refused:
        _tell(refused)
        raise UserError(f"{len({refusal.path for refusal in refused})} of {number} records break a rule.")
    echo(f"{number} records are good")


@command.command(short_help="Measure the latency of a pair's models.")
@options.dataset
@options.pair
@click.option(
    "--method", metavar="NAME", default="none", help="A compression, whose student is its own network."
)
@options.seed
@options.device
@options.root
@options.work_dir("Where the trained weights are.")
@options.results("Folder of the records.")
def latency(
    dataset: str,
    pair: str | None,
    method: str,
    seed: int,
    device: str | None,
    data_root: Path | None,
    work_dir: Path,
    results: Path,
) -> None:
    """Time a pair's student and teacher in turns, and add the times to the student's record of that seed.

    Nothing else may run on the machine: the command refuses to start if something does. The trained weights of both
    must be in the work directory.
    """
    from kdbench.devices import choose
    from kdbench.results.pages import latencies
    from kdbench.runs.latency import measure_latency
    from kdbench.runs.request import Request
    from kdbench.runs.settings import RunSettings

    asked = Request(method, dataset, pair, seed, device=choose(device), data_root=data_root)
    for line in latencies([measure_latency(asked, RunSettings(work_dir=work_dir, results=results))]):
        echo(line)


@command.command(short_help="Print the software of a record as requirements.")
@click.argument("row")
@click.option("--dataset", metavar="NAME", help="Dataset, where ROW is a selector.")
@click.option("--pair", metavar="NAME", help="Teacher-student pair, where ROW is a selector.")
@options.results("Folder of the records.")
def environment(row: str, dataset: str | None, pair: str | None, results: Path) -> None:
    """Print the software of ROW as a requirements file for pip, and name the versions that its record lacks.

    ROW is a record's file, the first digits (at least 6) of its identity, or a method with --dataset and --pair.
    In an environment made from the file, `kdbench reproduce ROW` uses the same versions.
    """
    from kdbench.results.environment import requirements
    from kdbench.results.reproduce import find_row
    from kdbench.results.store import Store

    for line in requirements(find_row(row, Store(results).records()[0], dataset, pair, seed=None)):
        echo(line)


def _tell(refused: Iterable[Refusal]) -> None:
    for refusal in refused:
        echo(" ".join(str(refusal).split()), err=True)

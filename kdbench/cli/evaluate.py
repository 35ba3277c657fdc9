"""``kdbench evaluate``: given weights, measured on a dataset."""

from __future__ import annotations

from typing import Any

import click

import kdbench
from kdbench.cli import options
from kdbench.cli.screen import echo, page


@click.command("evaluate")
@options.dataset
@click.option(
    "--model",
    required=True,
    metavar="NAME|CFG",
    help="Model, see `kdbench list models`; or a config: a file, or mmdet::... or mmseg::...",
)
@click.option(
    "--checkpoint",
    required=True,
    metavar=options.CHECKPOINT,
    help="Weights: a file, an address, or a name in OpenMMLab's model zoos.",
)
@options.download
@options.device
@options.rerun
@options.rehash
@options.workers
@options.root
@options.work_dir("Logs.")
@options.results("Store of records.")
@click.option("--json", "as_json", is_flag=True, help="Print the record instead of the table.")
def command(as_json: bool, **arguments: Any) -> None:
    """Measure given weights on the test split of a dataset, at the image size of the model's config.

    The record stands beside the leaderboards and takes no part in a ranking.
    """
    record = kdbench.evaluate(**arguments)
    if as_json:
        echo(record.to_json(), nl=False)
        return
    from kdbench.results.evaluations import evaluations
    from kdbench.results.store import Store

    for table in evaluations([record]):
        page().print(table.rich())
    echo(f"record    {Store(arguments['results']).path_of(record)}")

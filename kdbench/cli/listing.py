"""``kdbench list``: the contents of the installed plugins."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from kdbench.cli import options
from kdbench.cli.screen import console, echo
from kdbench.plugins import Registry, registry
from kdbench.specs import Pair

Row = dict[str, Any]


def methods(found: Registry, results: Path) -> list[Row]:
    """Return a row for each method, with its cost in the records of a results folder."""
    from kdbench.results.method_costs import cost_range, method_costs
    from kdbench.results.store import Store

    costs = method_costs(Store(results).records()[0])
    return [
        {
            "name": offer.value.name,
            "year": offer.value.year,
            "tasks": list(offer.value.tasks),
            "families": list(offer.value.families),
            "cost": cost_range(costs.get(offer.value.name, {})),
            "variants": list(offer.value.variants),
            "title": offer.value.title,
            "distribution": offer.plugin.distribution,
            "kind": offer.value.kind,
        }
        for offer in found.methods.values()
    ]


def datasets(found: Registry) -> list[Row]:
    """Return a row for each dataset, with its splits on disk."""
    from kdbench.datasets.locate import on_disk

    return [
        {
            "name": offer.value.name,
            "task": offer.value.task,
            "format": offer.value.layout,
            "metric": offer.value.metric,
            "classes": len(offer.value.classes),
            "images": dict(offer.value.images),
            "on disk": on_disk(offer.value),
            "title": offer.value.title,
            "distribution": offer.plugin.distribution,
        }
        for offer in found.datasets.values()
    ]


def pairs(found: Registry) -> list[Row]:
    """Return a row for each pair; the first of a dataset is its default."""
    return [
        {
            "name": offer.value.name,
            "dataset": offer.value.dataset,
            "family": offer.value.family,
            "iterations": offer.value.schedule.iterations,
            "cpu": offer.value.cpu,
            "title": offer.value.title,
            "distribution": offer.plugin.distribution,
        }
        for offer in found.pairs.values()
    ]


def models(found: Registry) -> list[Row]:
    """Return a row for each model, with its pairs and their families, and for each source of teachers."""
    used: dict[str, list[Pair]] = {}
    for offer in found.pairs.values():
        for config in {offer.value.teacher.config, offer.value.student.config}:
            used.setdefault(config, []).append(offer.value)
    return [
        {
            "name": offer.value.name,
            "task": offer.value.task,
            "family": sorted({pair.family for pair in used.get(offer.value.config, ()) if pair.family}),
            "pairs": [pair.name for pair in used.get(offer.value.config, ())],
            "config": offer.value.config or f"{offer.value.name}:NAME",
            "title": offer.value.title,
            "distribution": offer.plugin.distribution,
        }
        for offer in found.models.values()
    ]


def executors(found: Registry) -> list[Row]:
    """Return a row for each executor, including those whose requirements are not installed."""
    from kdbench.executors.select import lacking_of

    return [
        {
            "name": offer.value.name,
            "installed": not lacking_of(offer.value),
            "install": offer.value.install,
            "options": list(offer.value.options.model_fields),
            "title": offer.value.title,
            "distribution": offer.plugin.distribution,
        }
        for offer in found.executors.values()
    ]


def metrics(found: Registry) -> list[Row]:
    """Return a row for each metric, whether it ranks or is only shown."""
    return [
        {
            "name": offer.value.name,
            "ranks": list(offer.value.tasks),
            "higher is better": offer.value.higher_is_better,
            "title": offer.value.title,
            "distribution": offer.plugin.distribution,
        }
        for offer in found.metrics.values()
    ]


def plugins(found: Registry) -> list[Row]:
    """Return a row for each plugin, including broken ones."""
    return [
        {
            "distribution": plugin.distribution,
            "version": plugin.version,
            "name": plugin.name,
            "module": plugin.module,
            "offers": plugin.offers,
            "state": plugin.state,
            "error": plugin.error,
            "warnings": plugin.warnings,
        }
        for plugin in found.plugins
    ]


KINDS: Mapping[str, Callable[[Registry], list[Row]]] = {
    "datasets": datasets,
    "pairs": pairs,
    "models": models,
    "executors": executors,
    "metrics": metrics,
    "plugins": plugins,
}


@click.command()
@click.argument("kind", metavar="KIND", type=click.Choice(["methods", *KINDS]))
@click.option("--json", "as_json", is_flag=True, help="Print JSON: the rows under KIND, and errors.")
@options.results("Folder of the records, for the costs of methods.")
def command(kind: str, as_json: bool, results: Path) -> None:
    """List methods, datasets, pairs, models, executors, metrics or plugins.

    A method's cost is the time of its iteration relative to the plain student's: the smallest and largest over the
    pairs on which both were timed in turns.

    The output is a table in a terminal, else a line of tab-separated values for each row. Broken plugins, and names
    that two plugins have, are reported on stderr and change nothing else.
    """
    found = registry()
    rows = methods(found, results) if kind == "methods" else KINDS[kind](found)
    if as_json:
        echo(json.dumps({kind: rows, "errors": found.errors()}, indent=2))
        return
    emit(rows)
    for error in found.errors():
        echo(f"warning: {error}", err=True)


def emit(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows with equal keys: as a table in a terminal, else as tab-separated values without a header."""
    if not sys.stdout.isatty():
        for row in rows:
            echo("\t".join(cell(value) for value in row.values()))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*(rows[0] if rows else ["nothing found"]), box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row.values()))
    console().print(table)


def counted(number: int, thing: str) -> str:
    """Return a number with a noun: ``1 error``, ``2 errors``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def cell(value: Any) -> str:
    """Format a value as one line of text: lists with commas, nothing as a dash."""
    if value in (None, "", [], (), {}):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {cell(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(cell(item) for item in value)
    return " ".join(str(value).split())

"""``kdbench show``: the card of a method, a dataset, a pair or a model."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from kdbench.cards import MethodCard
from kdbench.cli import options
from kdbench.cli.listing import cell
from kdbench.cli.screen import echo
from kdbench.dataset_cards import Dataset
from kdbench.errors import UserError
from kdbench.offers import Offer
from kdbench.plugins import Registry, registry, suggestion
from kdbench.selectors import canonical, parse, resolve
from kdbench.specs import Pair

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from kdbench.results.method_costs import Costs

KINDS = ("method", "dataset", "pair", "model")
BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of"}


@click.command()
@click.argument("name", metavar="NAME[opt=value,...]")
@click.option("--kind", type=click.Choice(KINDS), help="Kind of NAME, if several kinds have it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.results("Folder of the records, for the cost of a method.")
def command(name: str, kind: str | None, as_json: bool, results: Path) -> None:
    """Show the card of a method, dataset, pair or model; for a method with options, also their values.

    A pair's parameters and FLOPs are counted on its models, which takes some seconds.
    """
    found = registry()
    own, raw = parse(name)
    kind, offer = pick(found, own, kind)
    card = describe(found, kind, offer, _costs(offer.value.name, results) if kind == "method" else {})
    if raw:
        card |= chosen(kind, offer, raw)
    if as_json:
        echo(json.dumps(card, indent=2))
    else:
        echo("\n".join(lines(card)))


def pick(found: Registry, name: str, kind: str | None = None) -> tuple[str, Offer[Any]]:
    """Find the kind and the offer of a name.

    Raises:
        UserError: If no plugin has the name, or several kinds have it and ``kind`` is None.
    """
    finders: dict[str, Callable[[str], Offer[Any]]] = {
        "method": found.method,
        "dataset": found.dataset,
        "pair": found.pair,
        "model": found.model,
    }
    if kind is not None:
        return kind, finders[kind](name)
    tables: dict[str, Mapping[str, Offer[Any]]] = {
        "method": found.methods,
        "dataset": found.datasets,
        "pair": found.pairs,
        "model": found.models,
    }
    kinds = [key for key in KINDS if found.gives(key, name)]
    if len(kinds) > 1:
        raise UserError(f"'{name}' is a {' and a '.join(kinds)}: say which with --kind {kinds[0]}.")
    if not kinds:
        known = {known for table in tables.values() for known in table}
        raise UserError(
            f"no method, dataset, pair or model is named '{name}'.{suggestion(name, known)}{found.note()}"
        )
    return kinds[0], finders[kinds[0]](name)


def _costs(method: str, results: Path) -> Costs:
    from kdbench.results.method_costs import method_costs
    from kdbench.results.store import Store

    return method_costs(Store(results).records()[0]).get(method, {})


def describe(found: Registry, kind: str, offer: Offer[Any], costs: Costs) -> dict[str, Any]:
    """Return a card as values for JSON; ``kind`` and ``plugin`` come first.

    Args:
        found: The installed plugins.
        kind: Kind of the offer.
        offer: The method, dataset, pair or model.
        costs: For a method: pair -> time of an iteration relative to the plain student's.
    """
    plugin = offer.plugin
    start = {"kind": kind, "plugin": f"{plugin.distribution} {plugin.version} ({plugin.module})"}
    if kind == "method":
        return start | _method(offer.value, costs)
    if kind == "dataset":
        return start | _dataset(offer.value)
    if kind == "model":
        return start | dataclasses.asdict(offer.value)
    return start | _pair(offer.value, found.dataset(offer.value.dataset).value)


def chosen(kind: str, offer: Offer[Any], raw: Mapping[str, str]) -> dict[str, Any]:
    """Return the selector of a method with options, and the values of all its options.

    Raises:
        UserError: If an option is unknown or its value wrong, or the offer is not a method.
    """
    if kind != "method":
        raise UserError(f"'{offer.value.name}' is a {kind}, which has no options: leave the brackets out.")
    values = resolve(offer.value, raw)
    return {"selector": canonical(offer.value, values), "values": values.model_dump(mode="json")}


def _method(card: MethodCard, costs: Costs) -> dict[str, Any]:
    return {
        "name": card.name,
        "works by": card.kind,
        "revision": card.revision,
        "title": card.title,
        "authors": card.authors,
        "year": card.year,
        "link": card.link,
        "tasks": list(card.tasks),
        "families": list(card.families),
        "attends": f"{card.attends} (kdbench show-mask {card.name})" if card.attends else "",
        "cost": {pair: round(ratio, 2) for pair, ratio in costs.items()},
        "equations": inspect.cleandoc(card.equations),
        "options": [option(name, field) for name, field in card.options.model_fields.items()],
        "variants": dict(card.variants),
        "published": card.published(),
        "bibtex": inspect.cleandoc(card.bibtex),
    }


def option(name: str, field: FieldInfo) -> dict[str, Any]:
    """Describe an option of a method: name, type, default, range and help."""
    bounds = [
        f"{sign} {getattr(rule, attribute)}"
        for rule in field.metadata
        for attribute, sign in BOUNDS.items()
        if getattr(rule, attribute, None) is not None
    ]
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return {
        "name": name,
        "type": _type(field.annotation),
        "default": json.loads(json.dumps(default, default=str)),
        "range": ", ".join(bounds) or None,
        "help": field.description,
    }


def _type(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " | ".join(str(choice) for choice in get_args(annotation))
    if annotation is type(None):
        return "null"
    if get_origin(annotation) is None:
        return getattr(annotation, "__name__", str(annotation))
    if get_origin(annotation) in (tuple, list):
        return f"list of {_type(get_args(annotation)[0])}"
    return " | ".join(_type(part) for part in get_args(annotation))


def _dataset(card: Dataset) -> dict[str, Any]:
    return {
        "name": card.name,
        "title": card.title,
        "task": card.task,
        "format": card.layout,
        "metric": card.metric,
        "classes": list(card.classes),
        "splits": {name: [part.listing for part in parts] for name, parts in card.splits.items()},
        "folder": card.folder,
        "license": card.license,
        "link": card.link,
        "citation": inspect.cleandoc(card.citation),
        "prepare": f"kdbench data prepare {card.name}",
    }


def _pair(pair: Pair, dataset: Dataset) -> dict[str, Any]:
    from kdbench.openmmlab.complexity import describe as complexity

    counts = complexity(pair, dataset)
    card = pair.model_dump(mode="json")
    for role in ("teacher", "student"):
        card[role] |= counts[role]
    return card


def lines(card: Mapping[str, Any]) -> list[str]:
    """Return a card as lines of text: short values beside their names, long ones and tables below them."""
    printed: list[str] = []
    for key, value in card.items():
        if isinstance(value, str) and "\n" in value:
            printed += ["", key, *(f"  {line}".rstrip() for line in value.splitlines())]
        elif isinstance(value, Mapping) and value:
            printed += ["", key, *_nested(value, "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            printed += ["", key, *_columns(value)]
        else:
            printed.append(f"{key}: {_plain(value)}")
    return printed


def _nested(values: Mapping[str, Any], indent: str) -> Iterator[str]:
    """Yield a line for each value of a mapping; nested mappings are indented."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _nested(value, f"{indent}  ")
        else:
            yield f"{indent}{name}: {_plain(value)}"


def _plain(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else cell(value)


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Return rows with equal keys as aligned columns, under their headings."""
    table = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in table) for i in range(len(rows[0]))]
    return [
        "  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]

"""Writes the generated pages of the guide: cards, promises, leaderboards, and which method to choose.

Run ``python docs/generate.py`` before ``zensical build --strict``. The pages are not committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import choosing

from kdbench.cli.show import describe, option
from kdbench.conformance.promises import PROMISES
from kdbench.plugins import registry
from kdbench.results.html import write_page
from kdbench.results.method_costs import Costs, cost_range, method_costs
from kdbench.results.store import Store
from kdbench.results.table import markdown_table

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "docs" / "guide" / "generated"
OURS = "kdbench"


def main() -> None:
    """Write all pages."""
    OUTPUT.mkdir(exist_ok=True)
    records, broken = Store(ROOT / "results").records()
    (OUTPUT / "methods.md").write_text("\n".join(methods(method_costs(records))), encoding="utf-8")
    (OUTPUT / "choosing.md").write_text("\n".join(choosing.page(records)), encoding="utf-8")
    (OUTPUT / "executors.md").write_text("\n".join(executors()), encoding="utf-8")
    (OUTPUT / "promises.md").write_text("\n".join(promises()), encoding="utf-8")
    write_page(ROOT / "results", OUTPUT / "leaderboards", read=(records, broken))


def methods(costs: Mapping[str, Costs]) -> Iterator[str]:
    """Write a table of all methods of this repository, and a section for each of them."""
    yield "# The methods\n"
    yield "This page is made from the cards; `kdbench show NAME` also prints the papers' published numbers.\n"
    found = registry()
    offers = [offer for offer in found.methods.values() if offer.plugin.distribution.startswith(OURS)]
    cards = [describe(found, "method", offer, costs.get(offer.value.name, {})) for offer in offers]
    yield (
        "Cost is the time of an iteration relative to the plain student's, as a range over the committed pairs on "
        "which both were timed in turns; blank if there is none.\n"
    )
    yield from table(("method", "year", "families", "cost"), map(method_row, cards))
    for card in cards:
        yield from method(card)


def method_row(card: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a method's row of the table."""
    name = card["name"]
    return (
        f"[{name}](#{name})",
        str(card["year"] or ""),
        ", ".join(card["families"]),
        cost_range(card["cost"]),
    )


def method(card: Mapping[str, Any]) -> Iterator[str]:
    """Write the content of a card: the paper, families, equations, variants and options."""
    yield f"## {card['name']}\n"
    paper = f"[{card['title']}]({card['link']})" if card["link"] else card["title"]
    yield f"{paper}{', '.join(['', card['authors'], str(card['year'])]) if card['authors'] else ''}.\n"
    if card["works by"] == "compression":
        yield "A rival of distillation: it makes the student from the trained teacher.\n"
    if card["families"]:
        yield f"Families: {', '.join(card['families'])}.\n"
    if card["attends"]:
        yield f"Its attention shows {card['attends'].replace('(', '(`').replace(')', '`)')}.\n"
    yield f"```text\n{card['equations']}\n```\n"
    if card["variants"]:
        variants = ((f"`{name}`", text) for name, text in card["variants"].items())
        yield from table(("variant", "description"), variants)
    yield from options([entry for entry in card["options"] if entry["name"] != "variant"])


def executors() -> Iterator[str]:
    """Write a section for each of kdbench's own executors."""
    yield "# The executors\n"
    yield "Options are given in brackets: `--executor 'ray[address=auto]'`. `kdbench list executors` lists all.\n"
    for offer in registry().executors.values():
        card = offer.value
        if offer.plugin.distribution == OURS:
            yield f"## {card.name}\n"
            yield f"{card.title}\n"
            if card.install:
                yield f"```text\n{card.install}\n```\n"
            yield from options([option(*entry) for entry in card.options.model_fields.items()])


def options(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write a table of options, if there are any."""
    if entries:
        yield from table(("option", "type", "default", "description"), map(option_row, entries))


def option_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return an option's row of the table."""
    kind = entry["type"] + (f", {entry['range']}" if entry["range"] else "")
    default = "" if entry["default"] is None else f"`{json.dumps(entry['default']).strip(chr(34))}`"
    return f"`{entry['name']}`", kind, default, entry["help"] or ""


def promises() -> Iterator[str]:
    """List the checks of `kdbench test-plugin`, in order."""
    yield "# What a method promises\n"
    yield "`kdbench test-plugin NAME` checks them in this order; promises that build on a broken one are skipped.\n"
    rows = ((f"`{promise.name}`", promise.says, promise.why) for promise in PROMISES)
    yield from table(("promise", "what it says", "why"), rows)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Write a markdown table; the cells are markdown, in which pipes are escaped."""
    cells = ([cell.replace("|", r"\|") for cell in row] for row in rows)
    yield markdown_table(head, cells, "l" * len(head))
    yield ""


if __name__ == "__main__":
    main()

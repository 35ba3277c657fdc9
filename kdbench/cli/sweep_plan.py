"""What ``kdbench sweep --dry-run`` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import click

from kdbench.execution.elapsed import span
from kdbench.execution.packs import Pack
from kdbench.execution.packs_estimate import Rates
from kdbench.execution.sweep_cells import Item, Known


def show(items: Mapping[str, Item], store: Known, packs: Sequence[Pack]) -> None:
    """Print a plan: cells a pair, packs with their reasons, and an estimate of the time."""
    rates = Rates()
    rates.learn(store.records)
    left = {item.identity for pack in packs for item in pack.items}
    click.echo("\n".join([*_cells(items, store, left), *_packs(packs, rates), _total(packs, rates)]))


def _cells(items: Mapping[str, Item], store: Known, left: set[str]) -> list[str]:
    """A line a pair and method."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for identity, item in items.items():
        cell = item.plan.cell
        state = "to run" if identity in left else "done" if identity in store.done else "failed"
        counts.setdefault((cell.pair.name, cell.selector), Counter())[state] += 1
    lines = [f"{len(items)} cells: {_counted(sum(counts.values(), Counter()))}"]
    lines += [f"  {pair}  {method}: {_counted(count)}" for (pair, method), count in counts.items()]
    return lines


def _counted(count: Counter[str]) -> str:
    return ", ".join(f"{count[state]} {state}" for state in ("done", "to run", "failed") if count[state])


def _packs(packs: Sequence[Pack], rates: Rates) -> list[str]:
    lines = [f"{len(packs)} packs"]
    for pack in packs:
        methods = " ".join(item.plan.cell.selector for item in pack.items)
        lines.append(f"  {pack.title}: {methods} ({pack.reason}; {_time([pack], rates)})")
    return lines


def _total(packs: Sequence[Pack], rates: Rates) -> str:
    teachers = {item.plan.cell.teacher for pack in packs for item in pack.items} - {None}
    if not packs:
        return "nothing to run"
    note = f", without the training of up to {len(teachers)} teachers" if teachers else ""
    return f"one after the other: {_time(packs, rates)}{note}"


def _time(packs: Sequence[Pack], rates: Rates) -> str:
    """The time of packs as earlier records tell it."""
    cells = [item for pack in packs for item in pack.items]
    seconds, unknown = rates.total(cells)
    if unknown == len(cells):
        return "time unknown"
    return f"about {span(seconds)}" + (f" and {unknown} cells of unknown time" if unknown else "")

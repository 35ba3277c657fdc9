"""The committed records have the scores that they had before their identities changed."""

from __future__ import annotations

import csv
from pathlib import Path

from kdbench.results.store import Store

ROOT = Path(__file__).parents[2]
KEY = ("dataset", "pair", "kind", "method", "seed", "clock")


def scores() -> dict[tuple[str, ...], tuple[str, ...]]:
    """Key of each committed record -> status, metric, last and best score at full precision."""
    records, broken = Store(ROOT / "results").records()
    assert not broken
    found = {}
    for record in records:
        key = (record.dataset, record.pair_name, record.kind, record.selector, str(record.seed))
        assert record.metrics is not None
        ranked = [repr(part[record.metric]) for part in (record.metrics.last, record.metrics.best)]
        found[(*key, record.made.clock)] = (record.status, record.metric, *ranked)
    return found


def test_no_score_has_changed():
    with (Path(__file__).parent / "scores-before.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    before = {tuple(row.pop(name) for name in KEY): tuple(row.values()) for row in rows}
    assert len(before) == len(rows) == 194
    now = scores()
    kept = before.keys() & now.keys()
    assert {key: now[key] for key in kept} == {key: before[key] for key in kept}
    cells = {key[:-1] for key in now}
    assert {key[:-1] for key in before.keys() - kept} <= cells  # measured again, at another time


def test_the_commands_are_what_a_person_can_type():
    commands = {record.made.command for record in Store(ROOT / "results").records()[0]}
    assert {command.split()[1] for command in commands} == {"run"}

"""Given weights beside the leaderboards: shown wherever people read them, ranked nowhere."""

from __future__ import annotations

from kdbench.results.evaluations import evaluations
from kdbench.results.html import write_page
from kdbench.results.leaderboard import rankings
from kdbench.results.pages import leaderboard_page
from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.specs import digest, unlabelled

from .samples import cell, cells


def evaluation(selector="net first", score=0.5, **more):
    """A record of measured weights."""
    spec = {
        "selector": selector,
        "dataset": "digits",
        "data": "0" * 64,
        "model": {"config": "net.py", "edits": {}, "sha256": "0" * 64},
        "checkpoint": digest(selector),
        "scale": [64, 48],
        "keep_ratio": False,
        "device": "cpu",
    }
    fields = cell().model_dump() | {
        "kind": "evaluation",
        "identity": digest(unlabelled(spec)),
        "spec": spec,
        "teacher": None,
        "metrics": {"last": {"AP50": score}},
        "cost": {"student_parameters": 347145},
    }
    return Record.model_validate(fields | more)


RANKED = [*cells("none", {0: 0.5, 1: 0.6}), *cells("mimic", {0: 0.6, 1: 0.7})]
MEASURED = [evaluation("net worse", 0.0), evaluation("net better", 0.65134)]


def test_a_table_a_dataset_the_best_first():
    (table,) = evaluations([*RANKED, *MEASURED])
    assert table.heading == "digits: authors' weights, measured here"
    assert [row[:4] for row in table.rows] == [
        ["net better", "65.13", "64 x 48", "347,145"],
        ["net worse", "0.00", "64 x 48", "347,145"],
    ]
    assert evaluations(RANKED) == evaluations(MEASURED, ["bccd"]) == []


def test_who_reports_it_is_told():
    (table,) = evaluations([evaluation(reported_by="A. Lab")])
    assert table.rows[0][0] == "net first (reported by A. Lab)"


def test_no_ranking_changes():
    alone, beside = rankings(RANKED), rankings([*RANKED, *MEASURED])
    assert [str(dict(row)) for row in alone[0].rows] == [str(dict(row)) for row in beside[0].rows]
    assert len(beside) == 1


def test_the_pages_show_them(tmp_path):
    records = [*RANKED, *MEASURED]
    assert "| net better | 65.13 |" in leaderboard_page("digits", rankings(records), records)
    assert "authors' weights" not in leaderboard_page("digits", rankings(records))
    for record in records:
        Store(tmp_path).write(record)
    html = write_page(tmp_path, tmp_path / "page").read_text()
    assert "<td>net better</td>" in html
    assert html.count('id="evaluations"') == 1

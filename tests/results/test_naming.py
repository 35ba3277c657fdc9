"""What rows are called and which row is meant, with no plugin of the records installed."""

from __future__ import annotations

import pytest

from kdbench.results.board import Ranking
from kdbench.results.compare import comparisons
from kdbench.results.leaderboard import rankings
from kdbench.results.naming import contradiction, fits, key_of, labels, method_in
from kdbench.results.query import query
from kdbench.results.record import Record
from kdbench.results.reproduce import find_row
from kdbench.results.store import Store

from .samples import cell

OLD = {"p": 1, "weight": 1.0}
"""The options when p was 1 by default."""
NEW = {"p": 2, "weight": 1.0}


def labelled(records: list[Record]) -> list[str]:
    (ranking,) = rankings([*map(plain, range(2)), *records])
    return [row["method"] for row in methods(ranking)]


def methods(ranking: Ranking):
    return sorted(ranking.methods, key=lambda row: row["method"])


def plain(seed: int) -> Record:
    return cell("none", 0.4, seed)


def test_a_row_is_called_by_its_selector_as_it_was_recorded():
    assert labelled([cell("at", options=OLD), cell("at[p=2]", options=NEW, seed=1)]) == ["at", "at[p=2]"]


def test_a_new_default_relabels_no_old_record_and_the_clash_shows_what_differs():
    assert labelled([cell("at", options=OLD), cell("at", options=NEW, seed=1)]) == ["at[p=1]", "at[p=2]"]


def test_one_row_before_and_after_its_option_became_the_default():
    (ranking,) = rankings(
        [cell("at[p=2]", options=NEW), cell("at", options=NEW, seed=1), *map(plain, range(2))]
    )
    (row,) = ranking.methods
    assert (row["method"], row["seeds"]) == ("at", 2)


def test_what_a_clash_shows_is_not_another_row():
    third = cell("at[p=2]", options={"p": 2, "weight": 3.0}, seed=1)
    found = labelled([cell("at", options=OLD), cell("at", options=NEW, seed=1), third])
    assert found == ["at[p=1]", "at[p=2,weight=1]", "at[p=2,weight=3]"]


def test_revisions_and_options_that_only_one_has():
    assert labelled([cell("at", options=OLD), cell("at", options=OLD, revision=2, seed=1)]) == [
        "at (revision 1)",
        "at (revision 2)",
    ]
    assert labelled([cell("at", options=OLD), cell("at", options={**OLD, "q": 0}, seed=1)]) == [
        "at",
        "at[q=0]",
    ]


def test_equal_numbers_of_two_types_are_told_apart_too():
    one, two = labelled([cell("at", options={"p": 1}), cell("at", options={"p": 1.0}, seed=1)])
    assert one != two


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("at", True),
        ("at[p=1]", True),
        ("at[weight=1,p=1]", True),
        ("at[weight=1.0]", True),
        ("at[p=2]", False),
        ("at[q=1]", False),
        ("pkd", False),
    ],
)
def test_an_option_finds_its_row_whether_it_is_the_default_or_not(typed, meant):
    assert fits(typed, cell("at", options=OLD)) is meant
    named = cell("at[p=1]", options=OLD)
    assert fits(typed, named) is (meant and "p=1" in typed)


def test_values_of_every_type_are_found():
    options = {"on": True, "stages": [2, 3], "names": ["a", "b"], "none": None, "where": "neck"}
    record = cell("m", options=options)
    assert fits("m[on=true,stages=[2,3],names=[a,b],none=null,where=neck]", record)
    assert not fits("m[on=1]", record)


def test_every_command_finds_it():
    records = [plain(0), cell("at", options=OLD), cell("at[weight=2]", options={**OLD, "weight": 2.0})]
    assert find_row("at[p=1]", records, None, None, None).selector == "at"
    (found,) = comparisons(records, "none", "at[p=1]")
    assert found.second.label == "at"
    ((ranking,),) = query([], records, methods=["at[p=1]"]).values()
    assert [row["method"] for row in ranking.methods] == ["at"]


def test_a_record_is_checked_without_its_plugin():
    assert contradiction(cell("at[p=2]", options=NEW)) == ""
    assert (
        contradiction(cell("at[p=3]", options=NEW)) == "selector 'at[p=3]' has another 'p' than the options"
    )
    assert "is not a selector" in contradiction(cell("at", options=NEW).called("at["))


def test_a_record_takes_the_place_of_that_of_an_earlier_selector(tmp_path):
    store = Store(tmp_path)
    before, after = cell("at[p=2]", options=NEW), cell("at", options=NEW)
    assert before.identity == after.identity
    first = store.write(before)
    second = store.write(after)
    assert (first.exists(), second.exists()) == (False, True)
    failed = cell("at[p=2]", options=NEW, status="failed")
    assert store.write(failed) == second


def test_a_sum_is_a_row_of_its_own():
    selector, chosen = "cwd[where=logits]+mgd", {"cwd.where": "logits", "mgd.weight": 1.0}
    both = cell(selector, method="cwd+mgd", options=chosen)
    heavier = cell(selector, method="cwd+mgd", options=chosen | {"mgd.weight": 2.0})
    assert contradiction(both) == ""
    assert fits("mgd[weight=1]+cwd[where=logits]", both)
    assert not fits("mgd[weight=2]+cwd[where=logits]", both)
    rows = {key_of(one): [one] for one in (both, heavier)}
    assert set(labels(rows).values()) == {f"{selector}[weight=1]", f"{selector}[weight=2]"}
    assert method_in(f"{selector} (revision 2)") == "cwd+mgd"
    records = [plain(0), cell("cwd"), both]
    assert find_row("mgd+cwd[where=logits]", records, None, None, None) == both
    ((ranking,),) = query([], records, methods=["cwd"]).values()
    assert [row["method"] for row in ranking.methods] == ["cwd"]

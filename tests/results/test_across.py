import math
from itertools import permutations

import pandas as pd
import pytest

from kdbench.results.across import ACROSS_COLUMNS, across
from kdbench.results.leaderboard import rankings
from kdbench.results.statistics import rank

from .samples import cells

PLAIN = {0: 0.50, 1: 0.52}


def board(dataset, gains, schedule="default"):
    """The rankings of a dataset with these gains over the plain student."""
    more = {"dataset": dataset, "pair": f"{dataset}-pair", "schedule": schedule}
    records = cells("none", PLAIN, **more)
    for method, gain in gains.items():
        records += cells(method, {seed: score + gain for seed, score in PLAIN.items()}, **more)
    return rankings(records)


def of(boards, **more):
    return across([one for name, gains in boards.items() for one in board(name, gains, **more)])


def table(found, comparison=1):
    frame = found.frame()
    block = frame[frame["comparison"] == comparison]
    return block.set_index("method")


def test_average_rank_and_mean_relative_gain():
    found = of({"a": {"x": 0.1, "y": 0.05}, "b": {"x": -0.1, "y": 0.05}, "c": {"x": 0.2, "y": 0.3}})
    got = table(found)
    assert list(got.index) == ["y", "x", "none"]
    assert dict(got["average_rank"]) == pytest.approx({"y": 4 / 3, "x": 2, "none": 8 / 3})
    assert got.loc["x", "relative_gain"] == pytest.approx((0.1 - 0.1 + 0.2) / 3 / 0.51)
    assert (got.loc["none", "relative_gain"], got.loc["none", "verdict"]) == (0, "")
    expected = rank({"x": [0.1, -0.1, 0.2], "y": [0.05, 0.05, 0.3], "none": [0, 0, 0]})
    assert set(got["friedman_p"]) == {expected.friedman_p}
    assert set(got["critical_difference"]) == {expected.critical_difference}
    assert got.loc["y", "nemenyi_p"] == pytest.approx(expected.p("y", "none"))
    assert math.isnan(got.loc["none", "nemenyi_p"])
    assert list(found.frame().columns) == list(ACROSS_COLUMNS)


def test_methods_are_compared_only_where_they_were_run():
    found = of({"a": {"x": 0.1, "y": 0.2, "z": 0.3}, "b": {"x": 0.1, "y": 0.2}, "c": {"x": 0.1}})
    first, second = table(found, 1), table(found, 2)
    assert (set(first.index), set(first["rankings"])) == ({"x", "none"}, {3})
    assert (set(second.index), set(second["rankings"])) == ({"x", "y", "none"}, {2})
    assert dict(second["run_in"]) == {"x": 3, "y": 2, "none": 3}
    assert set(second["where"]) == {"a: a-pair; b: b-pair"}
    assert found.alone == {"z": "a: a-pair"}
    assert found.left_out.endswith("z (a: a-pair).")
    headings = [table.heading for table in found.tables()]
    assert headings[1].startswith("2 of 3 rankings (a: a-pair; b: b-pair): Friedman p = ")


def test_ties_share_their_ranks_whatever_the_rounding():
    gains = {"x": 0.1, "y": 0.1 + 1e-13}
    got = table(of({"a": gains, "b": gains}))
    assert dict(got["average_rank"]) == {"x": 1.5, "y": 1.5, "none": 3}


def test_evidence_takes_many_rankings():
    gains = {"x": 0.1, "y": 0.05}
    few, many = (of({f"d{i}": gains for i in range(n)}) for n in (2, 10))
    assert set(table(few).loc[["x", "y"], "verdict"]) == {"no evidence"}
    assert table(many).loc["x", "verdict"] == "better"
    worse = of({f"d{i}": {"x": -0.1, "y": -0.2} for i in range(10)})
    assert table(worse).loc["y", "verdict"] == "worse"


def test_one_ranking_custom_schedules_and_rows_without_a_difference_are_no_comparison():
    assert of({"a": {"x": 0.1}}).rows == []
    assert of({"a": {"x": 0.1}, "b": {"x": 0.1}}, schedule="custom").rankings == ()
    missing = rankings(cells("x", PLAIN, dataset="b"))
    assert across([*board("a", {"x": 0.1}), *missing]).rows == []
    assert across([]).frame().empty


def test_two_recipes_of_a_pair_are_told_apart():
    records = [r for i in (1, 2) for name in ("none", "x") for r in cells(name, PLAIN, iterations=i)]
    found = across(rankings(records))
    assert len(set(found.rankings)) == 2
    assert all(name.startswith("digits: tiny (recipe ") for name in found.rankings)


BOARDS = [board("a", {"x": 0.1, "y": 0.2}), board("b", {"x": 0.3, "y": 0.2}), board("c", {"x": 0.1})]


@pytest.mark.parametrize("boards", permutations(BOARDS), ids=range(6))
def test_the_order_of_the_boards_does_not_matter(boards):
    one, other = (across([ranking for board in some for ranking in board]) for some in (boards, BOARDS))
    pd.testing.assert_frame_equal(one.frame(), other.frame())

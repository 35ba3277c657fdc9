"""The second ranking: methods beside plain students that trained as long."""

import csv
import io
import math

import pytest

from kdbench.results.compare import comparisons
from kdbench.results.equal_time import control_of
from kdbench.results.formats import EQUAL_TIME_LEGEND, legend, tables, to_csv
from kdbench.results.html.columns import ranking_table
from kdbench.results.leaderboard import rankings
from kdbench.results.model import RankingModel
from kdbench.results.query import query
from kdbench.runs.status import best_of

from .samples import cell, cells

BASE = {0: 0.50, 1: 0.53, 2: 0.54}
LONGER = {0: 0.60, 1: 0.61, 2: 0.66}
GOOD = {0: 0.70, 1: 0.72, 2: 0.71}
WEAK = {0: 0.58, 1: 0.61, 2: 0.60}


def longer(time, scores=LONGER):
    return cells(f"none[time={time}]", scores, options={"time": time})


def board(*more):
    """Return the ranking of a plain student, two methods of 1.2 and 1.4 times its time, and more."""
    methods = [*cells("good", GOOD, seconds=0.14), *cells("weak", WEAK, seconds=0.12)]
    [ranking] = rankings([*cells("none", BASE), *methods, *more])
    return ranking


def row(ranking, label):
    found = ranking.row(label)
    assert found is not None
    return found


def test_the_control_is_the_shortest_that_trained_at_least_as_long():
    ranking = board(*longer(1.25), *longer(1.5), *longer(2.0))
    controls = [row(ranking, f"none[time={time}]") for time in (1.25, 1.5, 2.0)]
    chosen = [control_of(ratio, controls) for ratio in (1.0, 1.25, 1.254, 1.26, 2.0, 2.01, math.nan)]
    names = ["1.25", "1.25", "1.25", "1.5", "2.0", None, None]
    assert [one and one["method"] for one in chosen] == [name and f"none[time={name}]" for name in names]
    assert row(ranking, "good")["control"] == "none[time=1.5]"
    assert row(ranking, "weak")["control"] == row(ranking, "none")["control"] == "none[time=1.25]"


def test_differences_to_a_control_are_those_of_the_model_against_it():
    ranking = board(*longer(1.5))
    expected = RankingModel(LONGER, {"none": BASE, "good": GOOD, "weak": WEAK}, "control").estimates
    for name, verdict in (("good", "better"), ("weak", "no evidence"), ("none", "worse")):
        found, own = row(ranking, name), expected[name]
        assert (found["control_verdict"], own.verdict) == (verdict, verdict)
        numbers = [found[f"control_{key}"] for key in ("difference", "low", "high")]
        assert numbers == pytest.approx([own.mean, own.low, own.high], abs=1e-9)
    assert row(ranking, "weak")["control_difference"] == pytest.approx(-0.08 / 3)


def test_controls_change_nothing_in_the_first_ranking():
    without, beside = board(), board(*longer(1.5), *longer(2.0))
    assert [one["method"] for one in beside.methods] == [one["method"] for one in without.methods]
    for name in ("none", "good", "weak"):
        shown = dict(row(beside, name))
        assert shown == pytest.approx(
            {**row(without, name), **{key: shown[key] for key in shown if key.startswith("control")}},
            nan_ok=True,
        )
    control = row(beside, "none[time=1.5]")
    assert control.is_reference
    assert (control["verdict"], control["seeds"], control["mean"]) == ("control", 3, pytest.approx(1.87 / 3))
    assert control["difference"] == pytest.approx(0.1)
    assert math.isnan(control["low"])


def test_controls_without_anything_else_are_a_ranking():
    [ranking] = rankings(longer(1.5))
    assert [one["method"] for one in ranking.rows] == ["teacher", "none", "none[time=1.5]"]


def test_few_seeds_and_failures_have_no_interval():
    alone = board(*longer(1.5, {1: 0.6}))
    found = row(alone, "good")
    assert (found["control_verdict"], found["control_difference"]) == ("one seed", pytest.approx(0.12))
    assert math.isnan(found["control_low"])
    apart = row(board(*longer(1.5, {7: 0.6, 8: 0.7})), "good")
    assert (apart["control_verdict"], math.isnan(apart["control_difference"])) == ("no shared seed", True)
    failed = board(cell("none[time=1.5]", options={"time": 1.5}, status="failed", metrics=None))
    assert (row(failed, "none[time=1.5]")["failed"], row(failed, "good")["control"]) == (1, "")


def test_the_second_table_is_sorted_by_its_own_difference():
    slow = cells("slow", GOOD, seconds=0.3)
    ranking = board(*longer(1.5), *slow)
    first, second = tables([ranking])
    assert second.heading == f"At equal training time: {first.heading}"
    assert [cells[:3] for cells in second.rows] == [
        ["good", "1.40x", "none[time=1.5]"],
        ["weak", "1.20x", "none[time=1.5]"],
        ["none", "", "none[time=1.5]"],
    ]
    assert second.rows[0][3:5] == ["62.3", "+8.7"]
    assert second.note == "Not timed, or slower than every control: slow."
    assert len(tables([board()])) == 1
    assert EQUAL_TIME_LEGEND in legend([ranking])
    assert EQUAL_TIME_LEGEND not in legend([board()])


def test_the_csv_and_the_page_have_it_too():
    ranking = board(*longer(1.5))
    good = next(one for one in csv.DictReader(io.StringIO(to_csv([ranking]))) if one["method"] == "good")
    assert (good["control"], good["control_verdict"]) == ("none[time=1.5]", "better")
    assert float(good["control_difference"]) == row(ranking, "good")["control_difference"]
    columns = {column.title: column for column in ranking_table(ranking).columns}
    text = columns["at equal time"].text(ranking.methods[0])
    assert text.startswith("+8.7 [")
    assert text.endswith("] better (against none[time=1.5])")
    assert "at equal time" not in [column.title for column in ranking_table(board()).columns]


def test_a_control_is_compared_like_a_method_and_is_not_the_plain_student():
    records = [cell for one in board(*longer(1.5)).rows for cell in one.cells if cell.kind == "cell"]
    [beside] = comparisons(records, "none[time=1.5]", "good")
    assert beside.difference is not None
    assert beside.difference.mean == pytest.approx(0.26 / 3)
    assert beside.difference.high < row(board(*longer(1.5)), "good")["control_high"]
    [plain] = comparisons(records, "none", "none[time=1.5]")
    assert not plain.against_plain
    assert plain.difference is not None
    assert plain.difference.mean == pytest.approx(0.1)


def test_controls_stay_where_methods_are_chosen_and_are_never_the_best_method():
    records = [*cells("none", BASE), *longer(1.5, GOOD), *cells("a", WEAK), *cells("b", WEAK)]
    [[ranking]] = query([], records, methods=["a"]).values()
    assert [one["method"] for one in ranking.rows] == ["teacher", "none", "none[time=1.5]", "a"]
    assert best_of([*cells("none", BASE), *longer(1.5, GOOD), *cells("a", WEAK)])[0].startswith("tiny: a +")

"""Times, costs, further metrics and commands of a row."""

import math

import pytest

from kdbench.results.leaderboard import rankings
from kdbench.results.pages import details
from kdbench.results.row import COLUMNS

from .samples import BASE, PLAIN, cell, cells, leaderboard, row


def timed(seconds, **more):
    return {"seconds_per_iteration": seconds, **more}


def test_times_of_different_machines_are_not_compared():
    records = [*cells("none", BASE), *cells("mimic", BASE, seconds=0.001, device="NVIDIA H100")]
    assert math.isnan(row(leaderboard(records), "mimic")["time_ratio"])
    assert math.isnan(
        row(leaderboard([*cells("none", BASE), *cells("a", BASE, seconds=None)]), "a")["time_ratio"]
    )


@pytest.mark.parametrize(("own", "plain"), [(None, None), ("a" * 12, None), ("a" * 12, "b" * 12)])
def test_times_of_trainings_that_did_not_take_turns_are_not_compared(own, plain):
    records = [cell(PLAIN, cost=timed(0.1, timed_with=plain)), cell("mimic", cost=timed(0.2, timed_with=own))]
    got = row(leaderboard(records), "mimic")
    assert math.isnan(got["time_ratio"])
    assert got["seconds_per_iteration"] == pytest.approx(0.2)


def test_only_seeds_that_took_turns_count_in_a_ratio_of_times():
    records = [cell(PLAIN, seed=seed, cost=timed(0.1, timed_with=f"{seed:012x}")) for seed in (0, 1)]
    records += [cell("mimic", seed=0, cost=timed(0.3, timed_with="0" * 12)), cell("mimic", seed=1, seconds=9)]
    assert row(leaderboard(records), "mimic")["time_ratio"] == pytest.approx(3)


def test_a_ratio_of_times_has_its_range_over_the_seeds():
    costs = [timed(seconds, timed_with="0" * 12) for seconds in (0.2, 0.8)]
    records = [*cells(PLAIN, BASE), *(cell("mimic", seed=seed, cost=cost) for seed, cost in enumerate(costs))]
    [ranking] = rankings(records)
    found = ranking.row("mimic")
    times = [found[name] for name in ("time_low", "time_ratio", "time_high")]
    assert times == pytest.approx([2, 4, 8])
    assert "| mimic | 4.00x (2.00 to 8.00) |" in details([ranking])
    assert math.isnan(ranking.row(PLAIN)["time_low"])


def test_secondary_metrics_are_means_over_the_seeds_that_have_them():
    metrics = [{"last": {"AP50": 0.5, "AP75": v, "AP50/0": v / 2}} for v in (0.2, 0.4)]
    records = [cell(PLAIN, seed=seed, metrics=m) for seed, m in enumerate(metrics)]
    records.append(cell(PLAIN, seed=2, metrics={"last": {"AP50": 0.5}}))
    records.append(cell("mimic", 0.6))
    frame = leaderboard(records)
    assert list(frame.columns) == [*COLUMNS, "metric:AP50/0", "metric:AP75"]
    assert row(frame, PLAIN)["metric:AP75"] == pytest.approx(0.3)
    assert row(frame, PLAIN)["metric:AP50/0"] == pytest.approx(0.15)
    assert math.isnan(row(frame, "mimic")["metric:AP75"])


def test_the_best_evaluation_is_shown_where_every_seed_has_one():
    metrics = [{"last": {"AP50": 0.4}, "best": {"AP50": best, "iteration": 10}} for best in (0.5, 0.7)]
    records = [cell(PLAIN, seed=seed, metrics=m) for seed, m in enumerate(metrics)]
    got = row(leaderboard(records), PLAIN)
    assert (got["selection"], got["mean"]) == ("last", pytest.approx(0.4))
    assert got["best"] == pytest.approx(0.6)
    without = cell(PLAIN, seed=2, metrics={"last": {"AP50": 0.4}})
    assert math.isnan(row(leaderboard([*records, without]), PLAIN)["best"])


def test_costs_are_the_largest_of_the_seeds():
    costs = [{"peak_memory_mib": 300, "added_parameters": 5, "student_flops": 9}, {"peak_memory_mib": 400}]
    got = row(leaderboard([cell(seed=seed, cost=c) for seed, c in enumerate(costs)]), "mimic")
    assert (got["peak_memory_mib"], got["added_parameters"], got["student_flops"]) == (400, 5, 9)
    assert math.isnan(got["student_parameters"])
    assert math.isnan(got["seconds_per_iteration"])


def test_each_row_names_its_plugin_and_the_command_that_makes_it_again():
    frame = leaderboard([*cells(PLAIN, BASE), *cells("mimic[weight=2]", {4: 0.5, 1: 0.5})])
    got = row(frame, "mimic[weight=2]")
    assert got["plugin"] == "kdbench 0.1.0"
    assert got["command"] == (
        "for seed in 1 4; do "
        "kdbench run --method 'mimic[weight=2]' --dataset digits --pair tiny --seed $seed; done"
    )
    assert row(frame, "teacher")["command"] == (
        "kdbench run --method 'mimic[weight=2]' --dataset digits --pair tiny --seed 1"
    )


def test_relative_gain_is_over_the_plain_students_shared_seeds():
    got = row(leaderboard([*cells(PLAIN, BASE), cell("mimic", 0.6)]), "mimic")
    assert got["relative_gain"] == pytest.approx(0.2)

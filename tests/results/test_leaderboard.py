import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.results.formats import notes
from kdbench.results.leaderboard import rankings
from kdbench.results.model import RankingModel
from kdbench.results.pages import details
from kdbench.results.row import COLUMNS
from kdbench.specs import digest

from .samples import TEACHER, cell, cells, leaderboard, staged_teacher, teacher

PLAIN = "none"
BASE = {0: 0.50, 1: 0.52, 2: 0.54}


def row(frame, method):
    found = frame[frame["method"] == method]
    assert len(found) == 1
    return found.iloc[0]


def test_a_small_leaderboard():
    good = {0: 0.60, 1: 0.63, 2: 0.63}
    frame = leaderboard(
        [
            *cells("none", BASE),
            *cells("mimic", good, seconds=0.2),
            *cells("hinton", {0: 0.4, 1: 0.41, 2: 0.42}),
        ],
        "digits",
    )
    assert list(frame["method"]) == ["teacher", PLAIN, "mimic", "hinton"]
    assert row(frame, "teacher")["mean"] == 0.8
    assert row(frame, PLAIN)["mean"] == pytest.approx(0.52)
    assert row(frame, PLAIN)["std"] == pytest.approx(0.02)
    got, expected = (
        row(frame, "mimic"),
        RankingModel(BASE, {"mimic": good, "hinton": {0: 0.4, 1: 0.41, 2: 0.42}}),
    )
    interval = expected.estimates["mimic"]
    assert (got["seeds"], got["verdict"], got["interval"]) == (3, "better", "pooled")
    assert got["difference"] == pytest.approx(0.10)
    assert (got["low"], got["high"], got["p"]) == pytest.approx(
        (interval.low, interval.high, interval.p), abs=1e-9
    )
    assert got["gap_closed"] == pytest.approx(0.10 / 0.28)
    assert got["time_ratio"] == pytest.approx(2)
    assert row(frame, "hinton")["verdict"] == "worse"


def test_ranks_by_paired_difference_over_shared_seeds():
    lucky = cells("lucky", {2: 0.55, 7: 0.99, 8: 0.99})
    frame = leaderboard(
        [*cells("none", BASE), *lucky, *cells("solid", {0: 0.53, 1: 0.55, 2: 0.57})], "digits"
    )
    assert list(frame["method"][2:]) == ["solid", "lucky"]
    got = row(frame, "lucky")
    assert (got["seeds"], got["shared_seeds"], got["verdict"]) == (3, 1, "one seed")
    assert got["difference"] == pytest.approx(0.01)
    assert got["gap_closed"] == pytest.approx(0.01 / (0.8 - 0.54))


def test_ties_are_in_the_order_of_names():
    records = [r for name in ("b", "a", "c[x=1]") for r in cells(name, BASE)]
    frame = leaderboard([*cells("none", BASE), *records])
    assert list(frame["method"][2:]) == ["a", "b", "c[x=1]"]
    assert set(frame["verdict"][2:]) == {"cannot tell"}


def test_one_seed():
    got = row(leaderboard([cell("none", 0.5), cell("mimic", 0.6)]), "mimic")
    assert (got["seeds"], got["verdict"]) == (1, "one seed")
    assert math.isnan(got["std"])
    assert math.isnan(got["low"])


def test_zero_variance():
    frame = leaderboard([*cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.5, 1: 0.5})])
    got = row(frame, "mimic")
    assert (got["std"], got["low"], got["high"], got["verdict"]) == (0, 0, 0, "cannot tell")
    assert got["reason"].startswith("no noise")


@pytest.mark.parametrize("status", ["failed", "timed-out"])
def test_failed_never_counts(status):
    records = [*cells("none", BASE), cell("mimic", 0.6), cell("mimic", 0.99, seed=1, status=status)]
    got = row(leaderboard(records), "mimic")
    assert (got["seeds"], got["mean"], got["failed"]) == (1, 0.6, 1)
    only = row(leaderboard([*cells("none", BASE), cell("mimic", 0.99, status=status)]), "mimic")
    assert (only["seeds"], only["failed"], only["verdict"]) == (0, 1, "no result")
    assert math.isnan(only["mean"])


def test_a_failed_plain_student_pairs_with_nothing():
    records = [
        cell("none", 0.1, status="failed"),
        cell("none", 0.5, seed=1),
        *cells("mimic", {0: 0.9, 1: 0.5}),
    ]
    frame = leaderboard(records)
    assert (row(frame, PLAIN)["seeds"], row(frame, PLAIN)["failed"]) == (1, 1)
    assert row(frame, "mimic")["difference"] == 0


def test_skipped_is_neither_a_result_nor_a_failure():
    frame = leaderboard([*cells("none", BASE), cell("mimic", status="skipped", metrics=None)])
    got = row(frame, "mimic")
    assert (got["seeds"], got["failed"], got["skipped"]) == (0, 0, 1)


def test_teacher_and_plain_student_are_rows_even_when_missing():
    frame = leaderboard(cells("mimic", BASE, teacher=None))
    assert list(frame["method"]) == ["teacher", PLAIN, "mimic"]
    assert list(frame["verdict"]) == ["no result", "no result", "no plain student"]
    assert frame["difference"].isna().all()


@pytest.mark.parametrize("value", [0.4, 0.52])
def test_share_is_blank_when_the_teacher_is_not_above_the_student(value):
    records = [*cells("none", BASE), *cells("mimic", {0: 0.6, 1: 0.6, 2: 0.6}, teacher_value=value)]
    frame = leaderboard(records)
    assert math.isnan(row(frame, "mimic")["gap_closed"])
    assert row(frame, "teacher")["mean"] == value


def test_different_recipes_pairs_and_metrics_are_never_mixed():
    records = [*cells("none", BASE), *cells("none", BASE, iterations=200), *cells("none", BASE, pair="other")]
    records += [*cells("mimic", BASE, iterations=200), *cells("none", BASE, precision="fp16")]
    records += cells("hinton", BASE, data="1" * 64)
    records += cells("none", {5: 0.5, 6: 0.6}, metric="mIoU")
    frame = leaderboard(records)
    assert frame.groupby(["pair", "recipe", "metric"]).ngroups == 6
    groups = {tuple(sorted(g["method"])) for _, g in frame.groupby(["pair", "recipe", "metric"])}
    assert groups == {tuple(sorted(["teacher", PLAIN, *more])) for more in ([], ["mimic"], ["hinton"])}
    assert row(frame, "hinton")["verdict"] == "no plain student"


def test_other_teachers_are_other_rankings_with_the_same_plain_students():
    other = cells("mimic", {0: 0.6, 1: 0.6}, asks_for="e" * 64, teacher_value=0.9)
    frame = leaderboard([*cells("none", BASE), *cells("mimic", {0: 0.7, 1: 0.7}), *other])
    assert list(frame["method"]) == ["teacher", PLAIN, "mimic"] * 2
    assert set(frame["teacher"]) == {TEACHER[:12], "e" * 12}
    by = dict(list(frame.groupby("teacher")))
    assert row(by["e" * 12], "teacher")["mean"] == 0.9
    assert row(by[TEACHER[:12]], "teacher")["mean"] == 0.8
    assert row(by["e" * 12], "mimic")["mean"] == 0.6


def test_smoke_is_never_ranked():
    assert leaderboard(cells("none", BASE, schedule="smoke")).empty
    smoke = [cell(name, 0.99, seed=7, schedule="smoke") for name in ("none", "mimic", "hinton")]
    frame = leaderboard([*cells("none", BASE), *cells("hinton", BASE), *smoke])
    assert list(frame["method"]) == ["teacher", PLAIN, "hinton", "mimic"]
    assert list(frame["smoke"]) == [0, 1, 1, 1]
    assert (row(frame, "hinton")["seeds"], row(frame, "hinton")["mean"]) == (3, pytest.approx(0.52))
    got = row(frame, "mimic")
    assert (got["seeds"], got["verdict"]) == (0, "smoke only")
    assert math.isnan(got["mean"])


def test_only_the_dataset_asked_for():
    frame = leaderboard([*cells("none", BASE), *cells("none", BASE, dataset="bccd")], "bccd")
    assert set(frame["dataset"]) == {"bccd"}
    assert list(leaderboard([], "bccd").columns) == list(COLUMNS)


def test_the_last_iteration_ranks_not_the_best():
    metrics = {"last": {"AP50": 0.4}, "best": {"AP50": 0.9, "iteration": 10}}
    assert row(leaderboard([cell("none", metrics=metrics)]), PLAIN)["mean"] == 0.4


def test_a_record_given_twice_counts_once_and_done_wins():
    records = [
        *cells("none", BASE),
        cell("mimic", 0.6),
        cell("mimic", 0.6),
        cell("mimic", 0.6, status="failed"),
    ]
    got = row(leaderboard(records), "mimic")
    assert (got["seeds"], got["failed"]) == (1, 0)


def test_two_revisions_are_two_rows_against_the_newer_plain_student():
    records = [cell("none", 0.1, revision=1), cell("none", 0.5, revision=2)]
    records += [cell("mimic", 0.6, revision=1), cell("mimic", 0.7, revision=2)]
    frame = leaderboard(records)
    assert row(frame, PLAIN)["mean"] == 0.5
    assert list(frame["method"][2:]) == ["mimic (revision 2)", "mimic (revision 1)"]
    assert list(frame["difference"][2:]) == pytest.approx([0.2, 0.1])


def test_times_of_different_machines_are_not_compared():
    records = [*cells("none", BASE), *cells("mimic", BASE, seconds=0.001, device="NVIDIA H100")]
    assert math.isnan(row(leaderboard(records), "mimic")["time_ratio"])
    assert math.isnan(
        row(leaderboard([*cells("none", BASE), *cells("a", BASE, seconds=None)]), "a")["time_ratio"]
    )


def timed(seconds, **more):
    return {"seconds_per_iteration": seconds, **more}


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


def test_the_teachers_own_record_serves_where_no_student_met_it():
    own = teacher(0.77)
    records = [own, *cells("none", BASE), *cells("mimic", BASE, asks_for=own.identity, teacher=None)]
    assert row(leaderboard(records), "teacher")["mean"] == 0.77
    failed = teacher(status="failed", reason="NaN")
    got = row(leaderboard([failed, *cells("mimic", BASE, asks_for=own.identity, teacher=None)]), "teacher")
    assert (got["seeds"], got["failed"]) == (0, 1)


def test_a_staged_teacher_is_no_teacher_row_and_its_method_is_ranked_with_the_others():
    own = teacher(0.8)
    staged = staged_teacher(own, 0.7)
    records = [own, staged, *cells("none", BASE)]
    records += cells("mimic", {0: 0.6, 1: 0.62, 2: 0.64}, asks_for=own.identity, teacher=None)
    info = {"identity": staged.identity, "config": "t.py", "weights_sha256": "q", "value": 0.7}
    records += cells("quantized", {0: 0.66, 1: 0.68, 2: 0.7}, asks_for=staged.identity, teacher=info)
    frame = leaderboard(records)
    assert list(frame["method"]) == ["teacher", PLAIN, "quantized", "mimic"]
    assert set(frame["teacher"]) == {own.identity[:12]}
    assert (row(frame, "teacher")["mean"], row(frame, "teacher")["seeds"]) == (0.8, 1)
    assert row(frame, "quantized")["gap_closed"] == pytest.approx(0.16 / (0.8 - 0.52))
    alone = leaderboard([r for r in records if r.method != "mimic"])
    assert list(alone["method"]) == ["teacher", PLAIN, "quantized"]
    assert row(alone, "teacher")["mean"] == 0.8
    waiting = leaderboard([own, staged, *cells("none", BASE)])
    assert list(waiting["method"]) == ["teacher", PLAIN]


def test_a_teacher_trained_twice_counts_each_weights_once():
    infos = [
        {"identity": TEACHER, "config": "t", "weights_sha256": w, "value": v}
        for w, v in (("a", 0.8), ("b", 0.7))
    ]
    records = [cell("mimic", seed=seed, teacher=infos[seed > 1]) for seed in range(4)]
    got = row(leaderboard(records), "teacher")
    assert (got["seeds"], got["mean"]) == (2, pytest.approx(0.75))


POOL = [
    *cells("none", BASE),
    *cells("none", {0: 0.1, 1: 0.7}, revision=2),
    *cells("mimic", {0: 0.6, 1: 0.1, 2: 0.33, 3: 0.7}),
    *cells("mimic[weight=2]", {0: 0.1, 1: 0.2}, status="failed"),
    *cells("hinton", {0: 0.6, 1: 0.1, 2: 0.33}, iterations=7),
    *cells("hinton", {0: 0.6, 1: 0.1, 2: 0.33}, asks_for="e" * 64),
    cell("mimic", 0.9, status="failed"),
    teacher(),
]


@settings(deadline=None, max_examples=25)
@given(st.permutations(POOL))
def test_the_order_of_the_records_does_not_matter(records):
    pd.testing.assert_frame_equal(leaderboard(records), leaderboard(POOL), check_exact=True)


def test_plain_students_alone_stand_beside_their_pairs_own_teacher():
    described = {"teacher": {"config": "t.py"}, "teacher_schedule": {"iterations": 9}}
    plain = cells(PLAIN, BASE, described=described)
    same = ("dataset", "data", "schedule", "precision", "device", "processes")
    common = {name: plain[0].spec[name] for name in same}
    spec = {**common, "model": described["teacher"], "recipe": described["teacher_schedule"], "seed": 0}
    own = teacher(0.9, spec=spec, identity=digest(spec))
    changes = [{"recipe": {"iterations": 8}}, {"seed": 1}, {"base": own.identity}]
    others = [teacher(0.1, spec=spec | change, identity=digest(spec | change)) for change in changes]
    frame = leaderboard([*plain, own, *others])
    assert list(frame["method"]) == ["teacher", "none"]
    assert row(frame, "teacher")["mean"] == pytest.approx(0.9)


def noisy(gain, noise):
    return {seed: score + gain + noise * (seed - 1) for seed, score in BASE.items()}


def test_all_rows_share_their_noise_and_all_intervals_hold_at_once():
    records = [*cells(PLAIN, BASE), *cells("weak", noisy(0.05, 0.02)), *cells("loud", noisy(0.0, -0.03))]
    got = leaderboard([*records, *cells("elsewhere", BASE, pair="other")])
    tested = got[got["pair"] == "tiny"].iloc[2:]
    assert set((tested["high"] - tested["low"]).round(9)) == {
        round(float(tested["high"].iloc[0] - tested["low"].iloc[0]), 9)
    }
    assert list((tested["low"] > 0) | (tested["high"] < 0)) == list(tested["p"] < 0.05)
    alone = leaderboard([*cells(PLAIN, BASE), *cells("weak", noisy(0.05, 0.02))])
    assert row(alone, "weak")["p"] != row(got[got["pair"] == "tiny"], "weak")["p"]


def test_equal_gains_are_no_evidence():
    """Where every gain is the same there is no noise that a gain could be compared with."""
    got = row(leaderboard([*cells(PLAIN, BASE), *cells("mimic", noisy(0.1, 0))]), "mimic")
    assert (got["verdict"], got["reason"][:8]) == ("cannot tell", "no noise")


def test_noise_below_the_steps_of_the_metric_is_no_evidence():
    plain = {0: 0.50, 1: 0.52, 2: 0.55, 3: 0.58, 4: 0.51}
    equal, nearly = ({s: v + gain for s, v in plain.items()} for gain in (0.1, 0.2))
    nearly[4] += 0.01
    records = [*cells(PLAIN, plain), *cells("a", equal), *cells("b", nearly)]
    found = leaderboard(records)
    assert list(found["verdict"][2:]) == ["cannot tell"] * 2
    assert row(found, "a")["reason"].endswith("is below what the metric resolves (steps of 1)")


def curved(selector, scores, **more):
    points = {s: [{"iteration": 50, "AP50": v / 2}, {"iteration": 100, "AP50": v}] for s, v in scores.items()}
    return [cell(selector, v, s, curve=points[s], **more) for s, v in scores.items()]


def test_twins_count_once_and_name_each_other():
    good = noisy(0.1, 0.02)
    others = [*cells(PLAIN, BASE), *cells("hinton", noisy(0.02, -0.03)), *curved("fitnets", good)]
    once = leaderboard(others)
    twice = leaderboard([*others, *curved("chen[variant=hints]", good)])
    twin = row(twice, "chen[variant=hints]")
    assert twin["same_as"] == "fitnets"
    for method in ("fitnets", "chen[variant=hints]"):
        assert list(row(twice, method)[["low", "high", "p", "verdict"]]) == list(
            row(once, "fitnets")[["low", "high", "p", "verdict"]]
        )
    assert not row(twice, "fitnets")["same_as"]
    assert not any(leaderboard([*others, *curved("x", noisy(0.1, 0.021))])["same_as"])


def test_seeds_are_never_paired_across_device_classes():
    records = [*cells(PLAIN, BASE), *cells("mimic", noisy(0.1, 0.01), device="NVIDIA H100")]
    got = row(leaderboard(records), "mimic")
    assert (got["shared_seeds"], got["verdict"]) == (0, "no plain student")


def test_devices_and_precisions_are_rankings_of_their_own_and_say_so():
    records = [*cells(PLAIN, BASE), *cells("mimic", noisy(0.1, 0.01))]
    for place in ({"asked": "cuda"}, {"asked": "mps"}, {"asked": "cuda", "precision": "bf16"}):
        for method in (PLAIN, "mimic"):
            records += cells(method, noisy(0.2, 0.01), device="NVIDIA H100", **place)
    found = rankings(records)
    assert sorted((one.first["device"], one.first["precision"]) for one in found) == [
        ("cpu", "fp32"),
        ("cuda", "bf16"),
        ("cuda", "fp32"),
        ("mps", "fp32"),
    ]
    for one in found:
        assert [row["shared_seeds"] for row in one.methods] == [3]
        assert f"default schedule, {one.first['device']} {one.first['precision']}, recipe " in one.heading


def test_a_ranking_names_the_machines_that_it_was_trained_on():
    [alike] = rankings([*cells(PLAIN, BASE), *cells("mimic", BASE)])
    assert "Trained on cpu on x86_64, 2 cores." in notes(alike)
    [mixed] = rankings([*cells(PLAIN, BASE), cell("mimic", 0.6, host_class="arm64, 8 cores")])
    told = "Trained on 2 kinds of machine: 3 runs on cpu on x86_64, 2 cores; 1 run on cpu on arm64, 8 cores."
    assert told in notes(mixed)


def test_rows_of_fewer_seeds_say_what_the_plain_student_reaches_there():
    few = {seed: BASE[seed] for seed in sorted(BASE)[:2]}
    [found] = rankings([*cells(PLAIN, BASE), *cells("mimic", few)])
    level = 100 * sum(few.values()) / 2
    seeds = ", ".join(map(str, few))
    assert f"The plain student's mean over seeds {seeds} alone is {level:.1f}." in notes(found)
    [whole] = rankings([*cells(PLAIN, BASE), *cells("mimic", BASE)])
    assert "alone" not in " ".join(notes(whole))


def test_pairs_from_different_kinds_of_machine_are_marked():
    other = cells("mimic", noisy(0.1, 0.01), host_class="arm64, 8 cores")
    got = row(leaderboard([*cells(PLAIN, BASE), *other]), "mimic")
    assert got["machines"] == "cpu on arm64, 8 cores against cpu on x86_64, 2 cores"
    assert not row(leaderboard([*cells(PLAIN, BASE), *cells("mimic", BASE)]), "mimic")["machines"]


def test_better_on_one_dataset_and_worse_on_another_are_two_rankings():
    records = [*cells(PLAIN, BASE), *cells(PLAIN, BASE, dataset="voc")]
    records += [*cells("mimic", noisy(0.1, 0.01)), *cells("mimic", noisy(-0.1, 0.01), dataset="voc")]
    assert row(leaderboard(records), "mimic")["verdict"] == "better"
    assert row(leaderboard(records, "voc"), "mimic")["verdict"] == "worse"


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


def test_results_of_others_are_counted_and_an_own_one_comes_first():
    theirs = [cell("mimic", 0.9, seed=seed, reported_by="somebody") for seed in (0, 1)]
    records = [*cells(PLAIN, BASE), *theirs, cell("mimic", 0.6, seed=0)]
    got = row(leaderboard(records), "mimic")
    assert (got["seeds"], got["reported"], got["mean"]) == (2, 1, pytest.approx(0.75))


def test_relative_gain_is_over_the_plain_students_shared_seeds():
    got = row(leaderboard([*cells(PLAIN, BASE), cell("mimic", 0.6)]), "mimic")
    assert got["relative_gain"] == pytest.approx(0.2)


def ranks_in(frame):
    ranked = frame[frame["seeds"] > 0]
    return {key: list(block["method"]) for key, block in ranked.groupby(["pair", "recipe", "teacher"])}


FAILED = [
    cell(name, 0.9, seed=seed, status=status)
    for name in ("mimic", "hinton", "none", "new")
    for seed in (0, 7)
    for status in ("failed", "timed-out", "skipped")
]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.sampled_from(FAILED)), st.randoms(use_true_random=False))
def test_failed_records_change_no_rank(failed, random):
    records = [*POOL, *failed]
    random.shuffle(records)
    before, after = leaderboard(POOL), leaderboard(records)
    assert ranks_in(after) == ranks_in(before)
    same = ["method", "mean", "difference", "p", "verdict"]
    kept = after[after["seeds"] > 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[same], before[before["seeds"] > 0].reset_index(drop=True)[same])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2), min_size=len(POOL), max_size=len(POOL)))
def test_the_files_that_records_came_in_do_not_matter(part):
    shares = [[r for r, p in zip(POOL, part, strict=True) if p == number] for number in (2, 0, 1)]
    again = [type(r).model_validate_json(r.to_json()) for share in shares for r in [*share, *share[:1]]]
    pd.testing.assert_frame_equal(leaderboard(again), leaderboard(POOL), check_exact=True)

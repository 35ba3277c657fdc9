"""Which records are a ranking, and how its rows are ranked."""

import math

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.results.model import RankingModel
from kdbench.results.row import COLUMNS
from kdbench.specs import digest

from .samples import BASE, PLAIN, TEACHER, cell, cells, leaderboard, row, staged_teacher, teacher


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


def test_results_of_others_are_counted_and_an_own_one_comes_first():
    theirs = [cell("mimic", 0.9, seed=seed, reported_by="somebody") for seed in (0, 1)]
    records = [*cells(PLAIN, BASE), *theirs, cell("mimic", 0.6, seed=0)]
    got = row(leaderboard(records), "mimic")
    assert (got["seeds"], got["reported"], got["mean"]) == (2, 1, pytest.approx(0.75))


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

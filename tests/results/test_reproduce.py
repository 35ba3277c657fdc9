import math

import pytest

from kdbench.errors import UserError
from kdbench.results.record import Record
from kdbench.results.reproduce import ONE_SEED_NOISE, at_seed, differences, find_row, judge, noise_of

from .samples import cell, cells, teacher

RECORDS = [teacher(), *cells("none", {0: 0.5, 1: 0.6}), *cells("mimic", {1: 0.6, 2: 0.7, 3: 0.8})]


def like(record, score=None, **changes):
    """The same record with another score, or other fields."""
    values = {**record.model_dump(), **changes}
    if score is not None:
        values["metrics"] = {"last": {record.metric: score}}
    return Record.model_validate(values)


def test_a_row_by_selector_is_its_lowest_seed():
    assert find_row("mimic", RECORDS, "digits", "tiny", None).seed == 1
    assert find_row("mimic", RECORDS, None, None, 3).score == 0.8


def test_a_row_by_the_start_of_its_identity():
    record = RECORDS[-1]
    assert find_row(record.identity[:8], RECORDS, None, None, None) == record
    assert find_row(record.identity, RECORDS, None, None, 2).seed == 2


def test_several_rows_are_named():
    other = cell("mimic", 0.4, iterations=200)
    with pytest.raises(UserError, match=r"means several rows: give one of .*digits, tiny"):
        find_row("mimic", [*RECORDS, other], "digits", None, None)


def test_smoke_runs_only_where_there_is_nothing_else():
    smoke = cell("mimic", 0.1, schedule="smoke")
    assert find_row("mimic", [*RECORDS, smoke], None, None, None).seed == 1
    assert find_row("mimic", [smoke], None, None, None) == smoke


@pytest.mark.parametrize(
    ("row", "seed", "told"),
    [
        ("mimc", None, "unknown method 'mimc'. Did you mean 'mimic'"),
        ("hinton", None, "no result of 'hinton' there"),
        ("mimic", 7, "has no result of seed 7: 1, 2, 3"),
        ("abcdef123456", None, "no record's identity starts with 'abcdef123456'"),
    ],
)
def test_rows_that_are_not_there(row, seed, told):
    with pytest.raises(UserError, match=told):
        find_row(row, RECORDS, None, None, seed)


def test_a_row_that_is_elsewhere_is_told_with_its_place():
    with pytest.raises(UserError, match=r"of 'mimic' there to reproduce\. It has results on tiny\."):
        find_row("mimic", RECORDS, "digits", "large", None)
    with pytest.raises(UserError, match=r"'mimic' there to reproduce\.$"):
        find_row("mimic", [], None, None, None)
    with pytest.raises(UserError, match="the teacher is not a row of its own"):
        find_row("teacher", RECORDS, None, None, None)


def test_failures_and_teachers_are_not_reproduced():
    with pytest.raises(UserError, match=r"that run is failed \(NaN at iteration 7"):
        at_seed(cell(status="failed"), [], None)
    with pytest.raises(UserError, match="a teacher's record"):
        at_seed(teacher(), [], None)


def test_the_noise_is_the_spread_over_the_rows_seeds():
    noise = noise_of(RECORDS[-1], [*RECORDS, cell("mimic", 0.1, seed=9, iterations=200)])
    assert (noise.std, noise.seeds) == (pytest.approx(0.1), 3)
    assert noise.bound == pytest.approx(1.96 * math.sqrt(2) * 0.1)
    alone = noise_of(cell("fitnets"), RECORDS)
    assert (alone.std, alone.seeds) == (ONE_SEED_NOISE, 1)
    assert "assumed, as the row has one seed" in str(alone)


@pytest.mark.parametrize(
    ("score", "changes", "agrees", "told"),
    [
        (None, {}, True, "identical in every metric"),
        (0.8 + 6e-8, {}, True, r"identical in every metric, up to rounding \(6e-08\)"),
        (0.8001, {}, False, "not identical on the CPU of the same kind of machine: .* within the noise"),
        (0.81, {"host_class": "another"}, True, r"\+1.00, within .*machine .* -> another"),
        (0.4, {"host_class": "another"}, False, "-40.00, beyond the noise"),
        (0.81, {"device": "A GPU"}, True, "device cpu -> A GPU"),
        (0.81, {"versions": {"kdbench": "0.2.0"}}, True, "kdbench: 0.1.0 -> 0.2.0"),
    ],
)
def test_the_verdict(score, changes, agrees, told):
    import re

    then = RECORDS[-1]
    verdict = judge(then, like(then, score, **changes), noise_of(then, RECORDS))
    assert verdict.agrees is agrees
    assert re.search(told, verdict.why)


def test_the_same_gpu_need_not_give_the_same_numbers():
    then = like(RECORDS[-1], device="A GPU")
    assert judge(then, like(then, 0.81), noise_of(then, RECORDS)).agrees


def test_another_spec_is_never_expected_to_be_identical():
    then = RECORDS[-1]
    verdict = judge(then, like(then, 0.81), noise_of(then, RECORDS), same_spec=False)
    assert verdict.agrees
    assert "what differs: the spec" in verdict.why


def test_a_failed_run_never_agrees():
    failed = cell("mimic", seed=3, status="failed")
    verdict = judge(RECORDS[-1], failed, noise_of(RECORDS[-1], RECORDS))
    assert (verdict.agrees, verdict.why) == (False, "the new run is failed: NaN at iteration 7 in loss_cls")


def test_differences_name_each_key():
    then = {"a": 1, "pair": {"lr": 0.1, "edits": {"x.y": [1]}}, "gone": None}
    now = {"a": 1, "pair": {"lr": 0.2, "edits": {}}, "new": 3}
    assert differences(then, now) == [
        "pair.lr: 0.1 then, 0.2 now",
        "pair.edits.x.y: [1] then, (absent) now",
        "gone: None then, (absent) now",
        "pair.edits: (absent) then, {} now",
        "new: (absent) then, 3 now",
    ]
    assert differences(then, then) == []

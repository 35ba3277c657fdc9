import itertools
import math

import pytest
from scipy.stats import t, ttest_rel, wilcoxon

from kdbench.results.compare import comparisons, overall

from .samples import cell, cells, staged_teacher, teacher

NONE = {0: 0.50, 1: 0.53, 2: 0.49, 3: 0.55}
MIMIC = {0: 0.60, 1: 0.58, 2: 0.57, 4: 0.9}


def block(records, first="none", second="mimic"):
    (found,) = comparisons(records, first, second)
    return found


def test_paired_over_the_shared_seeds_as_scipy_does_it():
    found = block([*cells("none", NONE), *cells("mimic", MIMIC)])
    shared = [0, 1, 2]
    expected = ttest_rel([MIMIC[s] for s in shared], [NONE[s] for s in shared])
    interval = expected.confidence_interval(0.95)
    assert found.seeds == shared
    assert found.difference.p == pytest.approx(expected.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.shared(found.first)[0] == pytest.approx(0.5066666667)
    assert (found.alone(found.first), found.alone(found.second)) == ([3], [4])


def test_the_other_way_round_is_the_negative():
    records = [*cells("none", NONE), *cells("mimic", MIMIC)]
    one, other = block(records), block(records, "mimic", "none")
    assert one.difference.mean == pytest.approx(-other.difference.mean)
    assert one.difference.p == pytest.approx(other.difference.p)
    verdicts = {"better": "worse", "no evidence": "no evidence"}
    assert other.verdict == verdicts[one.verdict]


@pytest.mark.parametrize(
    ("other", "verdict"),
    [({0: 0.6}, "one seed"), ({7: 0.6}, "no shared seed"), ({0: 0.5, 1: 0.53}, "cannot tell")],
)
def test_too_little_is_no_evidence(other, verdict):
    assert block([*cells("none", NONE), *cells("mimic", other)]).verdict == verdict


def test_recipes_are_never_mixed():
    records = [*cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.7, 1: 0.7}, iterations=200)]
    assert comparisons(records, "none", "mimic") == []
    records += cells("none", {0: 0.6, 1: 0.6}, iterations=200)
    assert block(records).gain == pytest.approx(0.1)


def test_teachers_are_apart_and_the_plain_student_serves_both():
    records = [*cells("none", {0: 0.5}), *cells("mimic", {0: 0.7})]
    other = cell("mimic", 0.6, asks_for="b" * 64)
    found = comparisons([*records, other], "none", "mimic")
    assert sorted(block.gain for block in found) == pytest.approx([0.1, 0.2])
    assert comparisons([cell("hinton", 0.5), other], "hinton", "mimic") == []


def test_a_staged_teacher_counts_as_the_one_it_began_with():
    base = teacher()
    staged = staged_teacher(base, 0.7)
    records = [base, staged, cell("mimic", 0.6, asks_for=base.identity)]
    records.append(cell("quantization-mimic", 0.7, asks_for=staged.identity))
    assert block(records, "mimic", "quantization-mimic").gain == pytest.approx(0.1)


def test_smoke_and_failed_runs_do_not_count_and_failures_are_named():
    records = [*cells("none", {0: 0.5, 1: 0.5}), cell("mimic", 0.6), cell("mimic", seed=1, status="failed")]
    records.append(cell("mimic", 0.9, seed=2, schedule="smoke"))
    found = block(records)
    assert (found.seeds, found.second.failed) == ([0], (1,))


def test_of_several_versions_the_latest_counts_and_the_rest_is_told():
    records = [*cells("none", NONE), *cells("mimic", {0: 0.9}, revision=1)]
    records += cells("mimic", {0: 0.6, 1: 0.6}, revision=2)
    found = block(records)
    assert found.second.scores == {0: 0.6, 1: 0.6}
    assert found.second.left_out == ("mimic (revision 1)",)


def test_the_order_of_the_records_does_not_matter():
    records = [
        *cells("none", {0: 0.5, 1: 0.4}),
        *cells("mimic", {0: 0.6}),
        cell("mimic", seed=1, status="failed"),
    ]
    found = [block(order) for order in itertools.permutations(records)]
    assert len({(one.ranking.key, repr(one.first), repr(one.second)) for one in found}) == 1


def test_an_own_result_comes_before_one_that_others_report():
    records = [cell("none", 0.5), cell("mimic", 0.6), cell("mimic", 0.9, reported_by="me")]
    assert block(records).second.scores == {0: 0.6}
    assert block([records[0], records[2]]).second.reported == (0,)


def test_overall_counts_blocks_and_tests_over_six_datasets():
    gains = {f"d{i}": gain for i, gain in enumerate([0.01, 0.02, 0.03, 0.04, 0.05, -0.005])}
    records = [c for name in gains for c in cells("none", {0: 0.5}, dataset=name)]
    records += [cell("mimic", 0.5 + gain, dataset=name) for name, gain in gains.items()]
    together = overall(comparisons(records, "none", "mimic"))
    assert (together.wins, together.losses, together.ties, together.datasets) == (5, 1, 0, 6)
    assert together.p == pytest.approx(wilcoxon(list(gains.values())).pvalue)
    fewer = [record for record in records if record.dataset != "d0"]
    assert math.isnan(overall(comparisons(fewer, "none", "mimic")).p)


def test_blocks_of_one_dataset_are_one_sample_of_the_test_over_datasets():
    records = [
        c for i in range(8) for c in (cell("none", 0.5, pair=f"p{i}"), cell("mimic", 0.6, pair=f"p{i}"))
    ]
    together = overall(comparisons(records, "none", "mimic"))
    assert (together.wins, together.datasets, math.isnan(together.p)) == (8, 1, True)


def test_against_the_plain_student_it_says_what_the_leaderboard_says():
    records = [*cells("none", NONE), *cells("mimic", MIMIC), *cells("hinton", {0: 0.4, 1: 0.6, 2: 0.5})]
    found = block(records)
    row = found.ranking.row("mimic")
    assert (found.difference.low, found.difference.p) == pytest.approx((row["low"], row["p"]), abs=1e-9)
    assert found.verdict == row["verdict"]


def test_two_methods_are_compared_with_the_noise_of_all_rows():
    records = [*cells("none", NONE), *cells("mimic", MIMIC), *cells("hinton", {0: 0.4, 1: 0.6, 2: 0.5})]
    found = block(records, "hinton", "mimic")
    model = found.ranking.model
    assert model.pooled.freedom == 4
    gain, error = model.pooled.contrast("mimic", "hinton")
    half = t.ppf(0.975, 4) * error * model.pooled.deviation
    assert (found.difference.low, found.difference.high) == pytest.approx((gain - half, gain + half))
    assert gain == pytest.approx(((0.60 + 0.58 + 0.57) - (0.4 + 0.6 + 0.5)) / 3)

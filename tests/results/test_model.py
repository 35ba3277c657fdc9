"""The pooled model of a ranking: Dunnett's intervals, rows that scatter, missing cells, and real scores."""

import csv
import math
import runpy
from collections import defaultdict
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from kdbench.results.model import RankingModel, chance, critical

ROOT = Path(__file__).parents[2]
TABLE = {
    "camvid-pspnet": (
        7,
        14,
        0.49,
        1.2,
        {"cwd[where=logits]", "pkd", "structured[variant=pixel+pair]", "fitnets"},
        set(),
    ),
    "digits-seg-pspnet": (4, 8, 0.64, 1.6, {"pkd", "cwd[where=logits]", "hinton", "fitnets"}, set()),
    "digits-faster-rcnn": (
        20,
        40,
        3.47,
        8.7,
        {
            *("pkd", "cwd", "hinton", "mimic", "mimic[variant=gt-boxes]"),
            *("fine-grained[variant=imitation+logits]", "fine-grained[variant=logits]"),
        },
        {"chen[variant=l2]", "chen[variant=l2-b]", "chen[variant=l2-b+cls-w]"},
    ),
    "bccd-faster-rcnn": (5, 10, 2.05, 5.0, set(), {"hinton"}),
    "bccd-gfl": (5, 10, 2.61, 6.4, {"hinton"}, set()),
    "digits-gfl": (5, 10, 2.0, 4.9, set(), set()),
    "digits-faster-rcnn-tiny": (5, 10, 5.4, 13.2, set(), set()),
}
"""Pair -> rows, degrees of freedom, pooled deviation, half-width (both x100), and who is better and worse."""


def drawn(seed, methods, seeds):
    random = np.random.default_rng(seed)
    return [dict(enumerate(row)) for row in random.normal(size=(methods + 1, seeds)).tolist()]


def model_of(rows, **more):
    plain, *methods = rows
    return RankingModel(plain, {f"m{place}": scores for place, scores in enumerate(methods)} | more)


@pytest.mark.parametrize(
    ("rows", "freedom", "value"), [(2, 6, 2.86), (4, 10, 2.89), (9, 20, 2.95), (5, 60, 2.58)]
)
def test_critical_values_are_those_of_dunnetts_table(rows, freedom, value):
    """Two-sided 5 %, correlation 1/2: Dunnett (Biometrics 1964), table II."""
    assert critical(rows, freedom, 0.5) == pytest.approx(value, abs=0.0051)


@pytest.mark.parametrize("freedom", [2, 5, 40, 500])
def test_one_row_is_students_t(freedom):
    assert critical(1, freedom, 0.0) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-8)
    assert chance(1.5, 1, freedom, 0.0) == pytest.approx(2 * stats.t.sf(1.5, freedom), abs=1e-10)


@pytest.mark.parametrize(("methods", "seeds"), [(3, 5), (7, 3)])
def test_p_values_are_scipys_of_the_unpaired_layout(methods, seeds):
    random = np.random.default_rng(3)
    control, *groups = random.normal(size=(methods + 1, seeds)) + np.linspace(0, 2, methods + 1)[:, None]
    expected = stats.dunnett(*groups, control=control, random_state=np.random.default_rng(1))
    freedom = (methods + 1) * (seeds - 1)
    found = [chance(abs(float(t)), methods, freedom, 0.5) for t in expected.statistic]
    assert found == pytest.approx(list(expected.pvalue), abs=1e-3)


def test_a_complete_layout_is_the_textbooks():
    rows = drawn(0, 4, 3)
    table = np.array([list(row.values()) for row in rows])
    residual = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    model = model_of(rows)
    assert model.pooled.freedom == 8
    assert model.pooled.deviation == pytest.approx(math.sqrt((residual**2).sum() / 8))
    assert model.correlation == pytest.approx(0.5)
    half = critical(4, 8, 0.5) * model.pooled.deviation * math.sqrt(2 / 3)
    one = model.estimates["m1"]
    assert one.mean == pytest.approx(np.mean(table[2] - table[0]))
    assert (one.low, one.high) == pytest.approx((one.mean - half, one.mean + half))


def test_seeds_of_the_plain_student_alone_change_nothing():
    rows = drawn(1, 3, 3)
    before = model_of(rows).estimates
    rows[0] |= {7: 9.0, 8: -9.0}
    assert [vars(one) for one in model_of(rows).estimates.values()] == [
        pytest.approx(vars(one)) for one in before.values()
    ]


def test_a_missing_cell_is_estimated_from_the_other_rows():
    """Noise-free: the seed's effect is known from the others, so the missing cell costs nothing."""
    effect, means = [0.0, 5.0, 9.0], [0.0, 1.0, 2.0, 3.0]
    rows = [{seed: mean + effect[seed] for seed in range(3)} for mean in means]
    del rows[3][2]
    model = model_of(rows)
    assert [one.mean for one in model.estimates.values()] == pytest.approx([1, 2, 3])
    assert model.pooled.freedom == 11 - 6
    assert 0 < model.correlation < 0.5


@pytest.mark.parametrize("seed", range(20))
def test_interval_and_p_never_contradict_each_other(seed):
    rows = drawn(seed, 5, 3)
    rows[1] = {s: 4 * score + 2 for s, score in rows[1].items()}
    if seed % 2:
        del rows[2][0]
    for one in model_of(rows).estimates.values():
        assert (one.low > 0 or one.high < 0) == (one.p < 0.05)


def test_a_row_that_scatters_leaves_the_pool_and_has_its_own_interval():
    rows = drawn(0, 4, 5)
    quiet = model_of(rows)
    wild = dict(enumerate([9.0, -9.0, 8.0, -7.0, 1.0]))
    model = model_of(rows, wild=wild)
    assert model.unequal == {"wild"}
    assert model.pooled.deviation == pytest.approx(quiet.pooled.deviation)
    one = model.estimates["wild"]
    gains = [wild[s] - rows[0][s] for s in wild]
    level = 1 - 0.95 ** (1 / 5)
    half = stats.t.ppf(1 - level / 2, 4) * np.std(gains, ddof=1) / math.sqrt(5)
    assert one.own
    assert (one.low, one.high) == pytest.approx((np.mean(gains) - half, np.mean(gains) + half))
    assert one.scatter > 3


def test_the_plain_student_can_scatter_too():
    rows = drawn(2, 6, 5)
    rows[0] = dict(enumerate([9.0, -9.0, 8.0, -7.0, 1.0]))
    model = model_of(rows)
    assert "none" in model.unequal
    assert all(one.own for one in model.estimates.values())


def test_scatter_is_an_f_test_under_equal_variances():
    """Of 400 rows without any difference about 1 % are found at .01."""
    found = sum(one.p < 0.01 for seed in range(80) for one in model_of(drawn(seed, 4, 4)).scatter.values())
    assert 0 <= found <= 10


@pytest.fixture(scope="module")
def scores():
    """Pair -> method -> seed -> score, as measured with version 0.1.0."""
    found = defaultdict(lambda: defaultdict(dict))
    with (Path(__file__).parent / "scores-before.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            if row["kind"] == "cell":
                found[row["pair"]][row["method"]][int(row["seed"])] = float(row["last"])
    return found


@pytest.mark.parametrize("pair", TABLE)
def test_measured_scores_give_the_verdicts_of_a_plain_pool(scores, pair, monkeypatch):
    """The table was computed by other code, with all rows in the pool."""
    for threshold in ("UNEQUAL", "EXTREME"):
        monkeypatch.setattr(f"kdbench.results.model.{threshold}", 0.0)
    rows, freedom, deviation, half, better, worse = TABLE[pair]
    methods = dict(scores[pair])
    model = RankingModel(methods.pop("none"), methods)
    assert (len(model.methods), model.pooled.freedom) == (rows, freedom)
    assert 100 * model.pooled.deviation == pytest.approx(deviation, abs=0.06)
    assert [50 * (one.high - one.low) for one in model.estimates.values()] == pytest.approx(
        [half] * rows, abs=0.06
    )
    assert {label for label, one in model.estimates.items() if one.low > 0} == better
    assert {label for label, one in model.estimates.items() if one.high < 0} == worse


def test_one_measured_row_scatters(scores):
    methods = dict(scores["bccd-gfl"])
    model = RankingModel(methods.pop("none"), methods)
    assert model.unequal == {"hinton"}
    assert model.scatter["hinton"].ratio > 20


def test_simulated_errors_stay_near_five_percent():
    script = runpy.run_path(str(ROOT / "benchmarks" / "verdicts.py"))
    share, model = script["share"], script["by_model"]
    for methods, seeds in product((4,), (3, 5)):
        assert 0.02 <= share(model, None, 300, (methods, seeds)) <= 0.085
    assert share(model, None, 300, (4, 5), scatter=5) <= 0.095
    power = [share(script[by], "m0", 60, (6, 3), gain=4.0) for by in ("by_model", "by_holm")]
    assert power[0] > power[1] + 0.3

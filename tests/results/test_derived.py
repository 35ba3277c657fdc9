"""Metrics of plugins as further columns: computed when shown, blamed when they fail, never in what is committed."""

from __future__ import annotations

import dataclasses
import math

import pytest

from kdbench.datasets import digits
from kdbench.errors import PluginError, UserError
from kdbench.offers import ENVIRONMENT, Offer
from kdbench.plugins import registry
from kdbench.results.derived import derived, with_derived, with_ranking
from kdbench.results.pages import leaderboard_files

from .samples import cell, frames, teacher

PLUGIN = """
from kdbench.api import MetricCard

@hookimpl
def kdbench_metrics():
    names = {names}
    return [MetricCard(name=name, title="", function=f"their_metrics:{{name}}", higher_is_better=name != "spread",
                       tasks=("detection",) if name in {ranking} else ()) for name in names]

def worst(metrics):
    return min((value for name, value in metrics.items() if name.startswith("AP50/")), default=None)

def spread(metrics):
    values = [value for name, value in metrics.items() if name.startswith("AP50/")]
    return max(values) - min(values) if values else None

def raises(metrics):
    return 1 / 0

def large(metrics):
    return 100.0

def text(metrics):
    return "0.5"

def meddles(metrics):
    metrics.clear()
    return 0.5
"""


@pytest.fixture
def metrics(add_plugin, monkeypatch):
    def install(*names, ranking=()):
        source = PLUGIN.format(names=names, ranking=ranking)
        add_plugin("their-kd", source, module="their_metrics", version="2.5")
        monkeypatch.setenv(ENVIRONMENT, "kdbench,their-kd")
        registry.cache_clear()

    return install


def record(selector, score, low, high):
    made = cell(selector, score)
    last = {"AP50": score, "AP50/a": low, "AP50/b": high}
    return made.model_copy(update={"metrics": made.metrics.model_copy(update={"last": last})})


RECORDS = [
    teacher(),
    record("none", 0.4, 0.3, 0.5),
    record("mimic", 0.5, 0.1, 0.9),
    record("hinton", 0.45, 0.4, 0.5),
]


def test_they_are_further_columns_that_rank_nothing(metrics):
    before = frames(["digits"], RECORDS)["digits"]
    metrics("worst", "spread")
    frame = frames(["digits"], RECORDS)["digits"]
    assert set(frame.columns) - set(before.columns) == {"metric:worst", "metric:spread"}
    assert list(frame["method"]) == list(before["method"]) == ["teacher", "none", "mimic", "hinton"]
    found = dict(zip(frame["method"], frame["metric:worst"], strict=True))
    assert (found["mimic"], found["hinton"]) == (0.1, 0.4)
    assert math.isnan(found["teacher"])


@pytest.mark.parametrize(
    ("column", "order"), [("worst", ["hinton", "mimic"]), ("spread", ["hinton", "mimic"])]
)
def test_sorting_begins_with_the_best(metrics, column, order):
    metrics("worst", "spread")
    frame = frames(["digits"], RECORDS, sort=f"metric:{column}")["digits"]
    assert list(frame["method"])[2:] == order


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raises", "ZeroDivisionError: division by zero"),
        ("large", "ValueError: it gave 100.0, which is not in [0, 1]"),
        ("text", "TypeError: it gave a str, not a number"),
        ("absent", "AttributeError: module 'their_metrics' has no attribute 'absent'"),
    ],
)
def test_one_that_fails_is_blamed_and_left_out(metrics, name, told):
    metrics("worst", name)
    with pytest.warns(UserWarning, match="is left out") as caught:
        assert derived({"AP50/a": 0.25}) == {"worst": 0.25}
    assert [str(warning.message) for warning in caught] == [
        f"metric '{name}' of their-kd 2.5 failed and is left out: {told}"
    ]


def test_records_are_not_changed(metrics):
    metrics("worst", "meddles")
    before = [each.to_json() for each in RECORDS]
    shown = with_derived(RECORDS)
    assert shown[2].metrics.last == {"worst": 0.1, "meddles": 0.5, "AP50": 0.5, "AP50/a": 0.1, "AP50/b": 0.9}
    assert [each.to_json() for each in RECORDS] == before


def test_what_is_committed_does_not_depend_on_what_is_installed(metrics, tmp_path):
    before = leaderboard_files(tmp_path, RECORDS)
    metrics("worst")
    assert leaderboard_files(tmp_path, RECORDS) == before != {}


def test_one_with_tasks_ranks_and_is_no_further_column(metrics):
    metrics("worst", "spread", "text", ranking=("spread", "text"))
    assert set(derived({"AP50/a": 0.25})) == {"worst"}
    assert with_ranking("spread", {"AP50/a": 0.25, "AP50/b": 0.5}) == {
        "AP50/a": 0.25,
        "AP50/b": 0.5,
        "spread": 0.25,
    }
    for name, told in (("text", "gave a str, not a number"), ("spread", "gave None")):
        with pytest.raises(
            PluginError, match=f"metric '{name}' of their-kd 2.5 failed in their_metrics:.*{told}"
        ):
            with_ranking(name, {})


def ranked_by(metric):
    """The registry in which the digits are ranked by another metric."""
    known = registry()
    offer = Offer(dataclasses.replace(digits.detection, metric=metric), known.datasets["digits"].plugin)
    return dataclasses.replace(known, datasets={"digits": offer})


def test_a_dataset_names_a_metric_that_can_rank_it(metrics):
    metrics("worst", "spread", ranking=("spread",))
    assert ranked_by("spread").dataset("digits").value.metric == "spread"
    for name in ("worst", "spred"):
        with pytest.raises(UserError, match=f"ranked by '{name}', which is no metric of detection"):
            ranked_by(name).dataset("digits")


def test_it_is_measured_at_each_evaluation(metrics):
    pytest.importorskip("mmengine")
    from mmengine.evaluator import BaseMetric

    from kdbench.openmmlab.evaluation import RankedEvaluator

    class Measured(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results += data_samples

        def compute_metrics(self, results):
            return {"AP50/a": 0.25, "AP50/b": 1.0}

    metrics("spread", ranking=("spread",))
    judge = RankedEvaluator([Measured()], ranked_by="spread")
    judge.process([{}])
    assert judge.evaluate(1) == {"AP50/a": 0.25, "AP50/b": 1.0, "spread": 0.75}

"""A metric of which less is better: ranks, differences, the share of the gap and verdicts follow its direction."""

from __future__ import annotations

import json

import pytest

from kdbench.results.compare import comparisons, overall
from kdbench.results.formats import notes
from kdbench.results.leaderboard import rankings
from kdbench.results.query import sorted_by
from kdbench.results.record import Record, best_point
from kdbench.runs.status import best_of

from .samples import cell, teacher

SCORES = {
    "none": (0.50, 0.52, 0.51),
    "mimic": (0.60, 0.63, 0.60),
    "hinton": (0.51, 0.52, 0.53),
    "fitnets": (0.40, 0.43, 0.42),
}


def board(*, higher):
    """Records of four methods; those of the miss rate are the others' turned round."""

    def kept(score):
        return score if higher else 1 - score

    metric = {"metric": "AP50" if higher else "MR", "higher_is_better": higher}
    last = {metric["metric"]: kept(0.8)}
    return [
        teacher(**metric, metrics={"last": last}),
        *(
            cell(name, kept(score), seed, teacher_value=kept(0.8), **metric)
            for name, scores in SCORES.items()
            for seed, score in enumerate(scores)
        ),
    ]


MISSES = board(higher=False)


def test_it_ranks_as_the_metric_turned_round_does():
    (low,), (high,) = rankings(MISSES), rankings(board(higher=True))
    assert [row["method"] for row in low.methods] == ["mimic", "hinton", "fitnets"]
    assert [row["verdict"] for row in low.methods] == [row["verdict"] for row in high.methods]
    assert {"better", "worse"} <= {row["verdict"] for row in low.methods}
    for one, other in zip(low.rows, high.rows, strict=True):
        for name in ("difference", "low", "high", "p", "gap_closed"):
            assert one[name] == pytest.approx(other[name], nan_ok=True), (one["method"], name)
        assert one["mean"] == pytest.approx(1 - other["mean"])


def test_a_gain_is_relative_to_the_plain_students_own_score():
    row = rankings(MISSES)[0].row("mimic")
    assert row["relative_gain"] == pytest.approx(0.1 / 0.49)


def test_the_least_is_first_where_it_is_sorted_by():
    (ranking,) = rankings(MISSES)
    for column in ("mean", "best", "difference"):
        assert [row["method"] for row in sorted_by(ranking, column).methods] == ["mimic", "hinton", "fitnets"]


def test_the_heading_says_the_direction():
    (low,), (high,) = rankings(MISSES), rankings(board(higher=True))
    assert "less MR is better, and + is a gain" in low.heading
    assert "is better" not in high.heading
    assert not [line for line in notes(low) if "The teacher" in line]


def test_comparisons_and_the_status_know_it():
    (block,) = comparisons(MISSES, "none", "mimic")
    assert (block.verdict, block.gain) == ("better", pytest.approx(0.1))
    alone = [record for record in MISSES if record.kind == "teacher" or record.seed == 0]
    (single,) = comparisons(alone, "mimic", "hinton")
    assert single.gain == pytest.approx(-0.09)
    assert overall([single]).losses == 1
    assert best_of(MISSES)[0].endswith(": mimic +10.0 (3 seeds)")


def test_classes_follow_it_too():
    records = [
        record.model_copy(
            update={"metrics": record.metrics.model_copy(update={"last": {"MR": 0.5, "MR/a": value}})}
        )
        for record, value in zip(MISSES, (0, *[0.5] * 3, *[0.4] * 3, *[0.5] * 6), strict=True)
    ]
    assert rankings(records)[0].differences("mimic", "MR/a") == pytest.approx([0.1] * 3)


def test_the_best_evaluation_is_the_least():
    curve = [
        {"iteration": 1, "MR": 0.4},
        {"iteration": 2, "MR": 0.3},
        {"iteration": 3, "MR": 0.3},
        {"iteration": 4},
    ]
    assert best_point(curve, "MR", higher_is_better=False)["iteration"] == 2
    assert best_point(curve, "MR", higher_is_better=True)["iteration"] == 1


def test_a_record_keeps_it_and_others_keep_their_text():
    text = MISSES[1].to_json()
    assert json.loads(text)["higher_is_better"] is False
    assert Record.model_validate_json(text).sign == -1
    assert "higher_is_better" not in cell().to_json()

"""Rows whose options a tuning study chose."""

import pytest

from kdbench.results.formats import TUNED_LEGEND, legend, notes, tables
from kdbench.results.html.columns import ranking_table
from kdbench.results.leaderboard import rankings
from kdbench.results.record import Record
from kdbench.results.tuned import is_best

from .samples import cells

BASE = {0: 0.50, 1: 0.53, 2: 0.54}
TUNED = {
    "study": "5" * 64,
    "validation": "its split val",
    "trials": [
        {"options": {"weight": 1}, "value": 0.4},
        {"options": {"weight": 2}, "value": 0.6},
        {"options": {"weight": 9}, "value": None},
        {"options": {"weight": 3}, "value": 0.6},
    ],
}


def ranking(scores):
    tuned = cells("mimic[weight=2]", scores, options={"weight": 2}, tuned=TUNED)
    [found] = rankings([*cells("none", BASE), *cells("mimic", {0: 0.52, 1: 0.56, 2: 0.55}), *tuned])
    return found


def test_the_options_of_the_best_trial_are_the_chosen_ones():
    tuned = Record.model_validate(cells("mimic", BASE, tuned=TUNED)[0]).tuned
    assert tuned is not None
    assert [is_best({"weight": weight}, tuned, 1) for weight in (1, 2, 3, 9)] == [False, True, False, False]
    assert [is_best({"weight": weight}, tuned, -1) for weight in (1, 2, 3, 9)] == [True, False, False, False]
    failed = tuned.model_copy(update={"trials": tuned.trials[2:3]})
    assert not is_best({"weight": 9}, failed, 1)


def test_a_board_shows_over_how_many_trials_options_were_chosen():
    found = ranking({0: 0.6, 1: 0.63, 2: 0.64})
    [shown] = tables([found])
    column = shown.titles.index("tuned")
    assert {row[0]: row[column] for row in shown.rows[1:]} == {
        "none": "",
        "mimic": "",
        "mimic[weight=2]": "4 trials",
    }
    columns = {column.title: column for column in ranking_table(found).columns}
    assert [columns["tuned"].key(row) for row in found.methods] == ["4", ""]
    assert TUNED_LEGEND in legend([found])
    [plain] = rankings([*cells("none", BASE), *cells("mimic", BASE)])
    assert "tuned" not in tables([plain])[0].titles
    assert TUNED_LEGEND not in legend([plain])


@pytest.mark.parametrize(("gain", "said"), [(-0.03, True), (0.03, False)])
def test_a_tuned_method_that_is_worse_than_the_plain_student_is_named(gain, said):
    told = " ".join(notes(ranking({seed: score + gain for seed, score in BASE.items()})))
    assert ("Tuned, and still no better than the plain student: mimic[weight=2] (-3.0 [" in told) == said
    assert ("Tuned" in told) == said


def test_a_record_keeps_the_trials_and_an_older_one_its_text():
    [tuned, *_], [plain, *_] = cells("mimic", BASE, tuned=TUNED), cells("mimic", BASE)
    again = Record.model_validate_json(tuned.to_json())
    assert again == tuned
    assert again.tuned is not None
    assert [trial.value for trial in again.tuned.trials] == [0.4, 0.6, None, 0.6]
    assert tuned.identity == plain.identity
    assert '"tuned"' not in plain.to_json()

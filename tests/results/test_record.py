import json

import pytest
from pydantic import ValidationError

from kdbench.results.record import Record
from kdbench.specs import digest, unlabelled

from .samples import cell, teacher


def test_reads_what_it_writes():
    record = cell("mimic[weight=2]", notes=["adapter neck.0: 1x1 conv"])
    again = Record.model_validate_json(record.to_json())
    assert again == record
    assert again.to_json() == record.to_json()


def test_typed_properties_read_the_spec():
    record = cell("mimic[weight=2]", seed=3, dataset="bccd", pair="small", schedule="custom")
    got = (record.method, record.selector, record.dataset, record.pair_name, record.seed, record.schedule)
    assert got == ("mimic", "mimic[weight=2]", "bccd", "small", 3, "custom")
    assert teacher().pair_name == "teachers"


def test_iteration_of_the_best_stays_an_integer():
    assert json.loads(cell().to_json())["metrics"]["best"]["iteration"] == 100
    assert '"iteration": 100,' in cell().to_json() or '"iteration": 100\n' in cell().to_json()


def test_is_frozen():
    with pytest.raises(ValidationError):
        cell().status = "failed"


def test_failed_has_no_score():
    assert cell(status="failed").score is None
    assert cell(status="done").score == 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"identity": "0" * 64}, "not the hash"),
        ({"surprise": 1}, "surprise"),
        ({"schema_version": 3}, "schema_version"),
        ({"metrics": None}, "last AP50"),
        ({"metrics": {"last": {"AP75": 0.2}}}, "last AP50"),
        ({"metrics": {"last": {"AP50": 43.2}}}, "fraction"),
        ({"metrics": {"last": {"AP50": float("nan")}}}, "finite"),
        ({"status": "failed", "reason": None}, "reason"),
        ({"curve": [{"AP50": 0.1}]}, "iteration"),
        ({"cost": {"seconds_per_iteration": -1}}, "seconds_per_iteration"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ValidationError, match=message):
        Record.model_validate({**cell().model_dump(), **change})


@pytest.mark.parametrize(
    "key",
    [
        "method",
        "selector",
        "dataset",
        "pair",
        "seed",
        "schedule",
        "revision",
        "options",
        "precision",
        "device",
    ],
)
def test_a_cell_needs_its_whole_spec(key):
    spec = {name: value for name, value in cell().spec.items() if name != key}
    with pytest.raises(ValidationError, match=key):
        Record.model_validate({**cell().model_dump(), "spec": spec, "identity": digest(unlabelled(spec))})


def test_cost_takes_more_figures_but_only_numbers():
    assert cell(cost={"energy_joule": 3.5}).cost.model_extra == {"energy_joule": 3.5}
    with pytest.raises(ValidationError):
        cell(cost={"energy_joule": "much"})


def test_a_file_from_before_a_cost_was_measured_keeps_its_text():
    text = cell(cost={"seconds_per_iteration": 0.1}).to_json()
    assert "latency_ms" not in text
    assert "timed_with" not in text
    assert Record.model_validate_json(text).to_json() == text


def test_new_costs_come_back_and_are_no_part_of_the_identity():
    record = cell(cost={"latency_ms": 7.5, "timed_with": "0123456789ab"})
    assert Record.model_validate_json(record.to_json()) == record
    assert record.identity == cell().identity


@pytest.mark.parametrize("cost", [{"latency_ms": -1}, {"latency_ms": "fast"}, {"timed_with": "=1+1"}])
def test_costs_that_cannot_be(cost):
    with pytest.raises(ValidationError):
        cell(cost=cost)

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kdbench.specs import Model, Pair, Schedule, digest, file_digest

SCHEDULE = {"iterations": 10, "batch_size": 2, "lr": 0.1, "scale": (64, 48)}
PAIR = {
    "name": "tiny",
    "title": "Tiny",
    "dataset": "digits",
    "task": "detection",
    "family": "dense",
    "teacher": {"config": "mmdet::a.py"},
    "student": {"config": "mmdet::b.py", "edits": {"backbone.depth": 18}},
    "schedule": SCHEDULE,
    "teacher_schedule": SCHEDULE,
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def shuffled(value):
    """Return the value with the keys of every dict in reverse order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_digest_is_sha256_of_canonical_json():
    # printf '{"a":[1,2.5,null],"b":"x"}' | sha256sum
    expected = "6739d783db2ab3fd"
    assert digest({"b": "x", "a": [1, 2.5, None]}).startswith(expected)
    assert len(digest({})) == 64


@given(json_values)
def test_digest_ignores_the_order_of_keys(value):
    assert digest(shuffled(value)) == digest(value)


def test_digest_refuses_what_json_cannot_say():
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})


def test_a_pair_survives_json_with_its_identity():
    pair = Pair.model_validate(PAIR)
    again = Pair.model_validate_json(pair.model_dump_json())
    assert again == pair
    assert again.identity() == pair.identity()


@pytest.mark.parametrize(
    "change",
    [
        {"student": {"config": "mmdet::b.py", "edits": {"backbone.depth": 34}}},
        {"teacher": {"config": "mmdet::c.py"}},
        {"schedule": {**SCHEDULE, "iterations": 11}},
        {"schedule": {**SCHEDULE, "average": 0.01}},
        {"schedule": {**SCHEDULE, "accumulate": 2}},
        {"dataset": "bccd"},
        {"pretrained": True},
    ],
)
def test_any_change_changes_the_identity(change):
    assert Pair.model_validate({**PAIR, **change}).identity() != Pair.model_validate(PAIR).identity()


def test_what_came_later_is_no_part_of_an_identity_at_its_default():
    dumped = Schedule.model_validate(SCHEDULE).model_dump(mode="json")
    assert "accumulate" not in dumped
    assert Schedule.model_validate(dumped).accumulate == 1


def test_integers_and_floats_of_one_value_have_one_identity():
    one, other = (Schedule.model_validate({**SCHEDULE, "lr": lr}) for lr in (1, 1.0))
    assert one.identity() == other.identity()


@pytest.mark.parametrize(
    "change",
    [
        {"iterations": 0},
        {"batch_size": -1},
        {"lr": 0},
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"optimizer": "Adam"},
        {"decay": "linear"},
        {"average": 1},
        {"clip_norm": 0},
        {"validations": 0},
        {"scale": (64,)},
        {"iteration": 10},
    ],
)
def test_a_schedule_refuses(change):
    with pytest.raises(ValidationError):
        Schedule.model_validate({**SCHEDULE, **change})


def test_a_decay_is_refused_with_the_momentum_that_was_meant():
    assert Schedule.model_validate({**SCHEDULE, "average": 0.5}).average == 0.5
    with pytest.raises(ValidationError, match=r"a decay of 0\.9998 write 0\.0002"):
        Schedule.model_validate({**SCHEDULE, "average": 0.9998})


def test_specs_are_immutable():
    with pytest.raises(ValidationError):
        Model(config="mmdet::a.py").config = "mmdet::b.py"


def test_file_digest(tmp_path):
    path = Path(tmp_path / "x")
    path.write_bytes(b"abc")
    assert file_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_first_stage_of_a_cascade_is_no_part_of_an_identity():
    first = Model(config="mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py")
    assert "roi_stage" not in first.model_dump(mode="json")
    second = first.model_copy(update={"roi_stage": 2})
    assert second.model_dump(mode="json")["roi_stage"] == 2
    assert first.identity() != second.identity()

import copy
import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.results.contributed import add, check
from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.specs import RunSpec, TeacherSpec, digest, unlabelled

from .samples import leaderboard

PAIR = registry().pair("digits-faster-rcnn").value
MADE = {"clock": "2026-05-01T12:00:00+00:00", "path": "out/runs/x", "command": "kdbench run --method mimic"}
WHERE = {"device": "cpu", "processes": 1}
COMMON = {"dataset": "digits", "data": "d" * 64, "schedule": "default", "precision": "fp32"} | WHERE


def teacher_spec(**changes):
    fields = {
        **COMMON,
        "model": PAIR.teacher,
        "recipe": PAIR.teacher_schedule,
        "pretrained": False,
        "seed": 0,
    }
    return TeacherSpec(**{**fields, **changes})


def fields_of(kind, spec, score, steps, **more):
    """A record's values, as a run leaves them, on a curve of two evaluations."""
    curve = [
        {"iteration": steps // 2, "AP50": 0.3, "AP75": 0.1},
        {"iteration": steps, "AP50": score, "AP75": 0.2},
    ]
    return {
        "kind": kind,
        "identity": digest(unlabelled(spec)),
        "spec": spec,
        "status": "done",
        "metrics": {"last": {"AP50": score, "AP75": 0.2}, "best": dict(curve[1])},
        "metric": "AP50",
        "cost": {"seconds_per_iteration": 0.2, "peak_memory_mib": 300.0, "added_parameters": 0},
        "curve": curve,
        "versions": {"python": "3.11.7", "torch": "torch 2.11.0", "kdbench": "kdbench 0.1.0"},
        "device": "cpu",
        "host_class": "Linux x86_64, 2 cores, 1 threads",
        "made": MADE,
        **more,
    }


def teacher(score=0.77, **changes):
    spec = teacher_spec(**changes).model_dump(mode="json")
    return fields_of("teacher", spec, score, PAIR.teacher_schedule.iterations)


def student(method="mimic", score=0.6, seed=0, taught_by=None):
    plain = method == "none"
    offer = registry().method(method)
    spec = RunSpec(
        **COMMON,
        method=method,
        selector=method,
        options=offer.value.options().recorded(),
        revision=1,
        pair=PAIR,
        seed=seed,
        teacher=None if plain else taught_by or teacher_spec().identity(),
    ).model_dump(mode="json")
    measured = {
        "identity": teacher_spec().identity(),
        "config": PAIR.teacher.config,
        "weights_sha256": "e" * 64,
        "value": 0.77,
    }
    steps = PAIR.schedule.iterations
    plugin = f"{offer.plugin.distribution} {offer.plugin.version}"
    return fields_of("cell", spec, score, steps, teacher=None if plain else measured, plugin=plugin)


@pytest.fixture
def file(tmp_path):
    """Writes a record's values into a file."""

    def write(values, name):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(values))
        return path

    return write


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def batch(file):
    rows = [teacher(), student(), student("none", 0.5), student("hinton", 0.4)]
    return [file(row, f"r{index}") for index, row in enumerate(rows)]


def test_a_good_batch_is_added_and_marked(batch, store):
    verdict = add(batch, store, "A. Nother")
    assert verdict.refused == []
    assert [path.is_file() for path in verdict.added] == [True] * 4
    records, broken = store.records()
    assert (len(records), broken, {record.reported_by for record in records}) == (4, [], {"A. Nother"})
    assert all(digest(unlabelled(record.spec)) == record.identity for record in records)
    assert check(store) == (4, [])


@pytest.mark.parametrize(
    ("time", "told"),
    [
        (1.5, ""),
        (1.2, "curve: it ends at iteration 1500, the schedule at 1200"),
        (1.0, "the time of a control is over 1 and at most 100, not 1.0"),
        (1e308, "the time of a control is over 1 and at most 100, not 1e+308"),
        ("long", "the time of a control is over 1 and at most 100, not 'long'"),
    ],
)
def test_a_control_ends_where_its_longer_schedule_does(file, store, time, told):
    values = student("none")
    spec = values["spec"] | {"options": {"time": time}, "selector": f"none[time={time}]"}
    steps = round(1.5 * PAIR.schedule.iterations)
    values = fields_of("cell", spec, 0.5, steps, teacher=None, plugin=values["plugin"])
    refused = add([file(values, "control")], store).refused
    assert [told in one.why for one in refused] == [True] * bool(told)


def test_without_a_name_others_report_it(batch, store):
    assert add(batch, store).refused == []
    assert {record.reported_by for record in store.records()[0]} == {"others"}


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 101, "\u202eevil", "trailing "])
def test_a_name_that_cannot_be_shown(batch, store, name):
    verdict = add(batch, store, name)
    assert bool(verdict.refused) == bool(name)
    assert not name or "reported_by" in verdict.refused[0].why


def test_a_mark_is_kept_and_another_one_is_refused(batch, store, tmp_path):
    first = add(batch, store, "Ann").added
    second = Store(tmp_path / "second")
    assert "reported by Ann, not by Bob" in add(first, second, "Bob").refused[0].why
    assert add(first, second).refused == []
    assert {record.reported_by for record in second.records()[0]} == {"Ann"}


@pytest.mark.parametrize("edit", [{"reported_by": None}, {"reported_by": "Bob"}, {"device": "cuda"}])
def test_an_edit_of_a_marked_file_is_told_and_not_counted(batch, store, edit):
    path = add(batch, store, "Ann").added[1]
    path.write_text(json.dumps({**json.loads(path.read_text()), **edit}))
    records, broken = store.records()
    assert ([item.path for item in broken], len(records)) == ([path], 3)
    assert [refusal.path for refusal in check(store)[1]] == [path]


def test_own_records_are_written_as_before(store):
    text = store.write(Record.model_validate(student())).read_text()
    assert "reported_by" not in text
    assert Record.model_validate_json(text).to_json() == text


def test_what_is_there_already_is_refused(batch, store):
    own = store.write(Record.model_validate(student("none", 0.1)))
    verdict = add(batch, store)
    assert [(r.path, r.why) for r in verdict.refused] == [
        (batch[2], f"its result is already in the store: {own}")
    ]
    assert store.records()[0] == [Record.model_validate(student("none", 0.1))]


def test_the_same_result_twice_is_refused(batch, store, file):
    again = file(student("none", 0.6), "again")
    assert f"already in the store: {batch[2]}" in str(add([*batch, again], store).refused[0])
    assert len(add([batch[0], batch[0]], store).refused) == 1
    assert store.records() == ([], [])


def test_one_bad_file_keeps_all_out_and_every_bad_one_is_named(batch, store, file, tmp_path):
    cut = tmp_path / "cut.json"
    cut.write_bytes(batch[0].read_bytes()[:200])
    verdict = add([*batch, cut, tmp_path / "absent.json"], store)
    assert {refusal.path.name for refusal in verdict.refused} == {"cut.json", "absent.json"}
    assert not store.root.exists()


def test_a_full_disk_leaves_nothing(batch, store, monkeypatch):
    calls, sync = [], os.fsync

    def full(number):
        calls.append(number)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space"):
        add(batch, store)
    assert store.records() == ([], [])


def test_a_student_needs_its_teachers_record(batch, store):
    assert "no record of teacher" in add(batch[1:2], store).refused[0].why
    store.write(Record.model_validate(teacher()))
    assert add(batch[1:], store).refused == []


def test_an_ensemble_needs_all_its_teachers(store, file):
    specs = [teacher_spec(seed=seed).identity() for seed in (0, 1, 2)]
    taught = file(student("hinton", taught_by=digest(specs)), "taught")
    teachers = [file(teacher(seed=seed), f"t{seed}") for seed in (2, 0, 1)]
    assert "nor the first of a known ensemble" in add([*teachers[:2], taught], store).refused[0].why
    assert add([*teachers, taught], store).refused == []


def with_one_set(values, keys, value):
    """A record's values with one of them set (or taken away, for ``...``)."""
    values = copy.deepcopy(values)
    part = values
    for key in keys[:-1]:
        part = part[key]
    if value is ...:
        del part[keys[-1]]
    else:
        part[keys[-1]] = value
    return values


def changed(values, keys, value):
    """The same; the identity follows the spec."""
    values = with_one_set(values, keys, value)
    if keys[0] == "spec":
        values["identity"] = digest(unlabelled(values["spec"]))
    return values


@pytest.mark.parametrize(
    ("keys", "value", "told"),
    [
        (("metrics", "last", "AP50"), 0.61, "metrics.last is not the curve's last point"),
        (("metrics", "best", "AP50"), 0.61, "metrics.best is not the curve's best point"),
        (("curve", 1, "AP50"), 0.61, "metrics.last is not"),
        (("curve", 0, "AP75"), 1.5, "AP75 1.5 at iteration"),
        (("curve", 0, "iteration"), 99999, "do not increase"),
        (("curve", 1, "iteration"), 999, "it ends at iteration 999, the schedule at 1000"),
        (("curve",), [], "curve: it is empty"),
        (("metric",), "AP75", "digits is ranked by AP50, not by AP75"),
        (("status",), "failed", "needs a reason"),
        (("identity",), "0" * 64, "identity is not the hash of the spec"),
        (("spec", "seed"), -1, "spec: seed: Input should be greater than or equal to 0"),
        (("spec", "seed"), 1.5, "seed"),
        (("spec", "data"), "mine", "not a fingerprint"),
        (("spec", "surprise"), 1, "surprise"),
        (("spec", "selector"), "mimic[weight=2]", "'mimic[weight=2]' has another 'weight' than the options"),
        (("spec", "selector"), "hinton", "selector 'hinton' is not of method 'mimic'"),
        (("spec", "selector"), "mimic[", "is not a selector"),
        (("plugin",), "mine", "not a distribution with its version"),
        (("device",), "NVIDIA H100", "not of the spec's class, cpu"),
        (("spec", "pair", "dataset"), "voc", "for another dataset"),
        (("spec", "teacher"), "f" * 64, "not the one that the spec asks for"),
        (("spec", "teacher"), None, "every method has one"),
        (("teacher", "value"), 0.5, "far from its own record (0.770)"),
        (("teacher", "value"), 1.5, "less than or equal to 1"),
        (("teacher", "config"), "other.py", "its config is"),
        (("teacher", "weights_sha256"), "w", "not a hash"),
        (("teacher",), None, "teacher: missing"),
        (("cost", "seconds_per_iteration"), 0, "is not positive"),
        (("cost", "latency_ms"), 0, "is not positive"),
        (("cost", "timed_with"), "=1+1", "String should match"),
        (("cost", "seconds_per_iteration"), -1, "greater than or equal to 0"),
        (("versions", "torch"), ..., "no version of torch"),
        (("versions", "kdbench"), ..., "no version of kdbench"),
        (("made", "command"), "trust me", "none of kdbench"),
        (("made", "clock"), "yesterday", "not an ISO 8601 time"),
        (("device",), " ", "device or host_class"),
        (("surprise",), 1, "surprise"),
    ],
)
def test_tampered(store, file, keys, value, told):
    good = [file(teacher(), "teacher"), file(student("none", 0.5), "none")]
    bad = file(changed(student(), keys, value), "bad")
    verdict = add([*good, bad], store)
    assert {refusal.path for refusal in verdict.refused} == {bad}
    assert told in " ".join(refusal.why for refusal in verdict.refused)
    assert not store.root.exists()


def test_the_same_weights_give_one_value(batch, store, file):
    other = student("fitnets")
    other["teacher"]["value"] = 0.74
    verdict = add([*batch, file(other, "other")], store)
    assert "the same weights give 0.740 and 0.770" in verdict.refused[0].why


def test_students_of_one_teacher_have_its_weights(batch, store, file):
    """Weights that were swapped between two students, or after the teacher was measured."""
    swapped = student("fitnets")
    swapped["teacher"]["weights_sha256"] = "b" * 64
    refused = {refusal.why for refusal in add([*batch, file(swapped, "swapped")], store).refused}
    told = "teacher: its weights {} are not those of other rows of its ranking"
    assert refused == {told.format("b" * 12), told.format("e" * 12)}
    own = teacher() | {"weights_sha256": "b" * 64}
    (refusal,) = add([file(own, "own"), file(student(), "student")], store).refused
    assert refusal.why == f"teacher: its weights {'e' * 12} are not those of its own record"


@pytest.mark.parametrize("where", ["torch", "machine"])
def test_a_teacher_trained_with_other_software_has_other_weights(batch, store, file, where):
    other = student("fitnets")
    if where == "torch":
        other["versions"]["torch"] = "torch 9.9"
    else:
        other["host_class"] = "Plan9 mips, 1 cores"
    other["teacher"] |= {"weights_sha256": "b" * 64, "value": 0.76}
    assert not add([*batch, file(other, "other")], store).refused


def leaves(values, path=()):
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        if isinstance(value, (dict, list)) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


GOOD = student()
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(-2, 2),
    st.text(max_size=5),
    st.sampled_from([...]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keys=st.sampled_from(sorted(leaves(GOOD), key=str)), value=VALUES)
def test_tampering_with_one_field_is_refused_or_changes_no_number_that_ranks(tmp_path_factory, keys, value):
    """Without a new identity: whoever changes the spec and hashes it anew claims another cell."""
    place: Path = tmp_path_factory.mktemp("tampered")
    values = with_one_set(GOOD, keys, value)
    rows = {"teacher": teacher(), "none": student("none", 0.5), "mimic": values}
    for name, row in rows.items():
        (place / name).write_text(json.dumps(row))
    verdict = add([place / name for name in rows], Store(place / "results"))
    if not verdict.refused:
        board = leaderboard(Store(place / "results").records()[0]).set_index("method")
        assert board.loc["mimic", ["seeds", "mean", "difference"]].tolist() == pytest.approx([1, 0.6, 0.1])
        assert board.loc["none", "mean"] == 0.5

"""The functions of ``kdbench``: their arguments, results, errors and output."""

from __future__ import annotations

import inspect
import logging
import shlex

import pytest

import kdbench
from kdbench.cli import cli, main
from kdbench.errors import ArgumentError, RunError, UserError
from kdbench.results.store import Store
from kdbench.runs.plan import plan
from kdbench.runs.provenance import record_of
from kdbench.runs.request import Request

SMOKE = {"pair": "digits-gfl", "schedule": "smoke", "device": "cpu"}
OF_COMMANDS_ALONE = {"gpus", "as_json"}
SHOWN_IN = {"console", "view"}


@pytest.fixture
def place(tmp_path, small_digits, monkeypatch):
    """An empty working directory, with the data of digits in another folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.mark.parametrize("name", ["run", "sweep", "evaluate", "tune", "reproduce"])
def test_a_function_takes_what_its_command_takes_with_the_same_defaults(name):
    options = {option.name: option for option in cli.get_command(None, name).params}
    parameters = inspect.signature(getattr(kdbench, name)).parameters
    assert options.keys() - OF_COMMANDS_ALONE == parameters.keys() - SHOWN_IN
    for parameter in parameters.values():
        optional = parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
        if optional and parameter.name in options:
            default = options[parameter.name].to_info_dict()["default"]
            assert str(parameter.default or None) == str(default or None), parameter.name


@pytest.mark.slow
def test_a_run_gives_its_record_logs_its_progress_and_prints_nothing(place, capsys, caplog):
    caplog.set_level(logging.INFO, "kdbench")
    record = kdbench.run("hinton", "digits", settings=["schedule.lr=0.001"], **SMOKE)
    assert (record.status, record.selector, record.schedule) == ("done", "hinton", "smoke")
    assert 0 <= record.score <= 1
    assert capsys.readouterr().out == ""
    lines = [entry.getMessage() for entry in caplog.records if entry.name == "kdbench"]
    lines = [line for line in lines if not line.startswith("WARNING: digits has no box")]  # of a few scenes
    assert lines[0] == "hinton on digits: pair digits-gfl, seed 0, smoke schedule, on cpu"
    assert "3 of 3: hinton, seed 0, 4 iterations" in lines
    command = shlex.split(record.made.command)
    assert command[:2] == ["kdbench", "run"]
    assert main([*command[1:], "--json"]) == 0
    out = capsys.readouterr()
    assert out.out == record.to_json()
    assert "hinton, seed 0: done already" in out.err


@pytest.mark.slow
def test_a_sweep_gives_the_records_of_its_cells(place, capsys):
    asked = {"methods": ["none"], "datasets": ["digits"], "pairs": ["digits-gfl"], "seeds": range(2)}
    before = kdbench.sweep(**asked, schedule="smoke", device="cpu", dry_run=True)
    assert (len(before.plan.cells), before.records, before.failures) == (2, [], [])
    after = kdbench.sweep(**asked, schedule="smoke", device="cpu", slots=1)
    assert sorted(record.seed for record in after.records) == [0, 1]
    assert (after.failures, after.stopped, capsys.readouterr().out) == ([], False, "")
    again = kdbench.sweep(**asked, schedule="smoke", device="cpu")
    assert again.plan.packs == []
    assert {record.identity for record in again.records} == {record.identity for record in after.records}


def test_a_training_that_fails_raises_an_error_with_its_record(place, monkeypatch):
    record = object()

    def fail(self):
        raise RunError("the loss is NaN", record)

    monkeypatch.setattr("kdbench.runs.session.Session.run", fail)
    with pytest.raises(RunError, match="the loss is NaN") as failed:
        kdbench.run("hinton", "digits", **SMOKE)
    assert failed.value.record is record


@pytest.mark.parametrize(
    ("wrong", "names", "option"),
    [
        ({"device": "tpu"}, "`device` tpu: use cpu or", "--device tpu: use cpu or"),
        ({"settings": ["schedule.lr"]}, "`settings` schedule.lr: write", "--set schedule.lr: write"),
        ({"seed": -1}, "`seed` -1: Input should be greater than or equal to 0.", None),
        ({"precision": "fp8"}, "`precision` fp8: Input should be 'fp32', 'fp16' or 'bf16'.", None),
        ({"schedule": "long"}, "`schedule` long: Input should be 'default' or 'smoke'.", None),
        ({"workers": -1}, "`workers` -1: Input should be greater than or equal to 0.", None),
    ],
)
def test_an_argument_that_cannot_be_used_is_named_and_the_command_names_its_option(
    place, capsys, wrong, names, option
):
    with pytest.raises(ArgumentError) as refused:
        kdbench.run("hinton", "digits", **SMOKE | wrong)
    assert str(refused.value).startswith(names)
    if option is not None:
        flag, *values = option.split(":")[0].split()
        assert main(["run", "--method", "hinton", "--dataset", "digits", flag, *values]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith(f"error: {option}")


def test_what_failed_in_an_earlier_sweep_is_told_with_its_reason(place):
    asked = {"methods": ["hinton"], "datasets": ["digits"], "pairs": ["digits-gfl"], "device": "cpu"}
    cell = plan(Request("hinton", "digits", pair="digits-gfl")).cell
    Store(place / "results").write(record_of(cell, "AP50", place, reason="the loss became nan"))
    result = kdbench.sweep(**asked, dry_run=True)
    assert [(one.item.identity, one.why) for one in result.failures] == [
        (cell.identity(), "the loss became nan")
    ]
    assert len(kdbench.sweep(**asked, dry_run=True, retry_failed=True).plan.packs[0].items) == 2


@pytest.mark.slow
def test_a_study_is_returned_and_nothing_is_run_again(place, capsys):
    study = kdbench.tune("hinton", "digits", trials=1, **SMOKE)
    assert (study.best(), study.trials[0].status) == (study.trials[0], "done")
    assert 0 <= study.plain <= 1
    assert kdbench.tune("hinton", "digits", trials=1, **SMOKE) == study
    assert capsys.readouterr().out == ""
    assert not (place / "results/records").exists()


@pytest.mark.slow
def test_a_row_comes_out_again_and_the_verdict_has_both_records(place, capsys):
    record = kdbench.run("hinton", "digits", **SMOKE)
    before = sorted((place / "results").rglob("*.json"))
    verdict = kdbench.reproduce(record.identity[:12])
    assert (verdict.agrees, verdict.why) == (True, "identical in every metric")
    assert (verdict.then, verdict.now.metrics) == (record, record.metrics)
    assert "reproduced" in verdict.now.made.path
    assert capsys.readouterr().out == ""
    assert sorted((place / "results").rglob("*.json")) == before


def test_a_row_that_would_run_differently_is_refused_and_the_log_says_in_what(place, caplog):
    cell = plan(Request("hinton", "digits", pair="digits-gfl")).cell.model_copy(update={"revision": 99})
    Store(place / "results").write(record_of(cell, "AP50", place, curve=[{"iteration": 1, "AP50": 0.5}]))
    with pytest.raises(UserError, match=r"compare all the same with `anyway=True`\.$"):
        kdbench.reproduce("hinton", dataset="digits")
    assert any(line.startswith("differs: revision: 99 then") for line in caplog.messages)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: kdbench.tune("hinton", "digits", trials=0), "`trials` 0: at least 1 is needed."),
        (lambda: kdbench.tune("none", "digits", trials=1), "method 'none' has no options to tune"),
        (lambda: kdbench.tune("hinton", "digits", trials=1, seed=-1), "`seed` -1: Input should be"),
        (lambda: kdbench.reproduce("0123456"), "no record's identity starts with '0123456'"),
        (lambda: kdbench.reproduce("hinton"), "no result of 'hinton' there to reproduce."),
    ],
)
def test_what_cannot_be_tuned_or_reproduced_is_refused_in_words_without_options(place, call, why):
    with pytest.raises(UserError) as refused:
        call()
    assert str(refused.value).startswith(why)
    assert "--" not in str(refused.value)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "nothing to sweep: give benchmark files, or methods and datasets."),
        ({"methods": ["mimic"], "datasets": ["digits", "digits"]}, "`datasets`: 'digits' stands there"),
        (
            {"methods": "mimic", "datasets": "digits", "seeds": "2..0"},
            "`seeds` 2..0: '2..0' must run upwards",
        ),
        ({"methods": "mimic", "datasets": "digits", "pairs": ["bccd-gfl"]}, "`pairs` bccd-gfl: it is for"),
        ({"methods": "mimic", "datasets": "digits", "executor": "ray"}, "`executor` and `device`: name the"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_in_words_without_options(place, wrong, why):
    with pytest.raises(UserError) as refused:
        kdbench.sweep(**wrong)
    assert str(refused.value).startswith(why)
    assert "--" not in str(refused.value)


def test_files_and_methods_exclude_each_other(place):
    with pytest.raises(ArgumentError, match=r"^`methods` and `seeds`: the benchmark files say that"):
        kdbench.sweep("bench.yaml", methods="none", seeds="0")


def test_broken_records_are_logged(place, caplog, capsys):
    broken = place / "results/records/digits/digits-gfl/none-seed0-0123456789ab.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    assert kdbench.leaderboard("digits").empty
    with pytest.raises(UserError, match="no results"):
        kdbench.compare("none", "mimic")
    messages = [entry.getMessage() for entry in caplog.records if entry.name == "kdbench"]
    assert [message.partition(":")[0] for message in messages] == [
        "broken record results/records/digits/digits-gfl/none-seed0-0123456789ab.json"
    ] * 2
    assert main(["compare", "none", "mimic"]) == 2
    assert messages[0] in capsys.readouterr().err.splitlines()

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kdbench.dataset_cards import METRICS
from kdbench.openmmlab.checks.rehearsal import amount
from kdbench.openmmlab.complexity import reason
from kdbench.runs.plan import plan
from kdbench.runs.progress import span
from kdbench.runs.provenance import host_class, metrics_of, record_of, versions
from kdbench.runs.request import Request


@pytest.fixture
def plain(small_digits):
    return plan(Request("none", "digits", data_root=small_digits)).plain


def test_a_done_record(plain, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/kdbench", "run", "--method", "mimic[weight=2]"])
    record = record_of(plain, "AP50", Path("runs/x"), curve=[{"iteration": 4, "AP50": 0.25}])
    assert (record.status, record.kind, record.score, record.device) == ("done", "cell", 0.25, "cpu")
    assert record.made.command == "kdbench run --method 'mimic[weight=2]'"
    assert record.made.clock.endswith("+00:00")
    assert record.versions["torch"].startswith("torch ")


def test_a_failed_record_has_its_reason_and_no_metrics(plain):
    record = record_of(plain, "AP50", Path("runs/x"), reason="loss became nan at iteration 3")
    assert (record.status, record.metrics, record.score) == ("failed", None, None)


def test_records_of_one_spec_differ_in_what_was_made_alone(plain):
    first, second = (record_of(plain, "AP50", Path(at), reason="x") for at in ("a", "b"))
    assert first.model_dump(exclude={"made"}) == second.model_dump(exclude={"made"})


def test_the_best_evaluation_is_the_first_of_equals():
    curve = [{"iteration": 1, "AP50": 0.5}, {"iteration": 2, "AP50": 0.5}, {"iteration": 3, "AP50": 0.4}]
    found = metrics_of(curve, METRICS["AP50"])
    assert found.last == {"AP50": 0.4}
    assert found.best == {"iteration": 1, "AP50": 0.5}


def test_the_packages_are_looked_at_once_in_a_process(plain, monkeypatch):
    versions()["torch"] = "changed by who got it"
    monkeypatch.setattr("importlib.metadata.packages_distributions", None)
    record = record_of(plain, "AP50", Path("runs/x"), reason="x")
    assert record.versions["torch"].startswith("torch ")


def test_versions_and_host_name_no_machine():
    assert {"python", "kdbench", "torch", "mmengine", "mmdet"} <= versions().keys()
    import platform

    assert platform.node() not in host_class() or not platform.node()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (307, "5 min 07 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_spans(seconds, text):
    assert span(seconds) == text


def test_amounts():
    assert [amount(n) for n in (206_169, 41_000_000, 134_500_000_000)] == ["0.206 M", "41 M", "134 G"]


def test_the_reason_of_an_error_is_one_line():
    assert reason(KeyError("invalid\n depth")) == r"KeyError: 'invalid\n depth'"
    assert reason(ValueError("two\nlines")) == "ValueError: two lines"
    with pytest.raises(AssertionError) as caught:
        exec(compile("def f(x):\n    assert x\nf(0)", "net.py", "exec"))
    assert reason(caught.value).startswith("AssertionError in net.py, line 2: ")

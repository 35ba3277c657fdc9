"""Records made by hand."""

import hashlib

from kdbench.errors import UserError
from kdbench.results.leaderboard import frame_of, rankings
from kdbench.results.query import query
from kdbench.results.record import Record
from kdbench.selectors import parse
from kdbench.specs import digest, unlabelled

TEACHER = hashlib.sha256(b"teacher").hexdigest()
PLAIN = "none"
BASE = {0: 0.50, 1: 0.52, 2: 0.54}
"""Scores of plain students, by seed."""
TOGETHER = "0" * 12
"""Names the trainings that were timed in turns."""
MADE = {"clock": "2024-05-01T12:00:00+00:00", "path": "out/run", "command": "kdbench run"}


def _options(selector):
    """Options as the selector gives them; none where a stranger's is no selector."""
    try:
        return parse(selector)[1]
    except UserError:
        return {}


def cell(selector="mimic", score=0.5, seed=0, *, dataset="digits", pair="tiny", schedule="default", **more):
    """A record: ``more`` goes to the spec when the spec has such a key, else to the record.

    The spec's class of device is ``asked``, the record's device ``device``.
    """
    method = selector.partition("[")[0]
    iterations, described = more.pop("iterations", 100), more.pop("described", {})
    spec = {
        "method": method,
        "options": _options(selector),
        "selector": selector,
        "revision": 1,
        "dataset": dataset,
        "data": "0" * 64,
        "pair": {"name": pair, "schedule": {"iterations": iterations, "lr": 0.01}, **described},
        "seed": seed,
        "schedule": schedule,
        "teacher": None if method == "none" else TEACHER,
        "precision": "fp32",
        "device": more.pop("asked", "cpu"),
        "processes": 1,
    }
    spec.update(
        {key: more.pop(key) for key in list(more) if key in spec and key not in ("teacher", "device")}
    )
    spec["teacher"] = more.pop("asks_for", spec["teacher"])
    metric = more.pop("metric", "AP50")
    cost = {
        "seconds_per_iteration": more.pop("seconds", 0.1),
        "peak_memory_mib": 300.0,
        "timed_with": TOGETHER,
    }
    value = more.pop("teacher_value", 0.8)
    failed = more.get("status", "done") != "done"
    info = {"identity": spec["teacher"], "config": "t.py", "weights_sha256": "w", "value": value}
    fields = {
        "kind": "cell",
        "identity": digest(unlabelled(spec)),
        "spec": spec,
        "status": "done",
        "reason": "NaN at iteration 7 in loss_cls" if failed else None,
        "metrics": {"last": {metric: score}, "best": {metric: score, "iteration": 100}},
        "metric": metric,
        "teacher": info if spec["teacher"] else None,
        "cost": cost,
        "curve": [{"iteration": 100, metric: score}],
        "versions": {"kdbench": "0.1.0"},
        "plugin": "kdbench 0.1.0",
        "device": "cpu",
        "host_class": "x86_64, 2 cores",
        "made": MADE,
    }
    return Record.model_validate({**fields, **more})


def cells(selector, scores, **more):
    """One record a seed, from a dict seed -> score."""
    return [cell(selector, score, seed, **more) for seed, score in scores.items()]


def teacher(score=0.8, **more):
    """A teacher's own record."""
    spec = {"dataset": "digits", "model": "t.py", "seed": 0, "schedule": "default"}
    base = cell().model_dump()
    base |= {"kind": "teacher", "identity": digest(spec), "spec": spec, "teacher": None}
    return Record.model_validate({**base, "metrics": {"last": {"AP50": score}}, **more})


def staged_teacher(base, score):
    """The record of a teacher that went through a further stage."""
    fields = teacher(score).model_dump()
    spec = {**fields["spec"], "base": base.identity, "stage": {"name": "quantized"}}
    return Record.model_validate({**fields, "identity": digest(spec), "spec": spec})


def frames(targets, records, **choice):
    """Name -> frame of what a query of leaderboards gives."""
    return {name: frame_of(board) for name, board in query(targets, records, **choice).items()}


def leaderboard(records, dataset="digits"):
    """One frame of the rankings of a dataset."""
    return frame_of(rankings(record for record in records if record.dataset == dataset))


def row(frame, method):
    """The one row of a method in a frame."""
    found = frame[frame["method"] == method]
    assert len(found) == 1
    return found.iloc[0]

"""Which method works with which detector: the table of the guide, asked of small models of each."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from one_stage import ONE_STAGE
from query_models import QUERY
from small_bench import family_of

from kdbench.distill.randomness import seeded
from kdbench.errors import UserError
from kdbench.plugins import make_method

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "data.md"
BESIDE = ("retinanet", "gfl", "fcos")
"""Heads that the other tests of this room try."""
ASKED = (*ONE_STAGE, *QUERY, "cascade")


def table() -> dict[str, dict[str, str]]:
    """Detector -> method -> yes or no, as the guide says."""
    lines = [line.strip("| \n").split(" | ") for line in GUIDE.read_text().splitlines() if line[:2] == "| "]
    start = next(place for place, cells in enumerate(lines) if cells[0] == "detector")
    methods, found = lines[start][1:], {}
    for name, *cells in lines[start + 2 :]:
        if set(cells) <= {"yes", "no"}:
            found[name.lower()] = dict(zip(methods, cells, strict=True))
    return found


@cache
def seen(bench: Any, kind: str) -> Any:
    """A training forward of a small student, whatever is captured."""
    from kdbench.openmmlab.captures.families import recording

    student = bench.subject(kind).build().train()
    inputs, samples = bench.probe(kind).batch(student)
    with seeded("test"), recording(student) as raw:
        student(inputs, samples, mode="loss")
    return student, inputs, samples, raw


def outcome(bench: Any, kind: str, selector: str) -> str:
    """What both models give for a method: ``yes``, or why it is refused."""
    from kdbench.openmmlab.captures.families import captures_of
    from kdbench.openmmlab.checks.preflight import check_family

    try:
        names = check_family(make_method(*bench.card(selector)), family_of(kind))
        student, inputs, samples, raw = seen(bench, kind)
        captures_of(student, raw, names)
        bench.teacher(kind).captures(inputs, samples, student, raw, names)
    except UserError as refused:
        return str(refused)
    return "yes"


def test_the_guide_has_every_detector():
    assert set(table()) == {*ASKED, *BESIDE}


@pytest.mark.parametrize("kind", ASKED)
def test_the_table_says_what_works(bench, kind):
    for method, says in table()[kind].items():
        told = outcome(bench, kind, method)
        assert (told == "yes") == (says == "yes"), f"{method} on {kind}: {told}"
        assert told == "yes" or told.endswith("."), told


@pytest.mark.parametrize(
    ("kind", "selector", "why"),
    [
        ("vfnet", "chen", "cannot see what a VFNetHead is trained on"),
        ("tood", "pkd", "changes how it is trained with the epoch"),
        ("yolov3", "hinton", "gives classes, boxes and objectness in one map a level"),
        ("yolov3", "pkd", "the maps of a YOLOV3 come coarsest first"),
        ("yolov3", "fitnets[hint=backbone]", "yes"),
    ],
)
def test_a_refusal_says_why(bench, kind, selector, why):
    assert why in outcome(bench, kind, selector)


def test_a_teacher_that_gives_probabilities(bench):
    """TOOD cannot be a student, but its maps can teach one; its class outputs cannot."""
    from kdbench.openmmlab.models.building import build_model
    from kdbench.openmmlab.training.distiller import Teacher

    subject = bench.subject("tood", "teacher")
    teacher = Teacher(build_model(subject.config(), subject.dataset, seed=0))
    student, inputs, samples, raw = seen(bench, "atss")
    assert teacher.captures(inputs, samples, student, raw, frozenset({"neck"}))["neck"]
    with pytest.raises(UserError, match="a TOODHead gives probabilities, not class logits"):
        teacher.captures(inputs, samples, student, raw, frozenset({"logits"}))


def test_ssd_is_evaluated(bench, tmp_path):
    """mmdet's head lacks an attribute that its prediction reads."""
    from kdbench.openmmlab.students import evaluate

    subject = bench.subject("ssd")
    assert "AP50" in evaluate(subject.build(), subject, bench.place(tmp_path))

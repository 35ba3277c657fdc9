"""``kdbench tune``: a real study of tiny trainings, and what is refused."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from kdbench.openmmlab.data import loaders as data
from kdbench.selectors import parse

TRIALS = 2


@pytest.fixture
def place(tmp_path, monkeypatch, small_digits):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    return tmp_path


def test_a_study(place, kdbench, monkeypatch):
    """Teacher, plain student and two trials of 4 iterations: about 12 s."""
    read = []
    items_of = data.items

    def items(dataset, split, folder):
        found = items_of(dataset, split, folder)
        read.append([item.name for item in found])
        return found

    monkeypatch.setattr(data, "items", items)
    command = ("tune", "hinton", "--dataset", "digits", "--pair", "digits-gfl", "--schedule", "smoke")
    done = kdbench(*command, "--trials", str(TRIALS))
    assert done.code == 0, done.err
    train, validation = (set(names) for names in sorted({tuple(n) for n in read}, key=len, reverse=True))
    assert (len(train), len(validation)) == (9, 3)
    assert train | validation == {f"train_{number:04d}" for number in range(12)}

    study = json.loads(next(Path("results/tuning").rglob("*.json")).read_text())
    assert [trial["status"] for trial in study["trials"]] == ["done"] * TRIALS
    assert study["trials"][0]["selector"] == "hinton"
    assert set(study["trials"][1]["chosen"]) == {
        "temperature",
        "weight",
        "hard",
        "matching",
        "normaliser",
        "standardise",
    }
    assert all(0 <= trial["value"] <= 1 and trial["seconds"] > 0 for trial in study["trials"])
    assert not Path("results/records").exists()

    chosen = re.search(r"^chosen +(.+)$", done.out, re.MULTILINE)[1]
    assert parse(chosen)[0] == "hinton"
    sweep = shlex.split(re.search(r"^sweep +kdbench (.+)$", done.out, re.MULTILINE)[1])
    planned = kdbench(*sweep, "--dry-run")
    assert planned.code == 0, planned.err
    assert chosen in planned.out

    again = kdbench(*command, "--trials", str(TRIALS), "--json")
    assert again.code == 0
    assert json.loads(again.out) == study
    assert "iterations" not in again.err, "nothing was trained"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none",), "no options to tune"),
        (("mimic[wieght=2]",), "Did you mean 'weight'"),
        (("hinton", "--pair", "camvid-psp"), "pair"),
        (("hinton", "--trials", "0"), "--trials"),
        (("mimic", "--pair", "digits-gfl"), "Pairs of digits that work: digits-faster-rcnn"),
        (
            (
                "hinton[weight=1,temperature=2,hard=1,normaliser=positions,matching=false,standardise=false]",
                "--pair",
                "digits-gfl",
            ),
            "nothing to search",
        ),
        (("hinton", "--device", "tpu"), "use cpu or the type of an accelerator"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes(place, kdbench, arguments, message):
    done = kdbench("tune", *arguments[:1], "--dataset", "digits", "--trials", "2", *arguments[1:])
    assert done.code == 2
    assert message in done.err.splitlines()[-1]
    assert done.err.splitlines()[-1].startswith("error: ")
    assert not Path("results").exists()


def test_without_optuna(place, kdbench, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = kdbench("tune", "hinton", "--dataset", "digits", "--trials", "2")
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "error: `kdbench tune` needs Optuna: install it with `pip install 'kdbench[tune]'`.\n"
    )


def test_a_teacher_that_cannot_be_trained(place, kdbench, monkeypatch):
    from kdbench.openmmlab import students

    def broken(*_arguments):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(students, "train_alone", broken)
    done = kdbench("tune", "hinton", "--dataset", "digits", "--trials", "2", "--schedule", "smoke")
    assert done.code == 1
    assert "failed: teacher: RuntimeError: no such operator" in done.err

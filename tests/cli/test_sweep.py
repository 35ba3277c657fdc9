"""`kdbench sweep` and `kdbench status`, with a real smoke training and without."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from kdbench.cli import main
from kdbench.cli.liveview import picture, summary, view_of
from kdbench.execution.claims_owner import Owner
from kdbench.execution.status import Snapshot, best_of
from kdbench.execution.worker_progress import Progress
from kdbench.results.store import Store

cells = runpy.run_path(str(Path(__file__).parents[1] / "results" / "samples.py"))["cells"]
SWEEP = (
    "sweep",
    "--methods",
    "hinton",
    "--datasets",
    "digits",
    "--pairs",
    "digits-gfl",
    "--schedule",
    "smoke",
)


@pytest.fixture
def place(tmp_path, small_digits, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def test_the_plan(place, kdbench):
    done = kdbench(
        *SWEEP[:2], "hinton[temperature=1,2],quantization-mimic", *SWEEP[3:5], "--dry-run", "--seeds", "0,2"
    )
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "8 cells: 8 to run"
    assert "  digits-faster-rcnn  hinton[temperature=1]: 2 to run" in lines
    packs = [line for line in lines if line.endswith("time unknown)")]
    assert packs == [
        f"  digits-faster-rcnn, seed {seed}: {methods} ({why}; time unknown)"
        for seed in (0, 2)
        for methods, why in (
            ("none hinton[temperature=1] hinton", "one teacher"),
            ("quantization-mimic", "apart: quantized teacher"),
        )
    ]
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "nothing to sweep"),
        (("--methods", "mimic"), "nothing to sweep"),
        (("--methods", "mimc", "--datasets", "digits"), "Did you mean 'mimic'?"),
        (("--methods", "mimic", "--datasets", "digits,digits"), "more than once"),
        (("--methods", "mimic,mimic", "--datasets", "digits"), "'mimic' stands there more than once"),
        (("--methods", "mimic", "--datasets", "digits", "--pairs", "bccd-gfl"), "which is not swept"),
        (("--methods", "mimic", "--datasets", "digits", "--seeds", "2..0"), "--seeds 2..0"),
        (("--methods", "mimic", "--datasets", "digits", "--seeds", "-1"), "--seeds -1"),
        (("--methods", "hinton", "--datasets", "digits", "--executor", "locl"), "Did you mean 'local'?"),
    ],
)
def test_a_mistake_is_told_in_one_line(place, kdbench, arguments, why):
    done = kdbench("sweep", *arguments)
    assert done.code == 2
    assert why in done.err.splitlines()[-1]


def test_no_sweep_to_show(place, kdbench):
    assert "no sweep was started" in kdbench("status").err


def test_the_worker_is_not_in_the_help(kdbench):
    assert "worker" not in kdbench("--help").out
    assert "exit code" in kdbench("worker", "--help").out


@pytest.mark.slow
def test_a_real_sweep_and_again_from_the_store(place, kdbench):
    first = kdbench(*SWEEP, "--device", "cpu", "--slots", "1")
    assert first.code == 0, first.err
    assert re.search(r"^2 of 2 cells done, 0 failed, took ", first.err, re.MULTILINE)
    records, _ = Store(place / "results").records()
    assert sorted(record.selector for record in records) == ["hinton", "none", "teacher"]
    assert all(record.done for record in records)
    status = json.loads(kdbench("status", "--json").out)
    assert (status["total"], status["done"], status["running"], status["failed"]) == (2, 2, 0, [])
    again = kdbench(*SWEEP)
    assert again.code == 0
    assert "2 of 2 cells done, 0 failed, took 0 s" in again.err
    (command,) = [text for text in manifest(place)["commands"].values() if "hinton" in text]
    by_hand = kdbench(*shlex.split(command)[1:])
    assert by_hand.code == 0
    assert "hinton, seed 0: done already" in by_hand.err


def manifest(place: Path) -> dict:
    return json.loads((place / "out" / "runs" / "sweep.json").read_text())


SNAPSHOT = Snapshot(
    total=9,
    done=3,
    failed=1,
    running=2,
    workers=(
        Progress(
            pack="p",
            title="digits-gfl, seed 0",
            cells={},
            owner=Owner.here(),
            training="teacher",
            iteration=7,
            iterations=20,
            seconds_left=65.0,
            metrics={"AP50": 0.25},
        ),
    ),
    seconds_left=3700.0,
    best=("digits-gfl: hinton +3.0 (2 seeds)",),
)


def test_the_picture_of_a_sweep():
    screen = Console(width=120)
    with screen.capture() as shown:
        screen.print(picture(SNAPSHOT))
    assert [re.sub(r"\s{2,}", "  ", line.strip()) for line in shown.get().splitlines()] == [
        "9 cells: 3 done, 2 running, 3 to run, 1 failed, ETA 1 h 01 min",
        "digits-gfl, seed 0  teacher  7/20  ETA 1 min 05 s AP50 0.250",
        "best so far: digits-gfl: hinton +3.0 (2 seeds)",
    ]


def test_without_a_terminal_there_are_plain_lines():
    screen = Console(width=40, force_terminal=False)
    with screen.capture() as shown, view_of({}, screen) as view:
        view.show(SNAPSHOT)
        view.show(SNAPSHOT)
    assert shown.get() == summary(SNAPSHOT) + "\n"


def test_the_best_is_by_the_mean_difference_to_the_plain_student_over_shared_seeds():
    records = [*cells("none", {0: 0.5, 1: 0.6}), *cells("mimic", {0: 0.52, 1: 0.66})]
    records += [*cells("hinton", {0: 0.53, 2: 0.99}), *cells("none", {0: 0.5}, pair="other")]
    assert best_of(records) == ("tiny: mimic +4.0 (2 seeds)",)


def test_the_command_line_returns_130_when_it_was_stopped(place, monkeypatch):
    monkeypatch.setattr("kdbench.execution.sweep.Sweep.run", lambda self: False)
    assert main([*SWEEP, "--device", "cpu"]) == 130

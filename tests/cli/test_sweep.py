"""`kdbench sweep` and `kdbench status`, with a real smoke training and without."""

from __future__ import annotations

import json
import os
import re
import runpy
import shlex
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from kdbench.cli import main
from kdbench.cli.progress import picture, view_of
from kdbench.results.store import Store
from kdbench.runs.claims import Claims
from kdbench.runs.claims_owner import Owner
from kdbench.runs.plan import plan
from kdbench.runs.progress import PackProgress, WorkerConsole
from kdbench.runs.provenance import record_of
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.runs.status import Manifest, Snapshot, SweepReport, best_of, summary
from kdbench.runs.sweep_state import Settled

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
        *SWEEP[:2], "hinton[temperature=2,3],quantization-mimic", *SWEEP[3:5], "--dry-run", "--seeds", "0,2"
    )
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "8 cells: 8 to run"
    assert "  digits-faster-rcnn  hinton[temperature=2]: 2 to run" in lines
    packs = [line for line in lines if line.startswith("  ") and line.endswith("time unknown)")]
    assert packs == [
        f"  digits-faster-rcnn, seed {seed}: {methods} ({why}; time unknown)"
        for seed in (0, 2)
        for methods, why in (
            ("none hinton[temperature=2] hinton[temperature=3]", "one teacher"),
            ("quantization-mimic", "apart: quantized teacher"),
        )
    ]
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("more", "packs"),
    [
        (
            ("--max-lanes", "2"),
            [
                "none hinton (one teacher, part 1 of 2: at most 2 lanes; time unknown)",
                "fitnets (one teacher, part 2 of 2: at most 2 lanes; time unknown)",
                "hinton[teachers=2] (apart: ensemble of 2 teachers; time unknown)",
            ],
        ),
        (
            ("--no-share-teacher",),
            [
                f"{method} (alone: no teacher is shared; time unknown)"
                for method in ("none", "hinton", "fitnets", "hinton[teachers=2]")
            ],
        ),
    ],
)
def test_the_packs_that_are_asked_for(place, kdbench, more, packs):
    done = kdbench(*SWEEP[:2], "hinton,fitnets,hinton[teachers=2]", *SWEEP[3:], "--dry-run", *more)
    lines = [
        line.strip() for line in done.out.splitlines() if line.startswith("  ") and "time unknown)" in line
    ]
    assert lines == [f"digits-gfl, seed 0: {pack}" for pack in packs]


def test_the_plan_has_the_time_of_cells_and_of_teachers_that_are_not_there(place, kdbench):
    def recorded(spec, iterations: int) -> None:
        cost = {"seconds_per_iteration": 60 / iterations}
        curve = [{"iteration": 1, "AP50": 0.5}]
        Store(place / "results").write(record_of(spec, "AP50", place, curve=curve, cost=cost))

    def total() -> str:
        return kdbench(*SWEEP, "--dry-run").out.splitlines()[-1].removeprefix("one after the other: ")

    planned = plan(Request("hinton", "digits", pair="digits-gfl", schedule="smoke"))
    assert total() == "time unknown, plus training 1 teacher (time unknown)"
    other = planned.cell.model_copy(update={"seed": 9})
    recorded(other, other.pair.schedule.iterations)
    assert total() == "about 2 min 00 s, plus training 1 teacher (time unknown)"
    recorded(planned.teacher, planned.teacher.recipe.iterations)
    assert total() == "about 2 min 00 s, plus training 1 teacher about 1 min 00 s"
    weights = RunSettings(work_dir=place / "out" / "runs").weights(planned.teacher)
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert total() == "about 2 min 00 s"


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
    assert "other code" not in again.err
    (record,) = [record for record in records if record.selector == "hinton"]
    Store(place / "results").write(record.model_copy(update={"code": "0" * 64}))
    assert "hinton: done with other code of the method than today's (--rerun" in kdbench(*SWEEP).err
    (command,) = [text for text in manifest(place)["commands"].values() if "hinton" in text]
    assert record.made.command == command
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
        PackProgress(
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


def item_of(identity: str, method: str = "hinton"):
    """As much of a sweep's cell as a view needs."""
    plan = SimpleNamespace(command=f"kdbench run --method {method} --dataset digits --seed 0")
    return SimpleNamespace(identity=identity, title=f"{method}, seed 0, digits-gfl", plan=plan)


def test_a_failed_cell_shows_its_last_lines_and_the_command_that_runs_it_again():
    screen = Console(width=40, force_terminal=False)
    with screen.capture() as shown, view_of(screen) as view:
        view.settled(Settled(item_of("1"), None, "a NaN"), ["[the last]", "of many lines"])
        view.settled(Settled(item_of("2", "mimic"), cells("mimic", {0: 0.5})[0]), [])
    assert shown.get().splitlines() == [
        "FAILED hinton, seed 0, digits-gfl: a NaN",
        "  | [the last]",
        "  | of many lines",
        "  by hand: kdbench run --method hinton --dataset digits --seed 0",
        "mimic, seed 0, digits-gfl: AP50 0.500",
    ]


def test_a_failure_of_another_sweep_is_shown_from_another_shell_with_what_runs_now(place, kdbench):
    """A worker of this process, a failed record, a cell that waits, and one that was refused."""
    planned = plan(Request("hinton", "digits", pair="digits-gfl", schedule="smoke"))
    running, failed = planned.plain, planned.cell
    waiting, refused = (failed.model_copy(update={"seed": seed}) for seed in (1, 2))
    titles = {
        spec.identity(): f"{spec.method}, seed {spec.seed}" for spec in (running, failed, waiting, refused)
    }
    commands = {identity: f"kdbench run {title}" for identity, title in titles.items()}
    Manifest(results=Path("results"), cells=titles, commands=commands).write(Path("out/runs"))
    Store(Path("results")).write(record_of(failed, "AP50", place, reason="loss became nan"))
    folder = Path("out/runs/packs/p")
    folder.mkdir(parents=True)
    with Claims(Path("results")) as claims:
        claims.take(running.identity())
        console = WorkerConsole(
            folder,
            PackProgress(
                pack="p", title="digits-gfl, seed 0", cells={running.identity(): "x"}, owner=claims.owner
            ),
        )
        SweepReport(
            owner=claims.owner,
            ends=time.time() + 200,
            refused={refused.identity(): "not so", failed.identity(): "before it was retried"},
        ).write(Path("out/runs"))
        with console.stage("plain student, seed 0", 20) as training:
            training.evaluated(7, {"AP50": 0.25})
            console.publish()
        during = kdbench("status").out
    os.utime(Path("out/runs/sweep-report.json"), (1, 1))
    after = kdbench("status").out
    assert during.splitlines()[0].strip() == (
        "4 cells: 0 done, 1 running, 1 to run, 2 failed, ETA 3 min 20 s"
    )
    assert re.search(r"^digits-gfl, seed 0\s+plain student, seed 0\s+7/20\s+AP50 0.250", during, re.MULTILINE)
    assert during.splitlines()[-4:] == [
        "FAILED hinton, seed 2: not so",
        "  by hand: kdbench run hinton, seed 2",
        "FAILED hinton, seed 0: loss became nan",
        "  by hand: kdbench run hinton, seed 0",
    ]
    assert after.splitlines()[0].strip() == "4 cells: 0 done, 0 running, 2 to run, 2 failed"


def test_without_a_terminal_there_are_plain_lines():
    screen = Console(width=40, force_terminal=False)
    with screen.capture() as shown, view_of(screen) as view:
        view.show(SNAPSHOT)
        view.show(SNAPSHOT)
    assert shown.get() == summary(SNAPSHOT) + "\n"


def test_the_best_is_by_the_mean_difference_to_the_plain_student_over_shared_seeds():
    records = [*cells("none", {0: 0.5, 1: 0.6}), *cells("mimic", {0: 0.52, 1: 0.66})]
    records += [*cells("hinton", {0: 0.53, 2: 0.99}), *cells("none", {0: 0.5}, pair="other")]
    assert best_of(records) == ("tiny: mimic +4.0 (2 seeds)",)
    smoke = [*cells("none", {0: 0.5}, schedule="smoke"), *cells("mimic", {0: 0.6}, schedule="smoke")]
    assert best_of(smoke) == ()


def test_the_command_line_returns_130_when_it_was_stopped(place, monkeypatch):
    monkeypatch.setattr("kdbench.runs.sweep.Sweep.run", lambda self: False)
    assert main([*SWEEP, "--device", "cpu"]) == 130


def test_where_workers_are_elsewhere_the_device_must_be_given(place, kdbench):
    for executor in ("ray", "slurm[partition=low]"):
        done = kdbench(*SWEEP, "--executor", executor, "--dry-run")
        assert done.code == 2
        assert (
            "--executor and --device: name the device that its workers have as well, cuda or cpu." in done.err
        )
    assert kdbench(*SWEEP, "--executor", "slurm[partition=low]", "--device", "cuda", "--dry-run").code == 0

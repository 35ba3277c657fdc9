"""benchmarks/gpu/measure.py: parts, timeouts, exit code and archive, with instant commands."""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import lacking
import measure
import parts
import pytest
from parts import PARTS, Part, Setup

GOOD = [sys.executable, "-c", "print('measured', 6 * 7)"]
BAD = [sys.executable, "-c", "raise SystemExit(3)"]
SLOW = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]


def made(name: str, *commands: list[str], seconds: int = 60) -> Part:
    def give(setup: Setup) -> list[list[str]]:
        """Try."""
        return list(commands)

    return Part(name, seconds, give)


@pytest.fixture
def setup(tmp_path) -> Setup:
    output = tmp_path / "gpu"
    output.mkdir()
    return Setup("cpu", tmp_path / "data", output, True)


def test_the_parts_fit_into_eight_minutes():
    assert sum(part.seconds for part in PARTS) <= 8 * 60
    assert [part.name for part in PARTS] == ["doctor", "tests", "steps", "levers", "throughput", "sweep"]


def test_a_part_that_fails_is_told_and_the_others_go_on(setup, capsys):
    outcomes = measure.measure([made("one", GOOD, BAD, GOOD), made("two", GOOD)], setup, 5)
    assert [outcome.said for outcome in outcomes] == ["command 2 of 3: exit code 3", "ok"]
    log = (setup.output / "measure.log").read_text()
    assert log.count("measured 42") == capsys.readouterr().out.count("measured 42") == 3
    assert "| one | command 2 of 3: exit code 3 |" in (setup.output / "summary.md").read_text()


def test_a_part_that_takes_too_long_is_stopped(setup, monkeypatch):
    monkeypatch.setattr(measure, "GRACE", 1.0)
    (outcome,) = measure.measure([made("slow", SLOW, GOOD, seconds=6)], setup, 0.1)
    assert outcome.said.startswith("command 1 of 2: stopped after 3 s")
    assert "measured 42" in (setup.output / "measure.log").read_text()


def test_a_command_that_does_not_stop_is_killed(setup, monkeypatch):
    monkeypatch.setattr(measure, "GRACE", 0.5)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    with (setup.output / "log").open("w") as log:
        assert measure.run([sys.executable, "-c", deaf], 2.0, log) == "stopped after 2 s"


def test_the_archive_has_records_and_logs_and_no_weights(setup, monkeypatch, capsys):
    (setup.output / "runs").mkdir()
    (setup.output / "runs" / "student.pth").write_bytes(b"weights")
    (setup.output / "runs" / "worker.log").write_text("trained")
    monkeypatch.setattr(measure, "PARTS", (made("one", GOOD), made("two", BAD)))
    arguments = ["--output", str(setup.output), "--device", "cpu", "--data", str(setup.data)]
    monkeypatch.setattr(sys, "argv", ["measure.py", *arguments])
    assert measure.main() == 1
    assert "archive   " in capsys.readouterr().out
    with tarfile.open(setup.output.with_name("gpu.tar.gz")) as file:
        assert set(file.getnames()) == {"gpu/measure.log", "gpu/summary.md", "gpu/runs/worker.log"}
    monkeypatch.setattr(sys, "argv", ["measure.py", *arguments, "--only", "one"])
    assert measure.main() == 0


@pytest.mark.parametrize("quick", [True, False])
def test_every_command_names_files_that_are_there(setup, quick):
    whole = Setup("cuda", setup.data, setup.output, quick)
    for part in PARTS:
        assert part.commands.__doc__
        for command in part.commands(whole):
            assert command[0] == sys.executable
            files = [word for word in command[1:] if word.endswith((".py", ".yaml"))]
            assert all(Path(word).is_file() for word in files)


def test_the_sweeps_of_a_gpu_can_be_planned(tmp_path, shared_data, capsys):
    lacking.extra("kdbench_pkd", "pip install -e plugins/kdbench-cwd -e plugins/kdbench-pkd")
    from kdbench.cli import main

    for name, folder in (("bccd", "BCCD"), ("camvid", "CamVid")):
        (tmp_path / name).symlink_to(shared_data / folder)
    sweep, _ = parts.sweep(Setup("cpu", tmp_path, tmp_path / "out", False))
    assert main([*sweep[3:], "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("15 cells: 15 to run")

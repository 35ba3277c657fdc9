"""The commands of `tox run -e demo`, on the smoke schedule and on the committed records."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import lacking
import pytest

from kdbench import leaderboard
from kdbench.benchmarks import load

ROOT = Path(__file__).parents[2]
FILE = ROOT / "benchmarks" / "demo.yaml"
RECORDS = Path("records", "digits")

lacking.extra("kdbench_pkd", "pip install -e plugins/kdbench-pkd")
lacking.extra("kdbench_cwd", "pip install -e plugins/kdbench-cwd")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder as the demo's sweep leaves it: the committed records of its cells."""
    (pair,), (seed,) = load(FILE).pairs, load(FILE).seeds
    for method in ("none", *(entry.method for entry in load(FILE).methods)):
        _copy(tmp_path, f"{pair}/{method}-seed{seed}-*.json")
    _copy(tmp_path, "teachers/*.json")
    return tmp_path


def _copy(folder: Path, pattern: str) -> None:
    found = list((ROOT / "results" / RECORDS).glob(pattern))
    assert found
    for file in found:
        copy = folder / "results" / RECORDS / file.parent.name / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def commands(folder: Path) -> list[list[str]]:
    """The arguments of the demo's commands, with another folder for what they write."""
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    lines = tox["testenv:demo"]["commands"].replace("{tox_root}/out/demo", str(folder)).strip().splitlines()
    return [shlex.split(line.partition(" -- ")[2]) for line in lines]


def test_the_demo_runs_what_the_committed_board_calls_better():
    demo = load(FILE)
    board = leaderboard(demo.dataset, results=ROOT / "results")
    better = board[(board["pair"] == demo.pairs[0]) & (board["verdict"] == "better")]
    assert {entry.method for entry in demo.methods} <= set(better["method"])


@pytest.mark.slow
def test_the_sweep_and_the_board(kdbench, tmp_path, small_digits, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    sweep, board, _ = commands(tmp_path)
    done = kdbench(*sweep[1:], "--schedule", "smoke")
    assert done.code == 0, done.err
    assert "3 of 3 cells done, 0 failed" in done.err
    ranked = kdbench(*board[1:])
    assert ranked.code == 0, ranked.err
    assert ranked.out.startswith("digits: digits-faster-rcnn (not run)")  # smoke is never ranked


def test_the_words(folder):
    *_, words = commands(folder)
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "3 small students" in done.stdout
    assert re.search(r"^  none    AP50 51\.3\n  pkd     AP50 69\.4   \+18\.2$", done.stdout, re.MULTILINE)
    assert "one seed proves nothing" in done.stdout
    assert re.search(r"^  pkd     \+15\.8 over 3 seeds: better$", done.stdout, re.MULTILINE)
    picture = folder / "results" / "leaderboards" / "digits.png"
    assert str(picture) in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_what_to_type_next_can_be_typed(folder, kdbench, monkeypatch):
    monkeypatch.chdir(ROOT)
    *_, words = commands(folder)
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True)
    typed = [shlex.split(line)[1:] for line in re.findall(r"^  (\S*kdbench .*)$", done.stdout, re.MULTILINE)]
    assert [line[0] for line in typed] == ["show", "sweep", "run"]
    assert kdbench(*typed[0]).code == 0
    plan = kdbench(*typed[1], "--dry-run")
    assert plan.code == 0, plan.err
    assert plan.out.startswith("9 cells: 3 done, 6 to run")

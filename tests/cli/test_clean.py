"""`kdbench clean`: what it removes, and what it never does."""

from __future__ import annotations

import os
import time

import pytest

from kdbench.results.store import Store
from kdbench.runs.claims import Claims
from kdbench.runs.provenance import record_of
from kdbench.runs.status import Manifest
from kdbench.runs.waste import OLD

CURVE = [{"iteration": 1, "AP50": 0.5}]


class Runs:
    """Runs as trainings leave them; ``planned`` gives specs."""

    def __init__(self, planned, root):
        self.planned, self.root, self.store = planned, root, Store(root / "results")

    def spec(self, seed):
        return self.planned.cell.model_copy(update={"seed": seed})

    def folder(self, spec, *files):
        folder = self.root / "out" / "runs" / spec.identity()[:16]
        for name in files:
            folder.mkdir(parents=True, exist_ok=True)
            text = "somewhere/iter_2.pth" if name == "last_checkpoint" else "x" * 500_000
            (folder / name).write_text(text)
        return folder

    def record(self, spec, reason=None, store=None):
        curve = [] if reason else CURVE
        (store or self.store).write(record_of(spec, "AP50", self.root, curve=curve, reason=reason))

    def left(self):
        below = (self.root / "out" / "runs").rglob("*")
        return {f"{path.parent.name}/{path.name}" for path in below if path.is_file()}


@pytest.fixture
def runs(planned, tmp_path):
    """A done run and its teacher, with nothing that is not needed."""
    made = Runs(planned, tmp_path)
    for spec in (made.spec(0), planned.teacher):
        made.folder(spec, "student.pth")
        made.record(spec)
    return made


def test_there_is_nothing_to_remove(runs, kdbench):
    before = runs.left()
    done = kdbench("clean", "--yes")
    assert (done.code, done.out) == (0, "nothing to remove: everything is needed\n")
    assert runs.left() == before


def test_what_no_record_needs_is_listed_and_then_removed(runs, kdbench, tmp_path):
    needed = runs.left()
    finished = runs.folder(runs.spec(0), "last_checkpoint", "iter_1.pth", "iter_2.pth")
    broken_off = runs.folder(runs.spec(1), "student.py", "some.log")
    draft = tmp_path / "results" / "records" / f".{'0' * 32}.tmp"
    draft.write_text("x" * 100_000)
    os.utime(draft, (0, time.time() - OLD - 10))
    everything = runs.left()

    *lines, last = kdbench("clean").out.splitlines()
    here = os.path.relpath
    assert sorted(lines) == [
        f"      0.0 MB  {here(finished)}/last_checkpoint: checkpoint of a run that is done",
        f"      0.1 MB  {here(draft)}: draft that was never completed",
        f"      0.5 MB  {here(finished)}/iter_1.pth: checkpoint of a run that is done",
        f"      0.5 MB  {here(finished)}/iter_2.pth: checkpoint of a run that is done",
        f"      1.0 MB  {here(broken_off)}: run without a record, and without a checkpoint to resume from",
    ]
    assert last == "--yes removes 2.1 MB"
    assert runs.left() == everything

    assert kdbench("clean", "--yes").out.splitlines()[-1] == "removed 2.1 MB"
    assert runs.left() == needed
    assert not broken_off.exists()
    assert not draft.exists()
    assert len(runs.store.records()[0]) == 2


def test_what_a_run_goes_on_from_stays(runs, kdbench, tmp_path):
    interrupted, failed, held, studied, swept, unread = map(runs.spec, range(1, 7))
    runs.folder(interrupted, "last_checkpoint", "iter_2.pth")
    for spec in (failed, held, studied, swept, unread):
        runs.folder(spec, "iter_2.pth")
    runs.record(failed, reason="its worker died")
    runs.record(studied, store=Store(tmp_path / "out" / "runs" / "tuning"))
    runs.folder(studied, "student.pth").joinpath("iter_2.pth").unlink()
    elsewhere = Store(tmp_path / "elsewhere")
    runs.record(swept, reason="a NaN", store=elsewhere)
    Manifest(results=elsewhere.root, cells={}, commands={}).write(tmp_path / "out" / "runs")
    runs.record(unread)
    runs.store.path_of(runs.store.find(unread.identity())).write_text("{")
    (tmp_path / "results" / "records" / f".{'0' * 32}.tmp").touch()  # somebody is writing it
    before = runs.left()
    with Claims(tmp_path / "results") as claims:
        assert claims.take(held.identity())
        assert kdbench("clean", "--yes").out == "nothing to remove: everything is needed\n"
    assert runs.left() == before


def test_without_records_nothing_is_removed(runs, kdbench, tmp_path):
    runs.folder(runs.spec(1), "iter_1.pth")
    done = kdbench("clean", "--yes", "--results", "other")
    assert done.code == 2
    assert done.err == "error: no done records in other: give the results folder that belongs to out/runs.\n"
    assert runs.folder(runs.spec(1)).exists()

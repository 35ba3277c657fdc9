"""A store with records of a newer kdbench: what a sweep, a run and a look at it say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kdbench.results.record import Record
from kdbench.results.store import Store
from kdbench.runs.provenance import record_of
from kdbench.runs.sweep import Sweep

CELLS = ("--methods", "hinton", "--datasets", "digits", "--pairs", "digits-gfl", "--schedule", "smoke")
RUN = ("run", "--method", "hinton", "--dataset", "digits", "--pair", "digits-gfl", "--schedule", "smoke")


def recorded(spec) -> Record:
    return record_of(spec, "AP50", Path("runs"), curve=[{"iteration": 4, "AP50": 0.25}])


def newer(spec) -> Path:
    """A record as a newer kdbench may have left it."""
    path = Store(Path("results")).write(recorded(spec))
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 3}))
    return path


def refused(done, path: Path) -> None:
    assert done.code == 2
    assert done.err.splitlines()[-1] == (
        f"error: record {path}: written by a newer kdbench (schema_version 3, known here is 2): update kdbench "
        "to use it (left as it is), or choose another results folder."
    )


@pytest.mark.parametrize("part", ["cell", "plain", "teacher"])
@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--retry-failed",)])
def test_a_sweep_of_its_cell_or_of_what_needs_it_does_not_begin(planned, kdbench, part, more):
    path = newer(getattr(planned, part))
    before = path.read_bytes()
    refused(kdbench("sweep", *CELLS, *more), path)
    assert path.read_bytes() == before
    assert not Path("out").exists()
    assert [file for file in Path("results").rglob("*") if file.is_file()] == [path]


def test_a_sweep_of_other_cells_goes_on_and_tells_it(planned, kdbench):
    path = newer(planned.cell.model_copy(update={"seed": 7}))
    done = kdbench("sweep", *CELLS, "--dry-run")
    assert (done.code, done.out.splitlines()[0]) == (0, "2 cells: 2 to run")
    assert f"record {path}: written by a newer kdbench" in done.err
    assert "broken" not in done.err


@pytest.mark.parametrize("part", ["cell", "plain", "teacher"])
def test_a_run_does_not_begin(planned, kdbench, part):
    path = newer(getattr(planned, part))
    refused(kdbench(*RUN, "--device", "cpu"), path)
    assert not list(Path().glob("out/runs/*"))


def test_one_that_comes_while_a_sweep_runs_stops_it(planned, kdbench, monkeypatch):
    """As if a newer sweep on the same store had just done the cell."""
    submit = Sweep._submit

    def meanwhile(self: Sweep, claims) -> None:
        newer(planned.cell)
        submit(self, claims)

    monkeypatch.setattr(Sweep, "_submit", meanwhile)
    done = kdbench("sweep", *CELLS, "--device", "cpu", "--slots", "1")
    refused(done, Store(Path("results")).path_of(recorded(planned.cell)))


def test_status_and_leaderboard_tell_it(planned, kdbench, monkeypatch):
    monkeypatch.setattr(Sweep, "run", lambda self: True)
    kdbench("sweep", *CELLS, "--device", "cpu")
    path = newer(planned.cell)
    for command in (("status",), ("leaderboard", "digits")):
        assert f"record {path}: written by a newer kdbench" in kdbench(*command).err

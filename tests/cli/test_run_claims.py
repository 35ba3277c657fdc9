"""`kdbench run` beside another process that is at the same cell."""

from __future__ import annotations

import os
from pathlib import Path

from kdbench.runs.claims import Claims
from kdbench.runs.session import Session

RUN = ("run", "--method", "hinton", "--dataset", "digits", "--pair", "digits-gfl", "--schedule", "smoke")


def test_what_another_is_at_is_not_run(planned, kdbench):
    with Claims(Path("results")) as sweep:
        assert sweep.take(planned.teacher.identity())
        done = kdbench(*RUN, "--device", "cpu")
    assert done.code == 2
    last = done.err.splitlines()[-1]
    assert last.startswith(f"error: teacher, on digits, is run by process {os.getpid()} on ")
    assert "try again when that has ended" in last
    assert not list(Path().glob("out/runs/*"))


def test_while_it_runs_it_holds_the_claims(planned, kdbench, monkeypatch):
    seen = []

    def run(self: Session) -> None:
        others = Claims(Path("results"))
        seen.extend(others.holder(spec.identity()) for spec in (planned.teacher, planned.plain, planned.cell))
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "run", run)
    assert kdbench(*RUN, "--device", "cpu").code == 130
    assert [owner and owner.pid for owner in seen] == [os.getpid()] * 3
    assert Claims(Path("results")).holder(planned.cell.identity()) is None

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from kdbench.cli import main
from kdbench.runs.plan import Plan, plan
from kdbench.runs.request import Request


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def kdbench(capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Runs a command in this process: ``kdbench("list", "methods").out``."""

    def call(*arguments: str) -> Done:
        code = main(arguments)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def planned(tmp_path: Path, small_digits: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a smoke run of hinton on a few digits, in an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    request = Request(method="hinton", dataset="digits", pair="digits-gfl", schedule="smoke")
    return plan(request)

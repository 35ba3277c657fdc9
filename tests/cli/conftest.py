from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest

from kdbench.cli import main


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

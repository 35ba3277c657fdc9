"""Inputs that mean harm, or that an accident makes look like it. Cases are seeded, and each takes a moment."""

from __future__ import annotations

from pathlib import Path

import pytest


class Bomb:
    """An object whose pickle writes a file when it is executed."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path):
    """A file that must not be there when the test ends: a bomb makes it."""
    file = tmp_path / "executed"
    yield file
    assert not file.exists(), "a pickle was executed"


@pytest.fixture
def bomb(mark):
    return Bomb(mark)


@pytest.fixture(scope="session")
def bench(tmp_path_factory):
    """The small models of tests/openmmlab, on a few drawn scenes."""
    from small_bench import Bench

    from kdbench.datasets.digits_files import write
    from kdbench.openmmlab.setup import prepare_libraries

    prepare_libraries("mmdet")
    folder = tmp_path_factory.mktemp("scenes") / "digits"
    write(folder, {"train": 6, "test": 3}, 0)
    return Bench(folder)

"""One bench of small models for all tests of the room."""

from __future__ import annotations

import pytest
from small_bench import Bench

from kdbench.datasets.digits_files import write


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    from kdbench.openmmlab.setup import prepare_libraries

    for library in ("mmdet", "mmseg"):
        prepare_libraries(library)
    folder = tmp_path_factory.mktemp("data") / "digits"
    write(folder, {"train": 6, "test": 3}, 0)
    return Bench(folder)

"""Values computed by the official evaluations."""

from __future__ import annotations

from pathlib import Path

import lacking
import pytest


@pytest.fixture(scope="session")
def oracles(shared_data: Path) -> Path:
    """Folder of reference values, with one folder each for caltech, kitti and widerface."""
    folder = shared_data / "oracles"
    if not folder.is_dir():
        lacking.skip("data", "no oracles in the folder that KDBENCH_TEST_DATA names")
    return folder

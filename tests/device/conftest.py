from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.conformance.bench import SCENES
from kdbench.datasets.digits_files import write


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The few generated scenes of the conformance suite."""
    folder = tmp_path_factory.mktemp("device") / "digits"
    write(folder, SCENES, 0)
    return folder

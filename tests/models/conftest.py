"""Published checkpoints and images to evaluate them on, if available."""

from __future__ import annotations

import os
from pathlib import Path

import lacking
import pytest


@pytest.fixture(scope="session")
def authors_weights() -> Path:
    """Folder of the checkpoints of structured KD's authors on CamVid, below KDBENCH_TEST_WEIGHTS."""
    folder = Path(os.environ.get("KDBENCH_TEST_WEIGHTS", "")) / "skd-cvpr19" / "Camvid"
    if not folder.is_dir():
        lacking.skip("data", "set KDBENCH_TEST_WEIGHTS to the folder with skd-cvpr19")
    return folder.resolve()


@pytest.fixture(scope="session")
def few_images(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with CamVid reduced to the first four images of each list."""
    whole, root = shared_data / "CamVid", tmp_path_factory.mktemp("few")
    folder = root / "camvid"
    folder.mkdir()
    for name in ("train", "val", "test"):
        lines = (whole / f"{name}.txt").read_text().splitlines(keepends=True)
        (folder / f"{name}.txt").write_text("".join(lines[:4]))
        for part in (name, f"{name}annot"):
            (folder / part).symlink_to(whole / part)
    return root

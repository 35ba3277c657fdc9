"""Small datasets on disk, whole, for tests to damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets_support import SIZE, annotation, card, published, write_images
from PIL import Image

from kdbench.dataset_cards import Dataset


@pytest.fixture
def boxes(tmp_path: Path) -> tuple[Dataset, Path]:
    """A detection dataset of five images and its folder, under a data root."""
    folder = tmp_path / "root" / "small"
    write_images(folder)
    for name in "abcde":
        text = annotation(("cat", (1, 1, SIZE[0], SIZE[1])), ("dog", (3, 4, 9, 12)))
        (folder / "labels" / f"{name}.xml").write_text(text)
    return card("detection"), folder


@pytest.fixture
def masks(tmp_path: Path) -> tuple[Dataset, Path]:
    """A segmentation dataset of five images and its folder, under a data root."""
    folder = tmp_path / "root" / "small"
    write_images(folder)
    values = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    values[4:8], values[0] = 1, 255
    for name in "abcde":
        Image.fromarray(values).save(folder / "labels" / f"{name}.png")
    return card("segmentation"), folder


@pytest.fixture
def published_bccd(shared_data: Path) -> Path:
    return published(shared_data / "BCCD")


@pytest.fixture
def published_camvid(shared_data: Path) -> Path:
    return published(shared_data / "CamVid")

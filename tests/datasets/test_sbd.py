"""VOC 2012's masks with SBD's: what is converted, and that no image to judge by gets in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets_support import SIZE
from PIL import Image
from scipy.io import savemat

from kdbench.datasets import sbd
from kdbench.datasets.locate import prepare
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

LISTS = {"train": ("2007_000032",), "val": ("2007_000033",)}
ADDED = ("2008_000002", "2008_000003")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small VOCdevkit and SBD's release, which has masks of VOC's own images too."""
    monkeypatch.setattr(sbd, "ADDED", len(ADDED))
    folder = tmp_path / "source"
    voc, cls = folder / "VOCdevkit" / "VOC2012", folder / "benchmark_RELEASE" / "dataset" / "cls"
    for part in (voc / "JPEGImages", voc / "SegmentationClass", voc / "ImageSets" / "Segmentation", cls):
        part.mkdir(parents=True)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[2:5] = 15
    for split, names in LISTS.items():
        (voc / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            Image.fromarray(mask).convert("P").save(voc / "SegmentationClass" / f"{name}.png")
    for name in (*LISTS["train"], *LISTS["val"], *ADDED):
        Image.new("RGB", SIZE).save(voc / "JPEGImages" / f"{name}.jpg")
        savemat(cls / f"{name}.mat", {"GTcls": {"Segmentation": mask, "Boundaries": np.zeros(3)}})
    return folder


def test_the_masks_that_voc_lacks_are_added(source: Path, tmp_path: Path) -> None:
    folder = prepare(sbd.card, tmp_path, source)
    report = verify(sbd.card, folder, pixels=True)
    assert report.errors == []
    assert {name: split.images for name, split in report.splits.items()} == {"train": 3, "test": 1}
    assert report.splits["train"].classes["person"] == 3 * 3 * SIZE[0]
    assert (folder / "SBD" / "aug.txt").read_text().split() == list(ADDED)
    assert sorted(path.name for path in folder.iterdir()) == ["SBD", "VOC2012"]
    assert prepare(sbd.card, tmp_path, source) == folder


def test_an_incomplete_or_damaged_copy_is_refused(source: Path, tmp_path: Path) -> None:
    cls = source / sbd.CLS.inside
    (cls / f"{ADDED[0]}.mat").write_bytes(b"MATLAB 5.0 MAT-file")
    with pytest.raises(UserError, match=rf"{ADDED[0]}\.mat is no mask of SBD"):
        prepare(sbd.card, tmp_path, source)
    (cls / f"{ADDED[0]}.mat").unlink()
    with pytest.raises(UserError, match="masks of 1 images beside VOC's, not of 2"):
        prepare(sbd.card, tmp_path, source)
    assert not (tmp_path / "voc12seg-aug" / "SBD").exists()
    with pytest.raises(UserError, match="must have VOC2012"):
        prepare(sbd.card, tmp_path, cls)


def test_what_is_not_on_disk_is_downloaded(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def deliver(package: object, folder: Path) -> None:
        asked.append(package)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cls").symlink_to(source / sbd.CLS.inside)

    monkeypatch.setattr(sbd, "fetch", deliver)
    (tmp_path / "voc").symlink_to(source / "VOCdevkit")
    folder = prepare(sbd.card, tmp_path, None)
    assert asked == [sbd.CLS]
    assert verify(sbd.card, folder, pixels=False).errors == []

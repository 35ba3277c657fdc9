"""Cityscapes and ADE20K: their layouts without lists of names, label ids, and the rule for absent classes."""

from __future__ import annotations

import re
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from datasets_support import card
from PIL import Image

from kdbench.datasets import ade20k, cityscapes, download
from kdbench.datasets.layout import items, missing
from kdbench.datasets.locate import prepare
from kdbench.datasets.masks import read_indices
from kdbench.datasets.verify import verify
from kdbench.errors import UserError
from kdbench.metrics.segmentation import iou
from kdbench.results.derived import with_ranking

FRAMES = {
    "train": ("aachen/aachen_000000_000019", "bochum/bochum_000000_000019"),
    "val": ("lindau/lindau_0_1",),
}


def write(folder: Path, mask: npt.NDArray[np.uint8]) -> Path:
    """Write frames of Cityscapes as its archives have them."""
    for split, names in FRAMES.items():
        for name in names:
            image = folder / "leftImg8bit" / split / f"{name}_leftImg8bit.png"
            truth = folder / "gtFine" / split / f"{name}_gtFine_labelIds.png"
            for path in (image, truth):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", mask.shape[::-1]).save(image)
            Image.fromarray(mask).save(truth)
            truth.with_name(f"{truth.name.removesuffix('labelIds.png')}polygons.json").write_text("{}")
    return folder


def test_cityscapes_has_folders_of_cities_and_label_ids(tmp_path: Path) -> None:
    ids = np.array([[*range(34), 255]], np.uint8)
    folder = write(tmp_path / "cityscapes", ids)
    found = items(cityscapes.card, "train", folder)
    assert [item.name for item in found] == list(FRAMES["train"])
    assert found[0].annotation == folder / "gtFine/train" / f"{FRAMES['train'][0]}_gtFine_labelIds.png"
    report = verify(cityscapes.card, folder, pixels=True)
    assert (report.errors, report.warnings) == ([], [])
    counts = report.splits["train"].classes
    assert counts == dict.fromkeys(cityscapes.card.classes, 2) | {"ignored": 2 * 16}
    indices = read_indices(found[0].annotation, cityscapes.card)[0].tolist()
    assert [indices.index(n) for n in range(19)] == [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33]
    assert indices.count(255) == 16


def test_cityscapes_is_linked_and_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"leftImg8bit_trainvaltest\.zip and gtFine_trainvaltest\.zip from https"
    ):
        prepare(cityscapes.card, tmp_path, None)
    folder = write(tmp_path / "elsewhere", np.array([[7, 8]], np.uint8))
    assert prepare(cityscapes.card, tmp_path, folder).resolve() == folder
    (folder / "gtFine/val/lindau/lindau_0_1_gtFine_labelIds.png").unlink()
    assert [str(one) for one in missing(cityscapes.card, folder)] == [
        "gtFine/val/lindau/lindau_0_1_gtFine_labelIds.png: missing"
    ]


def test_a_folder_that_is_the_list_must_have_images(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    plain = card("segmentation")
    part = (replace(plain.splits["train"][0], names=""),)
    dataset = replace(plain, splits={"train": part, "test": part})
    assert [str(one) for one in missing(dataset, tmp_path)] == ["images: is empty: there is no file *.png"]
    dataset = replace(dataset, image_suffix="")
    assert [str(one) for one in missing(dataset, tmp_path)] == [
        "images: cannot be made: say which ending the images have (image_suffix)"
    ]


def test_ade20k_counts_an_absent_class_as_0() -> None:
    truth, found = [np.array([[0, 1, 255, 2]])], [np.array([[0, 1, 7, 1]])]
    expected = iou(truth, found, classes=ade20k.CLASSES, absent=0)["mIoU"]
    measured = iou(truth, found, classes=ade20k.CLASSES)
    assert with_ranking("mIoU_ADE20K", measured)["mIoU_ADE20K"] == pytest.approx(expected, abs=1e-12)
    assert expected == pytest.approx((1 + 0.5 + 0) / 150)
    assert ade20k.mean_over_all({"IoU/cat": 0.5, "mIoU": 0.5}) is None


def test_the_classes_of_ade20k_are_the_official_ones(shared_data: Path) -> None:
    lines = (shared_data / "ade20k-3" / "objectInfo150.txt").read_text().splitlines()[1:]
    assert tuple(re.split(r",|$", line.split("\t")[-1])[0].strip() for line in lines) == ade20k.CLASSES
    assert (len(ade20k.CLASSES), ade20k.card.mask_values[0], ade20k.card.mask_values[150]) == (
        150,
        None,
        "flag",
    )


def test_ade20k_is_downloaded_where_it_is_not_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deliver(url: str, downloads: Path, expected: str) -> Path:
        assert (url, expected) == (ade20k.ARCHIVE, "")
        downloads.mkdir(parents=True)
        with zipfile.ZipFile(downloads / "a.zip", "w") as archive:
            for part in ("training", "validation"):
                archive.writestr(f"{ade20k.INSIDE}/images/{part}/a.jpg", part)
                archive.writestr(f"{ade20k.INSIDE}/annotations/{part}/a.png", part)
        return downloads / "a.zip"

    monkeypatch.setattr(download, "download", deliver)
    (tmp_path / "ade20k").mkdir()
    folder = prepare(ade20k.card, tmp_path, None)
    assert [item.name for item in items(ade20k.card, "test", folder)] == ["a"]
    assert not list((tmp_path / "downloads").iterdir())
    (folder / "images" / "training" / "a.jpg").unlink()
    with pytest.raises(UserError, match="half copy"):
        prepare(ade20k.card, tmp_path, None)

"""KITTI's label files: what is learned, ignored and left out."""

from __future__ import annotations

import lacking
import numpy as np
import pytest
from datasets_support import card
from PIL import Image

from kdbench.dataset_cards import Split
from kdbench.datasets.kitti import annotation_of
from kdbench.datasets.verify import verify

CLASSES = ("Car", "Pedestrian", "Cyclist")


def line(kind, *box):
    return f"{kind} 0.00 0 -0.20 {' '.join(map(str, box))} 1.89 0.48 1.20 1.84 1.47 8.41 0.01\n"


def test_what_is_learned_ignored_and_left_out(tmp_path):
    path = tmp_path / "000000.txt"
    kinds = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "DontCare")
    path.write_text("".join(line(kind, 1.5, 2, 30, 40) for kind in kinds) + line("cyclist", 9, 9, 9, 20))
    found = annotation_of(path, "000000")
    assert (found.size, found.first) == (None, 0)
    assert [(one.name, one.ignored, one.skipped) for one in found.objects] == [
        ("Car", False, False),
        ("", True, False),
        ("", False, True),
        ("Pedestrian", False, False),
        ("", True, False),
        ("", True, False),
        ("Cyclist", False, True),
    ]
    assert found.objects[0].box == (1.5, 2, 30, 40)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Car 0 0\n", r"000000\.txt, line 1: give a type and 14 numbers"),
        (line("Car", 0, 0, "x", 1), "line 1"),
        (line("Dragon", 0, 0, 1, 1), "'dragon' is no type of KITTI"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, text, told):
    path = tmp_path / "000000.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        annotation_of(path, "000000")


def kitti(suffix):
    part = (Split("train.txt", "training/image_2", "training/label_2"),)
    splits = {"train": part, "test": part}
    fields = {"classes": CLASSES, "metric": "AP40_moderate", "format": "kitti", "image_suffix": suffix}
    return card("detection", splits=splits, **fields)


def test_verify_names_a_box_outside(tmp_path):
    for name in ("image_2", "label_2"):
        (tmp_path / "training" / name).mkdir(parents=True)
    (tmp_path / "train.txt").write_text("000000\n")
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save(tmp_path / "training" / "image_2" / "000000.png")
    labels = tmp_path / "training" / "label_2" / "000000.txt"
    labels.write_text(line("Car", 0, 0, 59, 39) + line("Car", 20, 5, 70, 20) + line("DontCare", 1, 1, 5, 5))
    told = "object 2 (Car): box (20, 5, 70, 20) is outside the image of 60 x 40"
    assert any(told in str(one) for one in verify(kitti(".png"), tmp_path, pixels=False).errors)


def test_the_published_files_are_read(shared_data, tmp_path):
    folder = shared_data / "kitti-3"
    if not folder.is_dir():
        lacking.skip("data", "no kitti-3 in the folder that KDBENCH_TEST_DATA names")
    (tmp_path / "training").symlink_to(folder / "training")
    (tmp_path / "train.txt").write_text("000000\n000001\n000002\n")
    report = verify(kitti(".jpg"), tmp_path, pixels=False)
    assert [str(one) for one in report.errors if "named" not in str(one)] == []
    assert report.splits["train"].images == 3
    assert report.splits["train"].classes == {"Car": 2, "Pedestrian": 1, "Cyclist": 1}

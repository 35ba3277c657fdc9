"""Boxes that are inverted, empty or outside, and images without any, in each format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets_support import annotation, card

from kdbench.dataset_cards import Dataset
from kdbench.datasets.boxes import judge
from kdbench.datasets.formats import read_boxes

SIZE = (64, 48)
NAME = "events/ein Foto.jpg"
Box = tuple[int, int, int, int]


def xml(boxes: list[Box]) -> str:
    return annotation(*(("n1", box) for box in boxes), size=SIZE)


def kitti(boxes: list[Box]) -> str:
    return "\n".join("Car 0 0 0 {} {} {} {} 1 1 1 0 0 9 0".format(*box) for box in boxes)


def sides(box: Box) -> Box:
    left, top, right, bottom = box
    return left, top, right - left, bottom - top


def caltech(boxes: list[Box]) -> str:
    rows = ("person {} {} {} {} 0 0 0 0 0 0 0\n".format(*sides(box)) for box in boxes)
    return "% bbGt version=3\n" + "".join(rows)


def widerface(boxes: list[Box]) -> str:
    rows = ["{} {} {} {} 0 0 0 0 0 0".format(*sides(box)) for box in boxes] or ["0 0 0 0 0 0 0 0 0 0"]
    return "\n".join([NAME, str(len(boxes)), *rows])


def coco(boxes: list[Box]) -> str:
    entries = [
        {"id": number, "image_id": 1, "category_id": 1, "bbox": sides(box)}
        for number, box in enumerate(boxes)
    ]
    images = [{"id": 1, "file_name": NAME, "width": SIZE[0], "height": SIZE[1]}]
    return json.dumps({"images": images, "annotations": entries, "categories": [{"id": 1, "name": "n1"}]})


FORMATS = {
    "voc": (xml, {"classes": ("n1",)}),
    "ilsvrc": (xml, {"classes": ("n1",), "metric": "AP_ILSVRC"}),
    "kitti": (kitti, {"classes": ("Car",), "metric": "AP40_moderate"}),
    "caltech": (caltech, {"classes": ("pedestrian",), "metric": "MR"}),
    "widerface": (widerface, {"classes": ("face",), "metric": "AP_hard"}),
    "coco": (coco, {"classes": ("n1",), "metric": "mAP"}),
}
LOOSE = ("caltech", "widerface")
"""Their published boxes reach beyond the image."""


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("box", "skipped", "told"),
    [
        ((30, 10, 20, 40), True, "has its corners in the wrong order"),
        ((10, 40, 20, 30), True, "has its corners in the wrong order"),
        ((20, 10, 20, 40), True, "has no area and is skipped"),
        ((40, 10, 69, 40), False, "outside the image of 64 x 48"),
        ((-5, 10, 30, 40), False, "outside the image of 64 x 48"),
        ((2, 2, 63, 47), False, ""),
    ],
    ids=["inverted", "upside down", "empty", "too far right", "too far left", "inside"],
)
def test_a_box_is_read_or_told(name: str, box: Box, skipped: bool, told: str, tmp_path: Path) -> None:
    dataset, path = written(name, [box], tmp_path)
    found = read_boxes(dataset, path, NAME)
    assert [one.skipped for one in found.objects] == [skipped]
    findings = judge(found, SIZE, dataset.classes)
    assert len(findings) == bool(told)
    for finding in findings:
        assert told in finding.what
        assert finding.fatal == ("order" in told or ("outside" in told and name not in LOOSE))


@pytest.mark.parametrize("name", FORMATS)
def test_an_image_may_have_no_box(name: str, tmp_path: Path) -> None:
    dataset, path = written(name, [], tmp_path)
    assert read_boxes(dataset, path, NAME).objects == ()


def written(name: str, boxes: list[Box], folder: Path) -> tuple[Dataset, Path]:
    write, fields = FORMATS[name]
    (folder / "map_det.txt").write_text("n1 1 n1\n")
    path = folder / "annotation"
    path.write_text(write(boxes))
    return card("detection", format=name, **fields), path

from pathlib import Path

import numpy as np
import pytest
from datasets_support import SIZE, annotation, published
from PIL import Image

from kdbench.dataset_cards import Dataset
from kdbench.datasets import camvid, small
from kdbench.datasets.verify import Verification, verify

Small = tuple[Dataset, Path]


def errors(small: Small, pixels: bool = True) -> list[str]:
    return [str(problem) for problem in verify(*small, pixels=pixels).errors]


def counts(report: Verification) -> dict[str, tuple[int, int, int]]:
    return {name: (split.images, split.annotations, split.boxes) for name, split in report.splits.items()}


def test_whole_boxes(boxes: Small) -> None:
    report = verify(*boxes, pixels=True)
    assert report.errors == report.warnings == []
    assert counts(report) == {"train": (3, 3, 6), "test": (2, 2, 4)}
    assert report.splits["test"].classes == {"cat": 2, "dog": 2}


def test_whole_masks(masks: Small) -> None:
    report = verify(*masks, pixels=True)
    assert report.errors == report.warnings == []
    assert counts(report) == {"train": (3, 3, 0), "test": (2, 2, 0)}
    assert report.splits["test"].classes == {"cat": 2 * 11 * 20, "dog": 2 * 4 * 20, "ignored": 2 * 20}
    assert verify(*masks, pixels=False).splits["test"].classes == {"cat": 0, "dog": 0}


def test_progress_reaches_the_end(boxes: Small) -> None:
    seen: list[tuple[int, int]] = []
    verify(*boxes, pixels=False, advance=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 5) for n in range(1, 6)]


def test_missing_files_are_named_once(boxes: Small) -> None:
    (boxes[1] / "images" / "a.png").unlink()
    (boxes[1] / "labels" / "e.xml").unlink()
    assert errors(boxes) == ["images/a.png: missing", "labels/e.xml: missing"]


def test_half_copied_folder(boxes: Small) -> None:
    for path in (boxes[1] / "labels").iterdir():
        path.unlink()
    (boxes[1] / "labels").rmdir()
    assert errors(boxes) == ["labels: missing folder"]


def test_empty_folder(boxes: Small, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = [str(problem) for problem in verify(boxes[0], tmp_path / "empty", pixels=True).errors]
    assert found == [
        "images: missing folder",
        "labels: missing folder",
        "train.txt: missing",
        "test.txt: missing",
    ]


def test_cut_image_is_found_by_its_pixels_only(boxes: Small) -> None:
    path = boxes[1] / "images" / "b.png"
    path.write_bytes(path.read_bytes()[:-400])
    assert errors(boxes, pixels=False) == []
    (found,) = errors(boxes)
    assert found.startswith("images/b.png: unreadable (")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_what_is_no_image(boxes: Small, content: bytes) -> None:
    (boxes[1] / "images" / "d.png").write_bytes(content)
    for pixels in (True, False):
        (found,) = errors(boxes, pixels)
        assert found.startswith("images/d.png: unreadable (")


def test_broken_xml_names_the_file_and_the_place(boxes: Small) -> None:
    path = boxes[1] / "labels" / "c.xml"
    path.write_text(path.read_text()[:60])
    (found,) = errors(boxes)
    assert found.startswith("labels/c.xml: broken XML (")
    assert verify(*boxes, pixels=False).splits["train"].annotations == 2


def test_box_outside_and_unknown_class(boxes: Small) -> None:
    text = annotation(("cat", (1, 1, 25, 5)), ("cow", (1, 1, 5, 5)))
    (boxes[1] / "labels" / "a.xml").write_text(text)
    assert errors(boxes) == [
        "labels/a.xml: object 1 (cat): box (1, 1, 25, 5) is outside the image of 20 x 16",
        "labels/a.xml: object 2 (cow): unknown class 'cow'",
    ]


def test_box_is_judged_by_the_real_image(boxes: Small) -> None:
    (boxes[1] / "labels" / "a.xml").write_text(annotation(("cat", (1, 1, 25, 5)), size=(99, 99)))
    assert errors(boxes) == [
        "labels/a.xml: object 1 (cat): box (1, 1, 25, 5) is outside the image of 20 x 16"
    ]


def test_oddities_are_warnings(boxes: Small) -> None:
    (boxes[1] / "labels" / "a.xml").write_text(annotation(("cat", (5, 5, 5, 5)), ("dog", (0, 1, 4, 4))))
    report = verify(*boxes, pixels=True)
    assert report.errors == []
    assert [str(problem) for problem in report.warnings] == [
        "labels/a.xml: object 1 (cat): box (5, 5, 5, 5) has no area and is skipped",
        "labels/a.xml: object 2 (dog): box (0, 1, 4, 4) ends 1 pixel outside the image of 20 x 16",
    ]


def test_an_image_in_two_splits_is_told(boxes: Small) -> None:
    (boxes[1] / "test.txt").write_text("d\ne\na\ne\n")
    assert errors(boxes) == [
        "images/a.png: named in train and in test: splits share no image",
        "images/e.png: named twice in test",
    ]


def test_mask_of_another_size(masks: Small) -> None:
    Image.new("L", (8, 9)).save(masks[1] / "labels" / "b.png")
    for pixels in (True, False):
        assert errors(masks, pixels) == ["labels/b.png: mask of 8 x 9 for an image of 20 x 16"]


def test_mask_with_unknown_values(masks: Small) -> None:
    values = np.zeros((SIZE[1], SIZE[0]), dtype=np.uint8)
    values[0, :3] = 2
    Image.fromarray(values).save(masks[1] / "labels" / "b.png")
    assert errors(masks, pixels=False) == []
    assert errors(masks) == ["labels/b.png: unknown class 2 in 3 pixels"]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "F"])
def test_picture_that_is_no_mask(masks: Small, mode: str) -> None:
    suffix = "tiff" if mode == "F" else "png"
    Image.new(mode, SIZE).save(masks[1] / "labels" / "b.png", format=suffix)
    (found,) = errors(masks, pixels=False)
    assert found.startswith("labels/b.png: is not a mask")


def test_palette_masks_are_masks(masks: Small) -> None:
    path = masks[1] / "labels" / "a.png"
    image = Image.open(path)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.save(path)
    assert errors(masks) == []


def test_cut_mask(masks: Small) -> None:
    path = masks[1] / "labels" / "b.png"
    path.write_bytes(path.read_bytes()[:60])
    (found,) = errors(masks)
    assert found.startswith("labels/b.png: unreadable (")


def test_bccd_as_published(published_bccd: Path) -> None:
    report = verify(small.bccd, published_bccd, pixels=True)
    assert report.errors == []
    assert counts(report) == {"train": (205, 205, 2805), "val": (87, 87, 1138), "test": (72, 72, 945)}
    assert report.splits["test"].classes == {"RBC": 805, "WBC": 71, "Platelets": 69}
    assert [problem.file for problem in report.warnings] == [
        "Annotations/BloodImage_00343.xml",
        "Annotations/BloodImage_00338.xml",
    ]


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        (small.deeppcb, {"train": (1000, 1000, 6873), "test": (500, 500, 3140)}),
        (small.cards, {"train": (296, 296, 527), "test": (67, 67, 143)}),
    ],
)
def test_small_datasets_as_published(card: Dataset, expected: object, shared_data: Path) -> None:
    report = verify(card, published(shared_data / card.name), pixels=False)
    assert report.errors == report.warnings == []
    assert counts(report) == expected
    assert all(min(split.classes.values()) > 10 for split in report.splits.values())


def test_camvid_as_published(published_camvid: Path) -> None:
    report = verify(camvid.card, published_camvid, pixels=True)
    assert report.errors == report.warnings == []
    assert counts(report) == {"train": (367, 367, 0), "val": (101, 101, 0), "test": (233, 233, 0)}
    assert all(sum(split.classes.values()) == split.images * 480 * 360 for split in report.splits.values())
    assert report.splits["test"].classes["Bicyclist"] == 76220

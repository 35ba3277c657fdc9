"""Images are measured, trained on and judged as they are shown: turned by their EXIF orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from datasets_support import SIZE, annotation
from PIL import ExifTags, Image, ImageOps

from kdbench.dataset_cards import Dataset
from kdbench.datasets.pictures import image_size
from kdbench.datasets.verify import verify

Small = tuple[Dataset, Path]
SHOWN = SIZE[::-1]


def tagged(path: Path, orientation: int, kind: str = "PNG", size: tuple[int, int] = SIZE) -> None:
    """Write an image that an EXIF tag turns."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    ramp = np.arange(size[0] * size[1], dtype=np.uint8).reshape(size[1], size[0])
    Image.fromarray(ramp).convert("RGB").save(path, format=kind, exif=exif)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_the_size_is_that_of_what_is_loaded(tmp_path: Path, kind: str, orientation: int) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / f"image.{kind.lower()}"
    tagged(path, orientation, kind)
    height, width, _ = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR).shape
    assert image_size(path, pixels=False) == image_size(path, pixels=True) == (width, height)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_loaded_as_shown(tmp_path: Path, orientation: int) -> None:
    cv2 = pytest.importorskip("cv2")
    path = tmp_path / "image.png"
    tagged(path, orientation)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert np.array_equal(cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR), shown)


def test_boxes_as_shown_are_accepted_and_it_is_said(boxes: Small) -> None:
    for name in "ab":
        tagged(boxes[1] / "images" / f"{name}.png", 6)
        text = annotation(("cat", (1, 1, *SHOWN)), size=SHOWN)
        (boxes[1] / "labels" / f"{name}.xml").write_text(text)
    report = verify(*boxes, pixels=True)
    assert report.errors == []
    assert [str(warning) for warning in report.warnings] == [
        "images/a.png: its EXIF orientation (and that of 1 more) is applied: boxes and masks must be of the image "
        "as it is shown"
    ]


def test_boxes_as_stored_are_refused(boxes: Small) -> None:
    tagged(boxes[1] / "images" / "a.png", 8)
    (boxes[1] / "labels" / "a.xml").write_text(annotation(("cat", (1, 1, 4, 4))))
    for pixels in (True, False):
        (error,) = verify(*boxes, pixels=pixels).errors
        assert str(error) == (
            "labels/a.xml: is of the image as stored (20 x 16), which its EXIF orientation turns to 16 x 20: "
            "annotate that"
        )


def test_masks_as_stored_are_refused(masks: Small) -> None:
    tagged(masks[1] / "images" / "a.png", 6)
    (error,) = verify(*masks, pixels=False).errors
    assert (
        str(error)
        == "labels/a.png: mask of 20 x 16 for an image of 16 x 20, as its EXIF orientation turns it"
    )


def test_a_mask_with_a_tag_is_refused(masks: Small) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    path = masks[1] / "labels" / "a.png"
    Image.open(path).copy().save(path, exif=exif)
    (error,) = verify(*masks, pixels=False).errors
    assert str(error).startswith("labels/a.png: its EXIF orientation 3 is not applied to masks")

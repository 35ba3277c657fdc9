"""What is refused or said of a split's classes before anything is trained, and the score that takes no skill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from datasets_support import SIZE, annotation
from PIL import Image

from kdbench.dataset_cards import Dataset
from kdbench.datasets.classes import chance
from kdbench.datasets.usable import check_files
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

Small = tuple[Dataset, Path]
Pixels = npt.NDArray[np.uint8]


def redraw(small: Small, names: str, change: Callable[[Pixels], Pixels]) -> None:
    for name in names:
        path = small[1] / "labels" / f"{name}.png"
        Image.fromarray(change(np.array(Image.open(path)))).save(path)


def refused(small: Small) -> str:
    """What a run is refused with, which `data verify` says too."""
    with pytest.raises(UserError) as told:
        check_files(*small, None)
    first = str(verify(*small, pixels=True).errors[0])
    assert f"cannot be used ({first}" in str(told.value)
    return first


def test_masks_of_0_and_255(masks: Small) -> None:
    redraw(masks, "de", lambda values: np.where(values == 1, np.uint8(255), values))
    assert refused(masks) == (
        "labels/d.png and all others of test: no mask has a pixel of a class but 'cat', and 200 pixels are ignored "
        "(255): are the masks 0 and 255? Save them with the numbers of the classes, or set ignore_index"
    )


def test_masks_of_nothing_but_ignored_pixels(masks: Small) -> None:
    redraw(masks, "de", lambda values: np.full_like(values, 255))
    assert refused(masks).startswith(
        "labels/d.png and all others of test: no mask has a pixel of a class, and 640"
    )


def test_one_class_everywhere(masks: Small) -> None:
    redraw(masks, "abc", np.zeros_like)
    assert refused(masks).endswith(
        "no mask has a pixel of a class but 'cat': every prediction would be right"
    )


def test_a_value_that_is_no_class(masks: Small) -> None:
    redraw(masks, "b", lambda values: np.where(values == 1, np.uint8(7), values))
    assert refused(masks) == "labels/b.png: unknown class 7 in 80 pixels"
    redraw(masks, "b", lambda values: np.where(values == 7, np.uint8(1), values))
    assert check_files(*masks, None) == []


def test_a_split_without_a_box(boxes: Small) -> None:
    for name in "de":
        (boxes[1] / "labels" / f"{name}.xml").write_text(annotation())
    assert refused(boxes) == "labels/d.xml and all others of test: no image has a box"


@pytest.mark.parametrize("task", ["boxes", "masks"])
def test_a_class_that_a_split_lacks_is_said(request: pytest.FixtureRequest, task: str) -> None:
    card, folder = request.getfixturevalue(task)
    more = replace(card, classes=(*card.classes, "owl"))
    what = "box" if task == "boxes" else "pixel"
    assert check_files(more, folder, None) == [
        f"WARNING: {card.name} has no {what} of class 'owl' in {split}" for split in ("train", "test")
    ]
    assert [str(problem) for problem in verify(more, folder, pixels=True).warnings] == [
        f"{split}.txt: no {what} of class 'owl' in {split}" for split in ("train", "test")
    ]


def test_a_class_that_is_ignored_is_not_missed(masks: Small) -> None:
    redraw(masks, "abcde", lambda values: np.where(values == 255, np.uint8(0), values + 1))
    card = replace(masks[0], classes=("unlabelled", "cat", "dog"), ignore_index=0)
    report = verify(card, masks[1], pixels=True)
    assert report.errors == report.warnings == []
    assert report.splits["test"].classes == {"unlabelled": 0, "cat": 440, "dog": 160, "ignored": 40}


def test_masks_of_one_bit_are_masks(masks: Small) -> None:
    for name in "abcde":
        pixels = np.zeros((SIZE[1], SIZE[0]), dtype=bool)
        pixels[:4] = True
        Image.fromarray(pixels).save(masks[1] / "labels" / f"{name}.png", bits=1)
    report = verify(*masks, pixels=True)
    assert report.errors == []
    assert report.splits["test"].classes == {"cat": 2 * 12 * 20, "dog": 2 * 4 * 20}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"cat": 95, "dog": 5}, 0.95 / 2),  # one class everywhere
        ({"cat": 50, "dog": 50}, 1 / 3),  # both equally often: 1/4 of all in common of 3/4
        ({"cat": 7, "dog": 0}, 1.0),
    ],
)
def test_chance_by_hand(masks: Small, counts: dict[str, int], expected: float) -> None:
    assert chance(masks[0], counts) == pytest.approx(expected)


def test_chance_in_detection(boxes: Small) -> None:
    assert chance(boxes[0], {"cat": 1, "dog": 1}) == 0.01

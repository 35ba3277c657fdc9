"""IoU and pixel accuracy by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdbench.metrics.segmentation import iou


def test_one_wrong_pixel_by_hand():
    found = iou([np.array([[0, 0, 1, 1, 255]])], [np.array([[0, 1, 1, 1, 0]])], classes=("a", "b"))
    expected = {"mIoU": (1 / 2 + 2 / 3) / 2, "pixel_accuracy": 3 / 4, "IoU/a": 1 / 2, "IoU/b": 2 / 3}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_random_masks_pixel_by_pixel(seed, dtype):
    rng = np.random.default_rng(seed)
    shapes = [(5, 7), (1, 1), (6, 3)]
    truth = [rng.choice([0, 1, 2, 4, 255], shape).astype(dtype) for shape in shapes]
    found = [rng.choice([0, 1, 2, 3, 4, 200], shape).astype(dtype) for shape in shapes]
    whole = (np.concatenate([mask.ravel() for mask in masks]).tolist() for masks in (truth, found))
    pixels = [(t, p) for t, p in zip(*whole, strict=True) if t != 255]
    shares = {}
    for index in range(6):
        both = sum(t == p == index for t, p in pixels)
        either = sum(index in (t, p) for t, p in pixels)
        shares |= {f"IoU/{index}": both / either} if either else {}
    expected = {
        "mIoU": sum(shares.values()) / len(shares),
        "pixel_accuracy": sum(t == p for t, p in pixels) / len(pixels),
        **shares,
    }
    assert "IoU/5" not in shares
    assert iou(truth, found, classes=np.int64(6)) == pytest.approx(expected)
    with_absent = iou(truth, found, classes=6, absent=0)
    assert with_absent["mIoU"] == pytest.approx(sum(shares.values()) / 6)


def test_the_pixels_of_all_images_are_one_set():
    truth, found = (
        [np.zeros((2, 3), np.uint8), np.ones(4, int)],
        [np.zeros((2, 3), int), np.array([1, 1, 0, 0])],
    )
    assert iou(truth, found, classes=2) == pytest.approx(
        {"mIoU": (6 / 8 + 2 / 4) / 2, "pixel_accuracy": 8 / 10, "IoU/0": 6 / 8, "IoU/1": 2 / 4}
    )


def test_a_class_that_is_nowhere_is_skipped_or_counts_and_one_only_predicted_is_zero():
    truth, found = [np.array([0, 0])], [np.array([0, 1])]
    assert iou(truth, found, classes=3)["mIoU"] == pytest.approx((1 / 2 + 0) / 2)
    assert "IoU/2" not in iou(truth, found, classes=3)
    assert iou(truth, found, classes=3, absent=0)["mIoU"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert iou(truth, found, classes=3, absent=0)["IoU/2"] == 0


def test_a_prediction_that_is_no_class_is_missed_and_no_other_classs_mistake():
    found = iou([np.array([0, 0, 1])], [np.array([0, 255, -1])], classes=2)
    assert found == pytest.approx({"mIoU": 1 / 4, "pixel_accuracy": 1 / 3, "IoU/0": 1 / 2, "IoU/1": 0})


def test_another_value_is_ignored_even_if_it_is_a_classs():
    assert iou([np.array([0, 1])], [np.array([0, 0])], classes=2, ignore=1)["mIoU"] == 1


def test_nothing_to_judge_is_not_a_number():
    found = iou([np.full((2, 2), 255)], [np.zeros((2, 2), int)], classes=2)
    assert list(found) == ["mIoU", "pixel_accuracy"]
    assert all(map(math.isnan, found.values()))


@pytest.mark.parametrize(
    ("truth", "found", "why"),
    [
        (np.zeros((2, 2), int), np.zeros(4, int), r"shape \(2, 2\)"),
        (np.zeros(2), np.zeros(2, int), "give integers"),
        (np.array([2]), np.array([0]), "the value 2: neither"),
        (np.array([-1]), np.array([0]), "the value -1: neither"),
    ],
)
def test_what_does_not_fit_is_refused(truth, found, why):
    with pytest.raises(ValueError, match=why):
        iou([truth], [found], classes=2)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        iou([truth], [], classes=2)

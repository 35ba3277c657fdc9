"""VOC's average precision by hand, and against a loop that follows the development kit line by line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdbench.metrics.voc import voc_ap

BOX, FAR = (0, 0, 9, 9), (40, 40, 49, 49)


def devkit(truth, detections, overlap, points):
    """Follow VOCevaldet.m line by line."""
    taken, tp, fp = set(), [], []
    for image, *box, _ in sorted(detections, key=lambda row: -row[5]):
        best, chosen = -math.inf, None
        for index, (other, x1, y1, x2, y2, _) in enumerate(truth):
            width = min(box[2], x2) - max(box[0], x1) + 1
            height = min(box[3], y2) - max(box[1], y1) + 1
            if other == image and width > 0 and height > 0:
                union = (box[2] - box[0] + 1) * (box[3] - box[1] + 1) + (x2 - x1 + 1) * (y2 - y1 + 1)
                share = width * height / (union - width * height)
                if share > best:
                    best, chosen = share, index
        difficult = best >= overlap and truth[chosen][5]
        hit = best >= overlap and not difficult and chosen not in taken
        taken |= {chosen} if hit else set()
        tp.append(hit)
        fp.append(not hit and not difficult)
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    recall = tp / sum(not row[5] for row in truth)
    precision = tp / np.maximum(tp + fp, 1e-300)
    if points:
        levels = [0.1 * index for index in range(points)]
        return sum(max(precision[recall >= level], default=0) for level in levels) / points
    recall, precision = [0, *recall, 1], [0, *precision, 0]
    return sum((recall[i] - recall[i - 1]) * max(precision[i:]) for i in range(1, len(recall)))


@pytest.mark.parametrize("points", [None, 11])
@pytest.mark.parametrize("seed", range(4))
def test_it_follows_the_development_kit(seed, points):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 30, (40, 2))
    boxes = np.hstack([corners, corners + rng.integers(5, 20, (40, 2))])
    truth = np.column_stack([rng.integers(0, 6, 40), boxes, rng.random(40) < 0.2])
    noisy = boxes[rng.integers(0, 40, 80)] + rng.integers(-2, 3, (80, 4))
    found = np.column_stack([rng.integers(0, 7, 80), noisy, rng.integers(0, 9, 80) / 9])
    found[:50, 0] = truth[rng.integers(0, 40, 50), 0]
    expected = devkit(truth.tolist(), found.tolist(), 0.3, points)
    assert voc_ap(truth, found, overlap=0.3, points=points) == pytest.approx(expected, abs=1e-12)
    assert 0.01 < expected < 0.9


def test_hit_miss_hit_by_hand():
    truth = [(1, *BOX, 0), (1, *FAR, 0), (2, *BOX, 0)]
    found = [(1, *BOX, 0.9), (1, 20, 20, 29, 29, 0.8), (1, *FAR, 0.7)]
    assert voc_ap(truth, found) == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert voc_ap(truth, found, points=11) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)


def test_the_overlap_counts_pixels_and_half_is_enough():
    assert voc_ap([(1, *BOX, 0)], [(1, 0, 0, 9, 4, 0.9)]) == 1.0
    assert voc_ap([(1, *BOX, 0)], [(1, 0, 0, 9, 3, 0.9)]) == 0.0


def test_a_detection_of_a_difficult_box_counts_nowhere():
    truth = [(1, *BOX, 0), (1, *FAR, 1)]
    assert voc_ap(truth, [(1, *FAR, 0.9), (1, *FAR, 0.8), (1, *BOX, 0.7)]) == 1.0


def test_the_second_of_two_hits_is_wrong_and_equal_scores_keep_their_order():
    truth = [(1, *BOX, 0), (1, *FAR, 0)]
    assert voc_ap(truth, [(1, *BOX, 0.9), (1, *BOX, 0.9), (1, *FAR, 0.9)]) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert voc_ap(truth, [(1, *BOX, 0.9), (1, *FAR, 0.9), (1, *BOX, 0.9)]) == 1.0


def test_without_detections_or_without_targets():
    assert voc_ap([(1, *BOX, 0)], []) == 0.0
    assert voc_ap([(1, *BOX, 0)], np.zeros((0, 6)), points=11) == 0.0
    assert math.isnan(voc_ap([], [(1, *BOX, 0.9)]))
    assert math.isnan(voc_ap([(1, *BOX, 1)], [(1, *BOX, 0.9)]))


@pytest.mark.parametrize("bad", [[(1, 2, 3)], [(1, 0, 0, 9, 9, math.nan)], [(2**53, *BOX, 0.9)]])
def test_what_is_no_table_of_detections_is_refused(bad):
    with pytest.raises(ValueError, match="detections"):
        voc_ap([(1, *BOX, 0)], bad)

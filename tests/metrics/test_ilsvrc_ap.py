"""ILSVRC's average precision by hand, and against a loop that follows the development kit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdbench.metrics.ilsvrc import ilsvrc_ap

BOX, FAR = (0, 0, 99, 99), (200, 200, 299, 299)


def devkit(truth, detections):
    taken, hits, found = set(), 0, []
    for image, *box, _ in sorted(detections, key=lambda row: -row[5]):
        best, chosen = -1.0, None
        for index, (other, x1, y1, x2, y2) in enumerate(truth):
            if other != image or index in taken:
                continue
            width, height = x2 - x1 + 1, y2 - y1 + 1
            least = min(0.5, width * height / ((width + 10) * (height + 10)))
            across, down = min(box[2], x2) - max(box[0], x1) + 1, min(box[3], y2) - max(box[1], y1) + 1
            shared = across * down if across > 0 and down > 0 else 0
            own = (box[2] - box[0] + 1) * (box[3] - box[1] + 1)
            share = shared / (own + width * height - shared)
            if share >= least and share > best:
                best, chosen = share, index
        taken |= {chosen} if chosen is not None else set()
        hits += chosen is not None
        found.append((hits / len(truth), hits / (len(found) + 1)))
    curve = [(0.0, 0.0), *found, (1.0, 0.0)]
    return sum(
        (curve[at][0] - curve[at - 1][0]) * max(height for _, height in curve[at:])
        for at in range(1, len(curve))
    )


@pytest.mark.parametrize("seed", range(4))
def test_it_follows_the_development_kit(seed):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 30, (40, 2))
    boxes = np.hstack([corners, corners + rng.integers(2, 20, (40, 2))])
    truth = np.column_stack([rng.integers(0, 6, 40), boxes])
    noisy = boxes[rng.integers(0, 40, 80)] + rng.integers(-2, 3, (80, 4))
    found = np.column_stack([rng.integers(0, 7, 80), noisy, rng.permutation(80) / 80])
    found[:50, 0] = truth[rng.integers(0, 40, 50), 0]
    expected = devkit(truth.tolist(), found.tolist())
    assert ilsvrc_ap(truth, found) == pytest.approx(expected, abs=1e-12)
    assert 0.01 < expected < 0.95


def test_a_small_box_is_easier_to_match():
    """An IoU of 100 / 400 suffices for 10 x 10 pixels; 100 x 100 pixels need a half."""
    small = [(0, 0, 0, 9, 9)]
    assert ilsvrc_ap(small, [(0, 0, 0, 19, 19, 0.9)]) == 1.0
    assert ilsvrc_ap(small, [(0, 0, 0, 20, 19, 0.9)]) == 0.0
    assert ilsvrc_ap([(0, *BOX)], [(0, 0, 0, 199, 99, 0.9)]) == 1.0
    assert ilsvrc_ap([(0, *BOX)], [(0, 0, 0, 200, 99, 0.9)]) == 0.0


def test_a_detection_takes_the_next_best_free_box():
    truth = [(0, *BOX), (0, 20, 0, 119, 99)]
    assert ilsvrc_ap(truth, [(0, *BOX, 0.9), (0, *BOX, 0.8)]) == 1.0
    assert ilsvrc_ap(
        [(0, *BOX), (0, *FAR)], [(0, *BOX, 0.9), (0, *BOX, 0.8), (0, *FAR, 0.7)]
    ) == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_nothing():
    assert ilsvrc_ap([(0, *BOX)], []) == 0.0
    assert math.isnan(ilsvrc_ap([], [(0, *BOX, 0.9)]))

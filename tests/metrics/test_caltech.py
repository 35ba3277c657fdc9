"""Caltech's miss rate: the official tool's value, and a loop that follows it line by line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdbench.metrics.caltech import log_average_miss_rate

TALL, FAR = (10, 10, 20, 50), (200, 10, 20, 50)


def test_the_value_of_the_official_tool(oracles):
    folder = oracles / "caltech"
    truth, found = np.loadtxt(folder / "gts.txt.gz"), np.loadtxt(folder / "dets.txt.gz")
    assert log_average_miss_rate(truth, found, frames=4024) == pytest.approx(0.453458428140, abs=5e-13)


def share(box, other, ignored):
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    own, its, both = box[2] * box[3], other[2] * other[3], width * height
    return both / own if ignored else both / (own + its - both)


def toolbox(truth, detections, frames, overlap):
    """Follow evalRes and compRoc of bbGt.m line by line."""
    pooled = []
    for frame in sorted({row[0] for row in detections}):
        boxes = sorted((row[1:] for row in truth if row[0] == frame), key=lambda row: row[4])
        state = [-row[4] for row in boxes]
        found = [row[1:] for row in detections if row[0] == frame and row[4] >= 40]
        for box in sorted(found, key=lambda row: -row[4]):
            best, chosen, kind = overlap, None, 0
            for index, other in enumerate(boxes):
                if state[index] == 1:
                    continue
                if kind != 0 and state[index] == -1:
                    break
                if share(box, other, state[index] == -1) < best:
                    continue
                best, chosen = share(box, other, state[index] == -1), index
                kind = 1 if state[index] == 0 else -1
            if kind == 1:
                state[chosen] = 1
            if kind >= 0:
                pooled.append((box[4], kind == 1))
    pooled.sort(key=lambda pair: -pair[0])
    total, missed = sum(not row[5] for row in truth), []
    for exponent in np.arange(-2, 0.25, 0.25):
        rate, true, false = 1.0, 0, 0
        for _, hit in pooled:
            true, false = true + hit, false + (not hit)
            if false / frames <= 10**exponent:
                rate = 1 - true / total
        missed.append(max(1e-10, rate))
    return math.exp(np.mean(np.log(missed)))


@pytest.mark.parametrize("seed", range(4))
def test_it_follows_the_official_tool(seed):
    rng = np.random.default_rng(seed)
    boxes = np.column_stack(
        [rng.integers(0, 60, (40, 2)), rng.integers(10, 30, 40), rng.integers(35, 70, 40)]
    )
    truth = np.column_stack([rng.integers(0, 9, 40), boxes, rng.random(40) < 0.4])
    chosen = rng.integers(0, 40, 60)
    noisy = boxes[chosen] + rng.integers(-3, 4, (60, 4))
    found = np.column_stack([truth[chosen, 0], noisy, rng.integers(0, 30, 60) / 30])
    expected = toolbox(truth.tolist(), found.tolist(), 12, 0.5)
    assert log_average_miss_rate(truth, found, frames=12) == pytest.approx(expected, abs=1e-12)
    assert 0.05 < expected < 0.95


def test_all_found_without_a_mistake_is_the_floor():
    assert log_average_miss_rate([(0, *TALL, 0)], [(0, *TALL, 1)], frames=1) == pytest.approx(1e-10)


def test_one_of_two_found_and_a_mistake_in_ten_frames():
    """The false positive, with a higher score, is allowed from 0.1 per frame on: five of the nine references."""
    found = [(0, *FAR, 0.9), (0, *TALL, 0.8)]
    truth = [(0, *TALL, 0), (3, *TALL, 0)]
    assert log_average_miss_rate(truth, found, frames=10) == pytest.approx(math.exp(math.log(0.5) * 5 / 9))


def test_detections_in_an_ignored_region_and_low_ones_count_nowhere():
    truth = [(0, *TALL, 0), (0, 190, 0, 100, 100, 1)]
    found = [(0, *FAR, 0.9), (0, *FAR, 0.8), (0, 400, 10, 20, 39.9, 0.7), (0, *TALL, 0.6)]
    assert log_average_miss_rate(truth, found, frames=1) == pytest.approx(1e-10)


def test_of_two_targets_overlapped_equally_the_last_is_taken():
    """The second detection, which overlaps only the first target, is therefore correct."""
    truth = [(0, 0, 0, 40, 40, 0), (0, 20, 0, 40, 40, 0)]
    found = [(0, 10, 0, 40, 40, 0.9), (0, 0, 0, 35, 40, 0.8)]
    assert log_average_miss_rate(truth, found, frames=1) == pytest.approx(1e-10)


def test_without_detections_or_without_targets():
    assert log_average_miss_rate([(0, *TALL, 0)], [], frames=3) == 1.0
    assert math.isnan(log_average_miss_rate([(0, *TALL, 1)], [(0, *TALL, 1)], frames=3))


def test_more_frames_named_than_judged_are_refused():
    with pytest.raises(ValueError, match="frames is 1"):
        log_average_miss_rate([(0, *TALL, 0), (1, *TALL, 0)], [], frames=1)

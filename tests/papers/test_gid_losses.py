from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from kdbench_papers.gid.losses import general_instances


def iou(one, other):
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(areas) - width * height)


def reference(theirs, ours, their_boxes, our_boxes, count, overlap):
    """Select the instances one position at a time."""
    rows = []
    for i in range(len(ours)):
        p, q = expit(theirs[i]), expit(ours[i])
        label = int(np.argmax(np.abs(p - q)))
        rows.append((abs(p - q)[label], their_boxes[i] if p[label] > q[label] else our_boxes[i]))
    kept = []
    for i in sorted(range(len(rows)), key=lambda i: -rows[i][0]):
        if all(iou(rows[i][1], rows[k][1]) <= overlap for k in kept):
            kept.append(i)
    return kept[:count]


def drawn(seed, count=12, classes=3):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(2, count, classes)) * 2
    corners, sides = draw.uniform(0, 30, (2, count, 2)), draw.uniform(4, 20, (2, count, 2))
    return [*logits, *np.concatenate([corners, corners + sides], axis=2)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(10, 0.3), (3, 0.5), (99, 0.1)]))
def test_equals_its_definition(seed, numbers):
    given_ = drawn(seed)
    found = general_instances(*(torch.from_numpy(part) for part in given_), *numbers)
    assert found.tolist() == reference(*given_, *numbers)


def test_never_more_than_asked_for():
    given_ = [torch.from_numpy(part) for part in drawn(0, count=60)]
    assert len(general_instances(*given_)) <= 10
    same = general_instances(given_[0], given_[0], given_[2], given_[2], count=4)
    assert 0 < len(same) <= 4
    assert general_instances(*(part[:0] for part in given_)).shape == (0,)
    assert len(general_instances(*(part.half() for part in given_), count=5)) == 5

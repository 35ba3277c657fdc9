from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.distill import coverage


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), *[st.floats(-10, 70, width=16)] * 2, *[st.floats(0, 60, width=16)] * 2),
        max_size=6,
    ),
    st.sampled_from([4, 8]),
)
def test_it_counts_the_regions_that_touch_each_cell(boxes, stride):
    expected = torch.zeros(3, 7, 5)
    for image, x, y, w, h in boxes:
        left, top = min(max(int(x // stride), 0), 4), min(max(int(y // stride), 0), 6)
        right = max(min(int(-(-(x + w) // stride)), 5), left + 1)
        bottom = max(min(int(-(-(y + h) // stride)), 7), top + 1)
        expected[image, top:bottom, left:right] += 1
    rois = torch.tensor([[i, x, y, x + w, y + h] for i, x, y, w, h in boxes]).reshape(-1, 5)
    assert torch.equal(coverage(rois, 3, (7, 5), stride), expected)
    assert torch.equal(coverage(rois, 3, (7, 5), stride, torch.full((len(rois),), 2.0)), 2 * expected)
    assert not coverage(rois, 3, (7, 5), stride, torch.zeros(len(rois))).any()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(coverage(rois, 3, (7, 5), stride), expected)

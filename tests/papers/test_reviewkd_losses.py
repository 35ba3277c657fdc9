from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench_papers.reviewkd.losses import Fusion, hierarchical_loss


def pooled(maps, size):
    """Compute adaptive average pooling one cell at a time."""
    height, width = maps.shape[2:]
    found = np.zeros((*maps.shape[:2], size, size))
    for y in range(size):
        for x in range(size):
            top, bottom = y * height // size, -(-(y + 1) * height // size)
            left, right = x * width // size, -(-(x + 1) * width // size)
            found[:, :, y, x] = maps[:, :, top:bottom, left:right].mean(axis=(2, 3))
    return found


def reference(ours, theirs):
    loss, weight, total = np.mean((ours - theirs) ** 2), 1.0, 1.0
    for size in (4, 2, 1):
        if size < ours.shape[2]:
            weight, total = weight / 2, total + weight / 2
            loss += weight * np.mean((pooled(ours, size) - pooled(theirs, size)) ** 2)
    return loss / total


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 9))
def test_equals_its_definition_at_every_size(height, width, seed):
    ours, theirs = np.random.default_rng(seed).normal(size=(2, 2, 3, height, width))
    value = hierarchical_loss(torch.from_numpy(ours), torch.from_numpy(theirs))
    assert value.item() == pytest.approx(reference(ours, theirs))
    assert hierarchical_loss(torch.from_numpy(ours), torch.from_numpy(ours)).item() == 0


def test_the_fusion_by_hand():
    """On 1 x 1 maps, convolutions are products with the central weight, and norms use running statistics."""
    torch.manual_seed(0)
    fusion = Fusion([2, 3], [4, 5], middle=3).eval()
    fine, coarse = torch.randn(1, 2, 1, 1), torch.randn(1, 3, 1, 1)
    found = fusion([fine, coarse], [(1, 1), (1, 1)])
    scale = (1 + 1e-5) ** -0.5
    enter = [e[0].weight[:, :, 0, 0] * scale for e in fusion.entries]
    leave = [e[0].weight[:, :, 1, 1] * scale for e in fusion.exits]
    y, own = enter[1] @ coarse.flatten(), enter[0] @ fine.flatten()
    gate = fusion.gates[0]
    a, b = (gate.weight[:, :, 0, 0] @ torch.cat([own, y]) + gate.bias).sigmoid()
    torch.testing.assert_close(found[1].flatten(), leave[1] @ y)
    torch.testing.assert_close(found[0].flatten(), leave[0] @ (a * own + b * y))


def test_the_fusion_gives_maps_of_the_teachers_shapes():
    fusion = Fusion([2, 3, 4], [8, 6, 5])
    assert fusion.entries[0][0].out_channels == 5
    assert not any(name.endswith("0.bias") for name, _ in fusion.named_parameters() if "gates" not in name)
    maps = [torch.randn(1, c, n, n) for c, n in ((2, 7), (3, 4), (4, 1))]
    found = fusion(maps, [(8, 9), (4, 4), (1, 1)])
    assert [tuple(part.shape) for part in found] == [(1, 8, 8, 9), (1, 6, 4, 4), (1, 5, 1, 1)]
    sum(part.square().sum() for part in found).backward()
    assert all(torch.isfinite(p.grad).all() for p in fusion.parameters())

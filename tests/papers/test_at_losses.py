from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdbench_papers.at.losses import attention_loss, attention_map

maps = arrays(np.float64, (2, 3, 2, 3), elements=st.floats(-5, 5))


def reference(features):
    """Compute the attention one position at a time."""
    count, channels, height, width = features.shape
    found = np.zeros((count, height * width))
    for n in range(count):
        for y in range(height):
            for x in range(width):
                found[n, y * width + x] = sum(features[n, c, y, x] ** 2 for c in range(channels)) / channels
        norm = np.sqrt(sum(value**2 for value in found[n]))
        found[n] = found[n] / norm if norm > 1e-8 else 0
    return found


@settings(max_examples=30, deadline=None)
@given(maps, maps)
def test_equals_its_definition(student, teacher):
    ours, theirs = torch.from_numpy(student), torch.from_numpy(teacher)
    np.testing.assert_allclose(attention_map(ours).numpy(), reference(student), atol=1e-12)
    expected = np.mean((reference(student) - reference(teacher)) ** 2)
    assert attention_loss(ours, theirs).item() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(maps, st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_positive_factor_on_either_model_changes_nothing(student, ours, theirs):
    student = torch.from_numpy(student) + 0.5
    teacher = student.flip(1, 3) * 2
    expected = attention_loss(student, teacher)
    torch.testing.assert_close(attention_loss(ours * student, theirs * teacher), expected)


def test_other_channels_and_another_size():
    student, teacher = torch.randn(2, 3, 2, 3), torch.randn(2, 5, 4, 6)
    larger = torch.nn.functional.interpolate(student, size=(4, 6), mode="bilinear")
    torch.testing.assert_close(attention_loss(student, teacher), attention_loss(larger, teacher))


def test_a_map_of_zeros_looks_nowhere():
    assert not attention_map(torch.zeros(1, 2, 3, 3)).any()

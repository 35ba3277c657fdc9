from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kdbench_papers.ifvd.losses import prototypes, variation_loss

labels_of = arrays(np.int64, (2, 3, 4), elements=st.sampled_from([0, 1, 2, 255]))


def cosine(one, other):
    return one @ other / (np.linalg.norm(one) * np.linalg.norm(other))


def variation(features, labels):
    """Compute the variation one pixel at a time."""
    found = np.zeros(labels.shape)
    for n, y, x in np.ndindex(labels.shape):
        if labels[n, y, x] < 3:
            own = features[n][:, labels[n] == labels[n, y, x]].mean(axis=1)
            found[n, y, x] = cosine(features[n, :, y, x], own)
    return found


@settings(max_examples=40, deadline=None)
@given(labels_of, st.integers(0, 99))
def test_equals_its_definition(labels, seed):
    draw = np.random.default_rng(seed)
    ours, theirs = draw.normal(size=(2, 5, 3, 4)), draw.normal(size=(2, 6, 3, 4))
    expected = np.mean((variation(ours, labels) - variation(theirs, labels)) ** 2)
    given_ = [torch.from_numpy(part) for part in (ours, theirs, labels)]
    assert variation_loss(*given_, 3, 255).item() == pytest.approx(expected)


def test_prototypes_are_means_of_each_image():
    features, labels = torch.randn(2, 3, 2, 2), torch.tensor([[[0, 0], [2, 9]], [[1, 1], [1, 1]]])
    found = prototypes(features, labels, 3)
    torch.testing.assert_close(found[0, 0], features[0, :, 0].mean(dim=1))
    torch.testing.assert_close(found[0, 2], features[0, :, 1, 0])
    torch.testing.assert_close(found[1, 1], features[1].mean(dim=(1, 2)))
    assert not found[0, 1].any()


def test_ignored_pixels_add_nothing_whatever_they_are_called():
    student, teacher = torch.randn(1, 3, 2, 3), torch.randn(1, 3, 2, 3)
    assert variation_loss(student, teacher, torch.zeros(1, 2, 3).long(), 3, 0).item() == 0
    part = torch.tensor([[[1, 1, 0], [1, 0, 0]]])
    changed = teacher.clone()
    changed[:, :, part[0] == 0] += 5
    torch.testing.assert_close(
        variation_loss(student, teacher, part, 3, 0), variation_loss(student, changed, part, 3, 0)
    )


def test_one_class_alone_is_the_cosine_to_the_mean():
    student, teacher = torch.randn(1, 3, 2, 3).double(), torch.randn(1, 4, 2, 3).double()
    v = [
        torch.cosine_similarity(m, m.mean(dim=(2, 3), keepdim=True).expand_as(m), dim=1)
        for m in (student, teacher)
    ]
    value = variation_loss(student, teacher, torch.ones(1, 2, 3).long(), 3, 255)
    torch.testing.assert_close(value, (v[0] - v[1]).square().mean())


def test_labels_and_the_student_take_the_teachers_size():
    student, teacher = torch.randn(1, 3, 2, 2), torch.randn(1, 4, 4, 4)
    labels = torch.randint(0, 3, (1, 8, 8))
    larger = torch.nn.functional.interpolate(student, size=(4, 4), mode="bilinear")
    torch.testing.assert_close(
        variation_loss(student, teacher, labels, 3, 255),
        variation_loss(larger, teacher, labels[:, ::2, ::2], 3, 255),
    )

"""The pairs of the package: both models can be built (without allocating weights), and the teacher is larger."""

from __future__ import annotations

import pytest

from kdbench.openmmlab.complexity import describe
from kdbench.plugins import registry
from kdbench_models.plugin import kdbench_pairs

PAIRS = {pair.name: pair for pair in kdbench_pairs()}
LARGE = ("camvid-mobilenetv2plus", "camvid-refinenet", "voc-rfcn-r101-r50")
"""Pairs with a ResNet-101, which takes seconds to build."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.release) if name in LARGE else name for name in PAIRS],
)
def test_a_teacher_is_larger_than_its_student(name):
    pair = PAIRS[name]
    sizes = describe(pair, registry().dataset(pair.dataset).value)
    assert sizes["teacher"]["flops"] > sizes["student"]["flops"] > 0
    assert sizes["teacher"]["parameters"] > sizes["student"]["parameters"]


def test_none_is_its_datasets_default():
    for pair in PAIRS.values():
        assert registry().pairs_of(pair.dataset)[0].name not in PAIRS

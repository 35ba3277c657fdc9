"""What the example packages do besides their defaults, in real models; those are in test_every_method."""

from __future__ import annotations

import lacking
import pytest
import test_every_method
from small_bench import Silent

from kdbench.errors import UserError

lacking.extra("kdbench_cwd", "pip install -e plugins/kdbench-cwd -e plugins/kdbench-pkd")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gfl", "pspnet"])
def test_class_maps(bench, tmp_path, monkeypatch, kind):
    test_every_method.test_a_training(bench, tmp_path, monkeypatch, "cwd[where=logits]", kind, 20)


def test_regions_are_refused(bench, tmp_path):
    from kdbench.openmmlab.students import train_with

    card, options = bench.card("cwd[where=logits]")
    teacher, place = bench.teacher("faster"), bench.place(tmp_path)
    with pytest.raises(UserError, match=r"use cwd\[where=neck\]"):
        train_with(bench.subject("faster"), [teacher], card, options, place, Silent())

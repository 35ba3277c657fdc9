"""Methods on networks that a package of models registers: ESPNet teaches ESPNet-C."""

from __future__ import annotations

import pytest

from kdbench.openmmlab.training.runner import Trained


@pytest.mark.parametrize("selector", ["hinton", "structured", "cwd"])
def test_a_method_trains_it(bench, selector, tmp_path):
    model = bench.distiller("espnet", selector)
    assert type(model.student.decode_head).__name__ == "ESPNetCHead"
    assert type(model.teacher.model.decode_head).__name__ == "ESPNetHead"
    trained = bench.train(model, "espnet", tmp_path, name=f"espnet-{selector}")
    assert isinstance(trained, Trained)
    assert 0 <= trained.curve[-1]["mIoU"] <= 1

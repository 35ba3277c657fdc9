"""A sum of methods in real models: in a pack, with weights of zero, and as an option's published use."""

from __future__ import annotations

import pytest
from test_lanes import in_a_pack, train

SUM = "cwd[where=logits]+mgd[where=backbone]"


@pytest.mark.slow
def test_a_sum_in_a_pack_is_the_sum_alone(bench, tmp_path):
    alone = train(bench, "pspnet", SUM, tmp_path / "alone")
    packed, _ = in_a_pack(bench, "pspnet", ["none", SUM], tmp_path)
    assert packed[SUM] == alone
    assert packed["none"].student != alone.student
    (_, first), *_ = alone.losses
    ours = {name.removeprefix("loss_distill_") for name in first if "distill" in name}
    assert ours == {"cwd.channels", "mgd.generation"}


@pytest.mark.slow
def test_weights_of_zero_are_the_plain_student(bench, tmp_path):
    silent = "cwd[weight=0]+mgd[weight=0,where=backbone]"
    packed, _ = in_a_pack(bench, "pspnet", ["none", silent], tmp_path)
    assert packed[silent].student == packed["none"].student


@pytest.mark.slow
def test_dist_on_the_auxiliary_head(bench):
    import torch

    model = bench.distiller("fcn", "dist[auxiliary_weight=0.4]")
    _, terms, _ = model.train().compute(*bench.probe("fcn").batch(model.student))
    assert set(terms) == {"correlation", "auxiliary"}
    head = list(model.student.auxiliary_head.parameters())
    gradients = torch.autograd.grad(terms["auxiliary"], head, allow_unused=True)
    assert any(bool(gradient.abs().sum() > 0) for gradient in gradients if gradient is not None)
    plain = bench.distiller("fcn", "dist")
    assert "auxiliary_logits" not in plain.names

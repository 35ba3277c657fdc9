"""Properties that all losses of the second set of papers have in common."""

from __future__ import annotations

import pytest
import torch

from kdbench_papers.at.losses import attention_loss
from kdbench_papers.bckd.losses import box_consistency_loss, consistency_loss
from kdbench_papers.cirkd.losses import cross_image_loss, memory_loss
from kdbench_papers.crosskd.losses import focal_divergence, scaled_like
from kdbench_papers.defeat.losses import decoupled_feature_loss, decoupled_head_loss
from kdbench_papers.dist.losses import dist_loss
from kdbench_papers.dkd.losses import decoupled_loss
from kdbench_papers.fbkd.losses import norm_loss
from kdbench_papers.fgd.losses import attention_distance, focal_loss
from kdbench_papers.ifvd.losses import variation_loss
from kdbench_papers.ld.losses import bins_divergence, localization_loss
from kdbench_papers.mgd.losses import generation_loss
from kdbench_papers.reviewkd.losses import hierarchical_loss

MAPS = (2, 3, 5, 4)
ROWS = (6, 4)


def cells(maps):
    """Return different weights for each cell."""
    count, _, height, width = maps.shape
    return torch.arange(count * height * width).view(count, height, width) % 3 / 2


def labels(rows):
    return torch.arange(len(rows)) % rows.shape[1]


def boxes(deltas):
    """Convert rows (N, 4) to boxes with positive sides, all of which overlap."""
    return torch.cat([deltas[:, :2].sigmoid(), 2 + deltas[:, 2:].sigmoid()], dim=1)


def unit(rows):
    return torch.nn.functional.normalize(rows, dim=1)


LOSSES = {
    "at": (MAPS, attention_loss),
    "mgd": (MAPS, generation_loss),
    "fgd focal": (MAPS, lambda s, t: sum(focal_loss(s, t, cells(s), 1 - cells(s), 0.5))),
    "fgd attention": (MAPS, lambda s, t: attention_distance(s, t, 0.5)),
    "ld": ((3, 4, 6), lambda s, t: localization_loss(s, t, torch.linspace(0, 1, len(s)), 10.0)),
    "crosskd scale": (MAPS, lambda s, t: (scaled_like(s, t) * cells(s)[:, None]).sum()),
    "crosskd class": (ROWS, lambda s, t: focal_divergence(s, t).sum()),
    "crosskd bins": (ROWS, lambda s, t: bins_divergence(s, t, 2.0).sum()),
    "dist": (ROWS, dist_loss),
    "dist maps": (MAPS, lambda s, t: dist_loss(s, t, 0.5, 2.0, 3.0)),
    "bckd class": (ROWS, lambda s, t: consistency_loss(s, t, torch.linspace(0, 1, len(s)), 2.0)),
    "bckd box": ((5, 4), lambda s, t: box_consistency_loss(boxes(s), boxes(t), torch.ones(len(s)), 3)),
    "cirkd batch": (MAPS, cross_image_loss),
    "cirkd memory": (ROWS, lambda s, t: memory_loss(unit(s), unit(t), unit(torch.eye(7, 4) + 0.1))),
    "dkd": (ROWS, lambda s, t: decoupled_loss(s, t, labels(s), 1.0, 0.25, 2.0)),
    "reviewkd": (MAPS, hierarchical_loss),
    "ifvd": (MAPS, lambda s, t: variation_loss(s, t, (4 * cells(s)).long(), 4, 2)),
    "defeat features": (MAPS, lambda s, t: sum(decoupled_feature_loss(s, t, cells(s)))),
    "defeat head": (ROWS, lambda s, t: sum(decoupled_head_loss(s, t, labels(s), 3, 2.0))),
    "fbkd": (MAPS, lambda s, t: norm_loss(s, t, cells(s))),
}
every = pytest.mark.parametrize("name", LOSSES)


def pair(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


@every
def test_the_gradient_is_the_differential_and_the_teacher_has_none(name):
    shape, loss = LOSSES[name]
    student, teacher = pair(shape)
    assert torch.autograd.gradcheck(lambda value: loss(value, teacher), student.requires_grad_())
    teacher.requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.dtype == torch.float64
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@every
def test_of_nothing_it_is_exactly_zero(name):
    shape, loss = LOSSES[name]
    for dtype in (torch.float32, torch.float64):
        student = torch.zeros(0, *shape[1:], dtype=dtype, requires_grad=True)
        value = loss(student, torch.zeros(0, *shape[1:], dtype=dtype))
        value.backward()
        assert value.item() == 0
        assert student.grad is not None


@every
def test_half_precision_and_autocast_count_in_float32(name):
    shape, loss = LOSSES[name]
    student, teacher = (value.bfloat16() for value in pair(shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = loss(student, teacher)
        single = loss(student.float(), teacher.float())
    assert low.dtype == single.dtype == torch.float32
    expected = loss(student.double(), teacher.double()).float()
    loose = {"rtol": 0.02, "atol": 0.02} if name == "bckd box" or name == "cirkd memory" else {}
    torch.testing.assert_close(low, expected, **loose)
    torch.testing.assert_close(single, expected, rtol=1e-4, atol=1e-5)


@every
def test_large_values_of_half_precision_stay_finite(name):
    shape, loss = LOSSES[name]
    student, teacher = ((200 * value).half() for value in pair(shape))
    student.requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()


@every
def test_equal_models_have_a_finite_gradient(name):
    """The loss is also 0, unless it is not a distance."""
    shape, loss = LOSSES[name]
    student, _ = pair(shape)
    value = loss(student.requires_grad_(), student.detach())
    value.backward()
    assert torch.isfinite(student.grad).all()
    if name != "crosskd scale":
        assert value.item() == pytest.approx(0, abs=1e-5)


@every
def test_maps_of_zeros_have_a_finite_gradient(name):
    shape, loss = LOSSES[name]
    for teacher in (torch.zeros(shape), torch.ones(shape), pair(shape)[0].float()):
        student = torch.zeros(shape, requires_grad=True)
        value = loss(student, teacher)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(student.grad).all()


@every
def test_other_shapes_are_refused(name):
    shape, loss = LOSSES[name]
    student, _ = pair(shape)
    other = student[:-1] if name in ("at", "ifvd", "cirkd batch") else student[..., :-1]
    with pytest.raises((ValueError, RuntimeError)):
        loss(student, other)

from __future__ import annotations

import pytest
import torch
from fake_steps import IMAGE, built, step

from kdbench.distill import Targets, as_rois
from kdbench_papers.mimic.card import CARD, MimicOptions
from kdbench_papers.mimic.method import Mimic

REGIONS = [torch.tensor([[0.0, 0, 8, 8, 0.9], [0, 0, 16, 8, 0.8], [0, 0, 90, 60, 0.7]]), torch.zeros(0, 5)]
TRUTH = Targets((REGIONS[0][:, :4], torch.zeros(0, 4)), (), None, IMAGE)


def maps(variant: str) -> dict[str, torch.Tensor]:
    on = step(regions=REGIONS, truth=TRUTH, finest=16)
    # Not built, as for `kdbench show-mask`.
    return Mimic(MimicOptions(variant=variant)).attention(on)


@pytest.mark.parametrize("variant", CARD.variants)
def test_every_variant_shows_its_regions(variant):
    found = maps(variant)
    assert list(found) == ["level 0, stride 8", "level 1, stride 16"]
    for weights, grid in zip(found.values(), [(8, 12), (4, 6)], strict=True):
        assert weights.shape == (2, *grid)
        assert weights.amin() >= 0
        assert weights[0].any()
    assert max(weights.amax() for weights in found.values()) == 1


def test_cells_weigh_by_the_regions_that_cover_them():
    fine, coarse = maps("proposals").values()
    assert fine[0, 0, :3].tolist() == [1, 0.5, 0]
    assert not fine[0, 1:].any()
    assert coarse[0].unique().tolist() == [0.5]
    assert not fine[1].any()
    assert not coarse[1].any()
    assert all(weights.all() for weights in maps("whole-map").values())
    assert maps("multi-level")["level 0, stride 8"][0, 0, 0] == 1


def test_it_shows_the_regions_that_the_loss_takes(monkeypatch):
    on = step(regions=REGIONS, truth=TRUTH, finest=16)
    method = built(Mimic, MimicOptions(), on)
    taken: list[torch.Tensor] = []
    monkeypatch.setattr(
        Mimic,
        "_level",
        lambda _self, student, _teacher, rois, _stride: taken.append(rois) or student.sum() * 0,
    )
    method.losses(on)
    assert sum(len(rois) for rois in taken) == len(as_rois(REGIONS))
    for rois, weights in zip(taken, method.attention(on).values(), strict=True):
        assert (len(rois) > 0) == bool(weights.any())

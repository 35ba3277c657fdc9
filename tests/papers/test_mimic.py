from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_steps import IMAGE, built, leaves, proposals, step, targets, total
from pydantic import ValidationError

from kdbench.distill import FAMILIES, Step, Targets, largest_overlap
from kdbench.distill.levels import LevelsByScale
from kdbench.errors import UserError
from kdbench_papers.mimic.card import CARD, MimicOptions
from kdbench_papers.mimic.method import Mimic
from kdbench_papers.mimic.sampling import box_regions, proposal_regions

VARIANTS = tuple(CARD.variants)
DENSE = ("gt-boxes", "whole-map")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
def test_every_variant_trains_student_and_transform(variant, pooling):
    # Regions of two scales, so that both levels have some.
    regions = [torch.tensor([[0.0, 0, 8, 8, 0.9], [0, 0, 90, 60, 0.8]])] * 2
    truth = Targets((regions[0][:, :4],) * 2, (), None, IMAGE)
    on = step(regions=regions, truth=truth, finest=16, iteration=50)
    options = MimicOptions(variant=variant, pooling=pooling)
    method = built(Mimic, options, on)
    total(method.losses(on)).backward()
    grads = [leaf.grad for leaf in [*method.parameters(), *leaves(on.student, "neck")]]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert all(leaf.grad is None for name in Mimic(options).needs() for leaf in leaves(on.teacher, name))
    assert all(leaf.grad is None for leaf in leaves(on.student, "proposals"))


@pytest.mark.parametrize("variant", DENSE)
def test_variants_of_dense_detectors_need_no_proposals(variant):
    on = step("dense")
    options = MimicOptions(variant=variant)
    assert set(Mimic(options).needs()) <= FAMILIES["dense"]
    assert total(built(Mimic, options, on).losses(on)) > 0


@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_zero_weight_is_zero(variant, pooling):
    on = step()
    loss = total(built(Mimic, MimicOptions(variant=variant, weight=0, pooling=pooling), on).losses(on))
    loss.backward()
    assert loss.item() == 0
    assert all(leaf.grad is not None and not leaf.grad.any() for leaf in leaves(on.student, "neck"))


@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
@pytest.mark.parametrize("variant", ["proposals", "multi-level", "gt-boxes"])
def test_no_regions_give_zero_and_valid_gradients(variant, pooling):
    on = step(regions=proposals((0, 0)), truth=targets((0, 0)))
    method = built(Mimic, MimicOptions(variant=variant, pooling=pooling), on)
    loss = total(method.losses(on))
    loss.backward()
    assert loss.item() == 0
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in method.parameters())


def test_no_objects_still_mimic_the_background():
    on = step(truth=targets((0, 0)))
    assert total(built(Mimic, MimicOptions(), on).losses(on)) > 0


@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
def test_equal_regions_cost_nothing_and_constant_difference_its_half_square(pooling):
    on = step(channels=(3, 3), finest=16)
    method = built(Mimic, MimicOptions(pooling=pooling), on)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
        for transform in method.transforms:
            transform.conv.weight[range(3), range(3), 1, 1] = 1
    same = Step(on.student, {**on.teacher, "neck": on.student["neck"]}, on.targets, on.images, 0, 100)
    assert method.losses(same)["mimic"].item() == pytest.approx(0, abs=1e-10)
    above = tuple(level.detach() + 3 for level in on.student["neck"])
    off = Step(on.student, {**on.teacher, "neck": above}, on.targets, on.images, 0, 100)
    # RoIAlign reads 0 outside the map, in both models, so all regions here are inside.
    assert method.losses(off)["mimic"].item() == pytest.approx(4.5, rel=1e-4)


def test_multi_level_is_the_mean_over_levels_of_all_regions():
    regions = [torch.tensor([[8.0, 8, 40, 40, 0.9]])] * 2
    on = step(regions=regions)
    both = built(Mimic, MimicOptions(variant="multi-level"), on)
    parts = []
    for finest in (1000.0, 0.01):
        levels = {**on.student, "box_levels": LevelsByScale(2, finest)}
        one = built(Mimic, MimicOptions(), on)
        one.load_state_dict(both.state_dict())
        parts.append(one.losses(replace(on, student=levels))["mimic"])
    torch.testing.assert_close(both.losses(on)["mimic"], (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("strides", [(8, 16), (16, 32)])
def test_student_of_another_resolution(strides):
    on = step(strides=strides, teacher_strides=(8, 16))
    method = built(Mimic, MimicOptions(), on)
    total(method.losses(on)).backward()
    assert any("transposed" in note for note in method.notes()) is (strides == (16, 32))
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize("size", [(7, 9), (8, 10), (7, 10)])
def test_half_resolution_reaches_odd_and_even_sizes(size):
    on = step()
    student, teacher = (torch.randn(1, 4, 4, 5),), (torch.randn(1, 6, *size),)
    on = Step({**on.student, "neck": student}, {**on.teacher, "neck": teacher}, on.targets, on.images, 0, 100)
    method = built(Mimic, MimicOptions(variant="whole-map"), on)
    assert total(method.losses(on)) > 0


def test_quarter_resolution_is_interpolated():
    on = step(strides=(32,), teacher_strides=(8,))
    method = built(Mimic, MimicOptions(), on)
    assert total(method.losses(on)) > 0
    assert any("bilinear" in note for note in method.notes())


def test_head_outputs_are_all_logits_and_the_positives_boxes():
    on = step()
    options = MimicOptions(variant="head-outputs", weight=2)
    assert Mimic(options).needs() == ("neck", "proposals", "box_levels", "roi_targets")
    terms = built(Mimic, options, on).losses(on)
    ours, theirs = on.student["roi_targets"], on.teacher["roi_targets"]
    assert len(ours.boxes) == 3
    for name in ("logits", "boxes"):
        torch.testing.assert_close(terms[name], (getattr(ours, name) - getattr(theirs, name)).square().mean())


def test_two_stage_trains_the_rpn_with_mimic_first():
    method = built(Mimic, MimicOptions(variant="two-stage", stage=0.5), step())
    early, late = step(iteration=49), step(iteration=50)
    for on, weight in ((early, 0), (late, 1)):
        terms = method.losses(on)
        assert method.head_weight(on) == weight
        assert terms["mimic"] > 0
        assert (terms["logits"] > 0) == (terms["boxes"] > 0) == weight
    assert built(Mimic, MimicOptions(variant="head-outputs"), early).head_weight(early) == 1.0


def test_a_dense_detector_cuts_each_box_from_the_level_of_its_anchors(monkeypatch):
    boxes = torch.tensor([[0.0, 0, 30, 30], [0, 0, 62, 62]])
    on = step("dense", truth=Targets((boxes, boxes[:0]), (), None, IMAGE))
    assert on.student["box_levels"](boxes).tolist() == [0, 1]
    method, taken = built(Mimic, MimicOptions(variant="gt-boxes"), on), []
    monkeypatch.setattr(
        Mimic, "_level", lambda _self, ours, _theirs, rois, _stride: taken.append(rois) or ours.sum() * 0
    )
    method.losses(on)
    assert [rois[0, 1:].tolist() for rois in taken] == boxes.tolist()


def test_other_numbers_of_levels_are_refused():
    with pytest.raises(UserError, match="the student's neck has 2 levels, the teacher's 3"):
        built(Mimic, MimicOptions(), step(teacher_strides=(8, 16, 32)))


def test_random_choices_are_drawn_from_the_steps_generator():
    on = step(truth=targets((6, 6)))
    method = built(Mimic, MimicOptions(variant="gt-boxes"), on)
    values = []
    for seed in (1, 1, 2):
        on.generator.manual_seed(seed)
        values.append(method.losses(on)["mimic"].item())
    assert values[0] == values[1] != values[2]


TRUTH = torch.tensor([[10.0, 10, 30, 30]])


def scored(positives: int, negatives: int) -> torch.Tensor:
    """Return proposals on the truth and far from it; all scores differ, and those of positives are higher."""
    near, far = TRUTH.repeat(positives, 1), TRUTH.repeat(negatives, 1) + 30
    return torch.cat(
        [torch.cat([near, far]), torch.linspace(0.9, 0.1, positives + negatives)[:, None]], dim=1
    )


@pytest.mark.parametrize(
    ("positives", "negatives", "kept"),
    [(9, 30, (4, 4)), (2, 30, (2, 6)), (0, 30, (0, 8)), (2, 3, (2, 3)), (20, 1, (7, 1)), (0, 0, (0, 0))],
)
def test_the_sampler_fills_up_with_negatives(positives, negatives, kept):
    proposals = scored(positives, negatives)
    shuffled = proposals[torch.randperm(len(proposals))]
    rois = proposal_regions([shuffled, shuffled[:0]], [TRUTH, TRUTH], 8, 0.5)
    near = largest_overlap(rois[:, 1:], TRUTH) >= 0.5
    assert (int(near.sum()), int((~near).sum())) == kept
    assert not rois[:, 0].any()


def test_the_best_of_each_kind_are_taken():
    proposals = scored(6, 6)
    proposals[:, :4] += torch.linspace(0, 1, 12)[:, None]  # so that boxes differ
    rois = proposal_regions([proposals.flip(0)], [TRUTH], 4, 0.5)
    assert torch.equal(rois[:, 1:], proposals[[0, 1, 6, 7], :4])


def test_rois_name_their_image():
    rois = proposal_regions(proposals((3, 0, 4)), [torch.zeros(0, 4)] * 3, 256, 0.5)
    assert rois[:, 0].tolist() == [0, 0, 0, 2, 2, 2, 2]


def test_random_boxes_lie_inside_and_elsewhere():
    truth = targets((6, 0))
    for _ in range(20):
        rois = box_regions(truth, 0.5)
        torch.testing.assert_close(rois[:6, 1:], truth.boxes[0])
        moved = rois[6:, 1:]
        assert (rois[:, 0] == 0).all()
        assert (moved >= 0).all()
        assert (moved[:, [2, 0]] <= IMAGE[1] + 1e-4).all()
        assert (moved[:, [3, 1]] <= IMAGE[0] + 1e-4).all()
        assert (largest_overlap(moved, truth.boxes[0]) < 0.5).all()


def test_random_boxes_lie_in_the_image_and_not_in_its_padding():
    box = torch.tensor([[0.0, 0, 20, 20]])
    truth = Targets((box,), (), None, IMAGE, sizes=((40, 50),))
    for _ in range(20):
        moved = box_regions(truth, 0.5)[1:, 1:]
        assert (moved[:, 2] <= 50 + 1e-4).all()
        assert (moved[:, 3] <= 40 + 1e-4).all()


def test_whole_map_is_the_mean_over_levels():
    on = step()
    method = built(Mimic, MimicOptions(variant="whole-map"), on)
    adapted = [t.conv(m) for t, m in zip(method.transforms, on.student["neck"], strict=True)]
    parts = [0.5 * (a - t).square().mean() for a, t in zip(adapted, on.teacher["neck"], strict=True)]
    torch.testing.assert_close(method.losses(on)["mimic"], (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
def test_autocast(pooling):
    on = step()
    method = built(Mimic, MimicOptions(pooling=pooling), on)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = method.losses(on)
    total(terms).backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize(
    "wrong",
    [
        {"variant": "rois"},
        {"pooling": "max"},
        {"proposals": 1},
        {"size": 0},
        {"weight": -1},
        {"overlap": 0},
        {"x": 1},
    ],
)
def test_options_are_checked(wrong):
    with pytest.raises(ValidationError):
        MimicOptions(**wrong)

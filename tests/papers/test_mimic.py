from __future__ import annotations

import pytest
import torch
from fake_steps import IMAGE, built, leaves, proposals, step, targets, total
from pydantic import ValidationError

from kdbench.distill import Step, Targets, largest_overlap
from kdbench.errors import UserError
from kdbench_papers.mimic.card import CARD, MimicOptions
from kdbench_papers.mimic.method import Mimic
from kdbench_papers.mimic.sampling import balanced, box_regions, proposal_regions

VARIANTS = tuple(CARD.variants)
DENSE = ("gt-boxes", "whole-map")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("pooling", ["roi-align", "crop"])
def test_every_variant_trains_student_and_transform(variant, pooling):
    # Two scales of region, so that both levels have some.
    regions = [torch.tensor([[0.0, 0, 8, 8, 0.9], [0, 0, 90, 60, 0.8]])] * 2
    on = step(regions=regions, truth=Targets((regions[0][:, :4],) * 2, (), None, IMAGE))
    options = MimicOptions(variant=variant, pooling=pooling, finest=2)
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
    assert Mimic(options).needs() == ("neck",)
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
    on = step(channels=(3, 3))
    method = built(Mimic, MimicOptions(pooling=pooling, finest=2), on)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.zero_()
        for transform in method.transforms:
            transform.conv.weight[range(3), range(3), 1, 1] = 1
    same = Step(on.student, {**on.teacher, "neck": on.student["neck"]}, on.targets, on.images, 0, 100)
    assert method.losses(same)["mimic"].item() == pytest.approx(0, abs=1e-10)
    above = tuple(level.detach() + 3 for level in on.student["neck"])
    off = Step(on.student, {**on.teacher, "neck": above}, on.targets, on.images, 0, 100)
    # RoI-align reads 0 outside the map, in both models, so all regions here lie inside.
    assert method.losses(off)["mimic"].item() == pytest.approx(4.5, rel=1e-4)


def test_multi_level_is_the_mean_over_levels_of_all_regions():
    regions = [torch.tensor([[8.0, 8, 40, 40, 0.9]])] * 2
    on = step(regions=regions)
    both = built(Mimic, MimicOptions(variant="multi-level"), on)
    parts = []
    for finest in (1000.0, 0.01):
        one = built(Mimic, MimicOptions(finest=finest), on)
        one.load_state_dict(both.state_dict())
        parts.append(one.losses(on)["mimic"])
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


def test_two_stage_adds_the_heads_outputs():
    on = step()
    options = MimicOptions(variant="two-stage", weight=2)
    assert Mimic(options).needs() == ("neck", "proposals", "roi_logits", "roi_boxes")
    terms = built(Mimic, options, on).losses(on)
    for name in ("roi_logits", "roi_boxes"):
        torch.testing.assert_close(terms[name], (on.student[name] - on.teacher[name]).square().mean())
    on.teacher["roi_boxes"] = torch.randn(10, 4)
    with pytest.raises(UserError, match="roi_boxes"):
        built(Mimic, options, on)


def test_other_numbers_of_levels_are_refused():
    with pytest.raises(UserError, match="the student's neck has 2 levels, the teacher's 3"):
        built(Mimic, MimicOptions(), step(teacher_strides=(8, 16, 32)))


def test_random_choices_follow_the_global_seed():
    regions = proposals((40, 40))
    truth = Targets(tuple(part[:6, :4] for part in regions), (), None, IMAGE)
    on = step(regions=regions, truth=truth)
    method = built(Mimic, MimicOptions(), on)
    values = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        values.append(method.losses(on)["mimic"].item())
    assert values[0] == values[1] != values[2]


def test_proposals_are_the_best_and_balanced():
    truth = torch.tensor([[10.0, 10, 30, 30]])
    near = torch.tensor([[10.0, 10, 30, 29, 0.9], [11, 10, 30, 30, 0.2], [10, 10, 29, 30, 0.1]])
    far = torch.cat(
        [torch.tensor([[40.0, 40, 60, 60]]).repeat(20, 1), torch.linspace(0.3, 0.8, 20)[:, None]], 1
    )
    rois = proposal_regions([torch.cat([far, near])], [truth], 22, 0.5)
    # The worst of the 23 falls out of the candidates; the two other positives meet two negatives.
    assert rois.shape == (4, 5)
    assert (largest_overlap(rois[:, 1:], truth) >= 0.5).sum() == 2
    assert not (rois[:, 1:] == near[2, :4]).all(dim=1).any()
    nothing = proposal_regions([torch.zeros(0, 5)] * 2, [truth, truth], 22, 0.5)
    assert nothing.shape == (0, 5)


def test_rois_name_their_image():
    rois = proposal_regions(proposals((3, 0, 4)), [torch.zeros(0, 4)] * 3, 256, 0.5)
    assert rois[:, 0].tolist() == [0, 0, 0, 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("positives", "negatives", "kept"), [(5, 9, 10), (9, 5, 10), (0, 7, 7), (4, 0, 4), (0, 0, 0)]
)
def test_balanced(positives, negatives, kept):
    positive = torch.cat([torch.ones(positives), torch.zeros(negatives)]).bool()
    index = balanced(positive)
    assert len(index) == len(index.unique()) == kept
    if positives and negatives:
        assert positive[index].sum() == kept // 2


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

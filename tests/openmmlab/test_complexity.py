from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from kdbench.datasets import digits
from kdbench.errors import UserError
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.pairs.small import faster_rcnn, gfl, pspnet, stages
from kdbench.specs import Model, Pair, Schedule

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from kdbench.openmmlab.complexity import describe, parameters_and_flops  # noqa: E402
from kdbench.openmmlab.models.building import build_model, full_config, parameters_of  # noqa: E402

SCALE = (96, 64)


def schedule(scale=SCALE):
    return Schedule(iterations=10, batch_size=2, lr=0.01, scale=scale)


def counted(model, dataset, scale=SCALE):
    recipe = schedule(scale)
    return parameters_and_flops(full_config(model, dataset, recipe, pretrained=False), dataset, recipe)


def convolutions(model, inputs, run):
    """Multiply-adds by hand: each convolution's and linear layer's output elements times their fan-in."""
    total = 0

    def hook(module, _inputs, output):
        nonlocal total
        total += output.numel() * module.weight[0].numel()

    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    handles = [part.register_forward_hook(hook) for part in model.modules() if isinstance(part, kinds)]
    with torch.no_grad():
        run(model, inputs)
    for handle in handles:
        handle.remove()
    return total


def two_stage(model, inputs):
    features = model.extract_feat(inputs)
    model.rpn_head(features)
    model.roi_head.bbox_head(torch.zeros(64, 16, 5, 5))


CASES = {
    "two-stage": (faster_rcnn(18, 8, 16, first=1, hidden=32), digits.detection, two_stage),
    "dense": (
        gfl(18, 8, 16, first=1, norm="head"),
        digits.detection,
        lambda m, x: m.bbox_head(m.extract_feat(x)),
    ),
    "segmentation": (
        pspnet(18, 8, 16, [1.0] * 11),
        digits.segmentation,
        lambda m, x: m.decode_head(m.extract_feat(x)),
    ),
}


@pytest.mark.parametrize("family", CASES)
def test_against_a_count_by_hooks_on_real_numbers(family):
    model, dataset, run = CASES[family]
    config = full_config(model, dataset, schedule(), pretrained=False)
    real = build_model(config, dataset, 0).eval()
    expected = convolutions(real, torch.zeros(1, 3, SCALE[1], SCALE[0]), run)
    assert counted(model, dataset) == (parameters_of(real), expected)


def test_more_proposals_cost_the_roi_head_alone():
    model = CASES["two-stage"][0]
    more = model.model_copy(update={"edits": model.edits | {"test_cfg.rpn.max_per_img": 300}})
    few, many = counted(model, digits.detection), counted(more, digits.detection)
    a_proposal = 16 * 5 * 5 * 32 + 32 * 32 + 32 * 11 + 32 * 4
    assert many[0] == few[0]
    assert many[1] - few[1] == (300 - 64) * a_proposal


def test_an_image_four_times_as_large_costs_four_times_as_much():
    parameters, flops = counted(CASES["dense"][0], digits.detection)
    assert counted(CASES["dense"][0], digits.detection, (192, 128)) == (parameters, 4 * flops)


def test_the_image_is_padded_as_the_model_pads_it():
    model = CASES["dense"][0]
    padded = model.model_copy(update={"edits": model.edits | {"data_preprocessor.pad_size_divisor": 32}})
    assert counted(padded, digits.detection, (70, 40)) == counted(model, digits.detection, (96, 64))
    assert counted(padded, digits.detection, (70, 40))[1] > counted(model, digits.detection, (70, 40))[1]


def test_counting_draws_no_random_numbers():
    state = torch.get_rng_state()
    counted(CASES["dense"][0], digits.detection)
    assert torch.equal(torch.get_rng_state(), state)


def test_retinanet_against_what_mmdets_user_guide_shows():
    """239.32 GFLOPs and 37.74 M at 1280 x 800; theirs counts normalisation too, but no frozen parameters."""
    coco = replace(digits.detection, classes=tuple(map(str, range(80))))
    model = Model(config="mmdet::retinanet/retinanet_r50_fpn_1x_coco.py")
    parameters, flops = counted(model, coco, (1280, 800))
    frozen = 7 * 7 * 3 * 64 + 64 * 64 + 9 * 64 * 64 + 64 * 256 * 2 + 2 * (256 * 64 + 9 * 64 * 64 + 64 * 256)
    frozen += 2 * (64 + 64 + 64 + 256 + 256 + 2 * (64 + 64 + 256))
    assert (parameters - frozen) / 1e6 == pytest.approx(37.74, abs=0.005)
    assert 0.99 * 239.32e9 < flops < 239.32e9


def test_describe_counts_both_models_at_the_students_size():
    teacher, student = pspnet(18, 16, 32, [1.0] * 11), pspnet(18, 8, 16, [1.0] * 11)
    pair = Pair(
        name="p",
        title="P",
        dataset="digits-seg",
        task="segmentation",
        family="segmentation",
        teacher=teacher,
        student=student,
        schedule=schedule(),
        teacher_schedule=schedule((256, 256)),
    )
    figures = describe(pair, digits.segmentation)
    for role, model in (("teacher", teacher), ("student", student)):
        assert tuple(figures[role].values()) == counted(model, digits.segmentation)
    assert figures["teacher"]["parameters"] > figures["student"]["parameters"]
    assert stages(18, 8)[3] == 64


@pytest.mark.parametrize(
    ("edits", "told"),
    [
        ({"backbone.base_chanels": 8}, "base_chanels"),
        ({"neck.in_channels": [8, 16, 32, 65]}, "does not work: "),
    ],
)
def test_a_pair_that_cannot_be_built_is_told_in_one_line(edits, told):
    model, recipe = gfl(18, 8, 16, first=1, norm="head"), schedule()
    pair = Pair(
        name="broken",
        title="Broken",
        dataset="digits",
        task="detection",
        family="dense",
        teacher=model,
        student=model.model_copy(update={"edits": {**model.edits, **edits}}),
        schedule=recipe,
        teacher_schedule=recipe,
    )
    with pytest.raises(
        UserError, match=rf"^the student's model \(mmdet::gfl/.*{told}.*changes to student"
    ) as caught:
        describe(pair, digits.detection)
    assert "\n" not in str(caught.value)

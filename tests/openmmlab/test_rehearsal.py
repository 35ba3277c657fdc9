"""What untrained models and a few images tell before the first training, each refused in words."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from kdbench.errors import ArgumentError, GateError, UserError
from kdbench.specs import Model


def checked(bench, subject, role="student", **changes):
    from kdbench.openmmlab.checks.rehearsal import Untrained, check_model

    return check_model(role, subject, bench.place("nowhere"), Untrained(), **changes)


def together(bench, student, teacher, selector, *, force=False):
    from kdbench.openmmlab.checks.rehearsal import Untrained, check_together

    card, options = bench.card(selector)
    check_together(student, [teacher], card, options, bench.place("nowhere"), Untrained(), force=force)


def with_model(subject, config, **edits):
    return replace(subject, model=Model(config=config, edits=edits))


def edited(subject, **edits):
    return replace(subject, model=subject.model.model_copy(update={"edits": subject.model.edits | edits}))


OCR = "mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py"
POINT = "mmseg::point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py"
RTMDET = "mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py"


def test_a_model_that_trains_is_told_in_one_line(bench):
    assert checked(bench, bench.subject("gfl")).startswith("student: mmdet::gfl/")
    line = checked(bench, bench.subject("gfl", warmup=4))
    assert line.endswith("all 4 iterations are warm-up (4): the learning rate never falls")


def test_one_image_in_a_pooled_batch_norm(bench):
    subject = bench.subject("pspnet", batch_size=1)
    with pytest.raises(
        ArgumentError, match=r"^`settings` schedule\.batch_size: the student normalises over a batch"
    ):
        checked(bench, subject)
    with pytest.raises(
        ArgumentError, match=r"^`settings` teacher_schedule\.batch_size: the teacher normalises"
    ):
        checked(bench, subject, "teacher")
    assert checked(bench, bench.subject("fcn", batch_size=1))


def test_sides_that_are_no_multiples(bench):
    subject = with_model(bench.subject("gfl", scale=(72, 64)), RTMDET)
    told = r"^`settings` teacher\.data_preprocessor\.pad_size_divisor: .* multiples of 32, not 72 x 64: set"
    with pytest.raises(ArgumentError, match=told):
        checked(bench, subject, "teacher", trained=False)
    padded = edited(subject, **{"data_preprocessor.pad_size_divisor": 32})
    assert checked(bench, padded, "teacher", trained=False)


def test_test_images_of_other_sizes_are_looked_at(bench, monkeypatch):
    subject = with_model(bench.subject("gfl", keep_ratio=True), RTMDET)
    assert checked(bench, subject, trained=False)
    monkeypatch.setattr(
        "kdbench.openmmlab.checks.rehearsal.evaluation_sizes", lambda *_: [(64, 64), (64, 48)]
    )
    with pytest.raises(ArgumentError, match="multiples of 32, not 64 x 48"):
        checked(bench, subject, trained=False)
    assert checked(bench, bench.subject("gfl", keep_ratio=True), trained=False)


def test_masks_of_objects_are_not_there(bench):
    head = {
        "type": "FCNMaskHead",
        "num_convs": 1,
        "in_channels": 16,
        "conv_out_channels": 8,
        "num_classes": 10,
    }
    pooled = {"type": "SingleRoIExtractor", "out_channels": 16, "featmap_strides": [8, 16, 32]}
    pooled["roi_layer"] = {"type": "RoIAlign", "output_size": 14, "sampling_ratio": 0}
    masks = {
        "roi_head.mask_head": head,
        "roi_head.mask_roi_extractor": pooled,
        "train_cfg.rcnn.mask_size": 28,
    }
    subject = edited(bench.subject("faster"), **masks)
    with pytest.raises(
        ArgumentError, match=r"^`settings` student\.roi_head\.mask_head: .* digits has not: set this"
    ):
        checked(bench, subject)


def test_a_model_of_no_known_family(bench):
    teacher = with_model(bench.subject("gfl"), "mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py")
    with pytest.raises(UserError, match=r"^model 'SparseRCNN' is of no known family"):
        checked(bench, teacher, "teacher")


def test_other_errors_of_a_model_name_its_config(bench):
    subject = edited(bench.subject("gfl"), **{"neck.in_channels": [1, 2, 3]})
    with pytest.raises(
        UserError, match=r"^the student's model \(mmdet::gfl/.*\) does not work: AssertionError"
    ):
        checked(bench, subject)


@pytest.mark.parametrize(
    ("student", "teacher", "selector", "told"),
    [
        ("retinanet", "fcos", "hinton", "do not line up: choose a pair with the same kind of head"),
        (
            "gfl",
            "faster",
            "hinton",
            "the student is a dense model, the teacher a two-stage one: their",
        ),
        ("gfl", "faster", "fitnets", None),
        ("gfl", "gfl", "hinton", None),
        ("pspnet", "fcn", "cwd[where=logits]", None),
    ],
)
def test_what_goes_together(bench, student, teacher, selector, told):
    models = bench.subject(student), bench.subject(teacher, "teacher")
    if told is None:
        together(bench, *models, selector)
        return
    with pytest.raises(UserError, match=told):
        together(bench, *models, selector)


def test_other_numbers_of_levels(bench):
    teacher = edited(bench.subject("faster", "teacher"), **{"neck.num_outs": 4})
    with pytest.raises(UserError, match="the student's neck has 3 levels, the teacher's 4: choose a pair"):
        together(bench, bench.subject("gfl"), teacher, "fitnets")


def test_other_pixels_can_be_overruled(bench):
    teacher = edited(bench.subject("gfl", "teacher"), **{"data_preprocessor.pad_size_divisor": 48})
    with pytest.raises(GateError, match=r"different size .* To go on all the same, give `force=True`\."):
        together(bench, bench.subject("gfl"), teacher, "fitnets")
    together(bench, bench.subject("gfl"), teacher, "fitnets", force=True)


@pytest.mark.parametrize("config", [OCR, POINT])
def test_cascades_of_segmentation_are_refused_in_words(bench, config):
    teacher = with_model(bench.subject("pspnet", "teacher"), config)
    assert checked(bench, teacher, "teacher", trained=False)
    with pytest.raises(
        UserError, match=r"^CascadeEncoderDecoder has a cascade of heads, which methods cannot"
    ):
        together(bench, bench.subject("pspnet"), teacher, "hinton")


class Images:
    """Images of a training, with so many boxes each, or masks of these values."""

    def __init__(self, boxes=(), masks=()):
        self.boxes, self.masks = boxes, masks
        self.images = SimpleNamespace(ignore_index=255)

    def __getitem__(self, position):
        from mmengine.structures import BaseDataElement, InstanceData, PixelData

        truth = BaseDataElement()
        if self.boxes:
            truth.gt_instances = InstanceData(bboxes=torch.zeros(self.boxes[position % len(self.boxes)], 4))
        else:
            values = torch.full((1, 2, 2), self.masks[position % len(self.masks)])
            truth.gt_sem_seg = PixelData(data=values)
        return {"inputs": torch.full((3, 2, 2), position), "data_samples": truth}


@pytest.mark.parametrize(
    ("images", "taken", "seen"),
    [
        (Images(boxes=(1, 2, 0)), [0, 1], "2 images, 2 of them with objects"),
        (Images(boxes=(0, 0, 3, 0, 1)), [2, 4], "2 images, 2 of them with objects"),
        (Images(boxes=(0, 0, 3)), [2, 5], "2 images, 2 of them with objects"),
        (Images(boxes=(0,)), [0, 1], "2 images, 0 of them with objects"),
        (Images(masks=(255, 0, 255, 3)), [1, 3], "2 images, 2 of them with objects"),
    ],
)
def test_a_probe_looks_for_objects(images, taken, seen):
    from kdbench.openmmlab.checks.preflight import probe_of

    probe = probe_of(images)
    assert [int(image[0, 0, 0]) for image in probe.raw["inputs"]] == taken
    assert probe.seen == seen

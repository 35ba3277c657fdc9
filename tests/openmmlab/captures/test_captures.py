"""What each capture is, in each family that has it, against the models run by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from small_bench import CHANNELS, FAMILIES, IMAGE, MODELS, WIDTH

from kdbench.distill.captures import FAMILIES as NAMES
from kdbench.distill.captures import tensors_of
from kdbench.distill.randomness import seeded
from kdbench.errors import UserError

DETECTORS = [kind for kind, family in FAMILIES.items() if family != "segmentation"]
DENSE = [kind for kind, family in FAMILIES.items() if family == "dense"]
SEGMENTORS = [kind for kind, family in FAMILIES.items() if family == "segmentation"]
ANCHORS = {"faster": 3, "retinanet": 9, "gfl": 1, "fcos": 1}
BOXES = {"faster": 4, "retinanet": 4, "gfl": 4 * 17, "fcos": 4}
CLASSES = 10
STRIDES = (8, 16, 32)
SIZES = tuple(IMAGE // stride for stride in STRIDES)
SHARED = {"proposals", "rois", "anchors", "box_levels"}
"""Captures that carry no gradient."""


def names_of(kind: str) -> frozenset[str]:
    """The captures of a kind's family, without those of a part that its model lacks."""
    return NAMES[FAMILIES[kind]] - (frozenset() if kind == "fcn" else {"auxiliary_logits"})


@cache
def seen(bench: Any, kind: str) -> dict[str, Any]:
    """One training forward of a student with everything captured, and the teacher's side."""
    from kdbench.openmmlab.captures.families import captures_of, recording
    from kdbench.openmmlab.training.distiller import renormalise

    names = names_of(kind)
    student, teacher = bench.subject(kind).build().train(), bench.teacher(kind)
    inputs, samples = bench.probe(kind).batch(student)
    with seeded("test"), recording(student, names) as raw:
        losses = student(inputs, samples, mode="loss")
    return {
        "student": student,
        "teacher": teacher.model,
        "inputs": renormalise(inputs, student.data_preprocessor, teacher.model.data_preprocessor, samples),
        "samples": samples,
        "losses": losses,
        "raw": raw,
        "own": captures_of(student, raw, names),
        "theirs": teacher.captures(inputs, samples, student, raw, names),
    }


def both(bench, kind, name):
    found = seen(bench, kind)
    return ("student", found["own"][name]), ("teacher", found["theirs"][name])


def shapes(value):
    return [tuple(part.shape) for part in tensors_of(value)]


@pytest.mark.parametrize("kind", FAMILIES)
def test_backbone(bench, kind):
    widths = [WIDTH * 2**stage for stage in range(4)]
    steps = (4, 8, 8, 8) if kind in SEGMENTORS else (4, 8, 16, 32)
    used = MODELS[kind](16).edits.get("backbone.num_stages", 4)
    expected = [(2, c, IMAGE // s, IMAGE // s) for c, s in zip(widths, steps, strict=True)][:used]
    for _, value in both(bench, kind, "backbone"):
        assert shapes(value) == expected


@pytest.mark.parametrize("kind", DETECTORS)
def test_neck_of_a_detector(bench, kind):
    for role, value in both(bench, kind, "neck"):
        assert shapes(value) == [(2, CHANNELS[role], size, size) for size in SIZES]


def test_a_box_is_on_the_level_that_the_models_own_extractor_pools_it_from(bench):
    boxes = torch.rand(200, 2) * 20
    boxes = torch.cat([boxes, boxes + 1 + 300 * torch.rand(200, 2) ** 3], dim=1)
    for role, levels in both(bench, "faster", "box_levels"):
        extractor = seen(bench, "faster")[role].roi_head.bbox_roi_extractor
        rois = torch.nn.functional.pad(boxes, (1, 0))
        expected = extractor.map_roi_levels(rois, extractor.num_inputs)
        assert set(expected.tolist()) == {0, 1, 2}
        assert torch.equal(levels(boxes), expected)


@pytest.mark.parametrize("kind", DENSE)
def test_a_box_of_a_dense_head_is_on_the_level_of_its_anchors(bench, kind):
    levels, anchors = (both(bench, kind, name)[0][1] for name in ("box_levels", "anchors"))
    for level, boxes in enumerate(anchors):
        found = levels(boxes[: 2 * ANCHORS[kind]])
        assert (found == level).float().mean() > 0.5
        assert (found <= level).all()  # an anchor that a finer level has as well is on that


@pytest.mark.parametrize("kind", SEGMENTORS)
def test_neck_of_a_segmentor_is_what_the_classifier_reads(bench, kind):
    found = seen(bench, kind)
    size = IMAGE // (4 if kind == "deeplab" else 8)
    for role, value in both(bench, kind, "neck"):
        assert shapes(value) == [(2, CHANNELS[role], size, size)]
    logits = found["teacher"].decode_head.conv_seg(found["theirs"]["neck"][0])
    assert torch.equal(logits, found["theirs"]["logits"].values[0])


@pytest.mark.parametrize("kind", SEGMENTORS)
def test_logits_of_a_segmentor(bench, kind):
    found = seen(bench, kind)
    size = IMAGE // (4 if kind == "deeplab" else 8)
    for _, value in both(bench, kind, "logits"):
        assert value.activation == "softmax"
        assert shapes(value) == [(2, CLASSES + 1, size, size)]
    again = found["student"].decode_head.loss_by_feat(found["own"]["logits"].values[0], found["samples"])
    assert torch.equal(again["loss_ce"], found["losses"]["decode.loss_ce"])
    teacher = found["teacher"]
    by_hand = teacher.decode_head.forward(teacher.backbone(found["inputs"]))
    assert torch.equal(by_hand, found["theirs"]["logits"].values[0])


@pytest.mark.parametrize("kind", DENSE)
def test_head_and_logits_of_a_dense_head(bench, kind):
    anchors, boxes = ANCHORS[kind], BOXES[kind]
    for (_, head), (_, logits) in zip(both(bench, kind, "head"), both(bench, kind, "logits"), strict=True):
        assert shapes(head.logits) == [(2, anchors * CLASSES, size, size) for size in SIZES]
        assert shapes(head.boxes) == [(2, anchors * boxes, size, size) for size in SIZES]
        assert shapes(logits) == [(2, CLASSES, anchors, size, size) for size in SIZES]
        assert logits.activation == "sigmoid"
        for raw, value in zip(head.logits, logits.values, strict=True):
            for image, label, anchor, y, x in ((0, 0, 0, 0, 0), (1, 7, anchors - 1, 1, 0), (1, 9, 0, 0, 1)):
                expected = raw[image, anchor * CLASSES + label, y, x]
                assert value[image, label, anchor, y, x] == expected


@pytest.mark.parametrize("kind", DENSE)
def test_a_dense_teachers_head_by_hand(bench, kind):
    found = seen(bench, kind)
    teacher = found["teacher"]
    features = teacher.extract_feat(found["inputs"])
    decoded = teacher.bbox_head(features)
    for level, stride in enumerate(STRIDES):
        assert torch.equal(decoded[0][level], found["theirs"]["head"].logits[level])
        factor = stride if kind == "fcos" else 1  # with norm_on_bbox, FCOS decodes in eval mode
        torch.testing.assert_close(decoded[1][level], found["theirs"]["head"].boxes[level] * factor)


@pytest.mark.parametrize("kind", ["retinanet", "gfl"])
def test_the_students_head_is_what_its_loss_is_of(bench, kind):
    found = seen(bench, kind)
    head, predicted = found["student"].bbox_head, found["own"]["head"]
    truths = [sample.gt_instances for sample in found["samples"]]
    metas = [sample.metainfo for sample in found["samples"]]
    again = head.loss_by_feat(list(predicted.logits), list(predicted.boxes), truths, metas)
    for name, value in again.items():
        assert torch.equal(torch.stack(value), torch.stack(found["losses"][name]))


@pytest.mark.parametrize("kind", DENSE)
def test_a_dense_heads_boxes_are_those_that_it_predicts_by(bench, kind):
    found = seen(bench, kind)
    for role, side in (("student", found["own"]), ("teacher", found["theirs"])):
        head, raw = found[role].bbox_head, side["head"]
        priors = head.prior_generator.grid_priors([level.shape[-2:] for level in raw.boxes], device="cpu")
        for level, (boxes, prior, decoded) in enumerate(
            zip(raw.boxes, priors, side["head_boxes"], strict=True)
        ):
            assert decoded.shape == (2, len(prior), 4)
            rows = boxes[1].permute(1, 2, 0).reshape(len(prior), -1)
            if kind == "gfl":
                expected = head.bbox_coder.decode(
                    head.anchor_center(prior), head.integral(rows) * STRIDES[level]
                )
            else:
                expected = head.bbox_coder.decode(prior, rows * (STRIDES[level] if kind == "fcos" else 1))
            torch.testing.assert_close(decoded[1], expected)


@pytest.mark.parametrize("kind", DENSE)
def test_a_teachers_own_hidden_maps_lead_to_its_own_predictions(bench, kind):
    """From behind each convolution; and gradients reach the maps, the head stays as it was."""
    from kdbench.openmmlab.captures.heads import tail

    found = seen(bench, kind)
    head, hidden = found["teacher"].bbox_head, found["theirs"]["head_hidden"]
    before = traces(head)
    for after, levels in enumerate(hidden, start=1):
        assert [[tuple(maps.shape) for maps in both] for both in levels] == [
            [(2, head.feat_channels, size, size)] * 2 for size in SIZES
        ]
        maps = [[part.clone().requires_grad_() for part in both] for both in levels]
        crossed = tail(head, maps, after)
        for name in ("logits", "boxes"):
            for ours, theirs in zip(
                getattr(crossed, name), getattr(found["theirs"]["head"], name), strict=True
            ):
                torch.testing.assert_close(ours, theirs)
        sum(part.sum() for part in tensors_of(crossed)).backward()
        assert all(part.grad.any() for both in maps for part in both)
    assert traces(head) == before
    assert not any(module.training for module in head.modules())
    assert all(parameter.grad is None for parameter in head.parameters())
    with pytest.raises(UserError, match="take at=1 to at="):
        tail(head, maps, len(hidden) + 1)


@pytest.mark.parametrize("kind", DETECTORS)
def test_anchors_follow_the_grid(bench, kind):
    for _, levels in both(bench, kind, "anchors"):
        assert [len(level) for level in levels] == [size * size * ANCHORS[kind] for size in SIZES]
        for level, size, stride in zip(levels, SIZES, STRIDES, strict=True):
            centers = ((level[:, :2] + level[:, 2:]) / 2).view(size, size, ANCHORS[kind], 2)
            shift = 0.5 if kind == "fcos" else 0.0
            for y in range(size):
                for x in range(size):
                    expected = torch.tensor([(x + shift) * stride, (y + shift) * stride])
                    assert torch.allclose(centers[y, x], expected.expand_as(centers[y, x]), atol=1e-3)
            sides = (level[:, 2:] - level[:, :2]).view(size, size, ANCHORS[kind], 2)
            assert torch.allclose(sides, sides[:1, :1].expand_as(sides), atol=1e-3)


def test_points_are_squares_of_eight_strides(bench):
    for level, stride in zip(seen(bench, "fcos")["own"]["anchors"], STRIDES, strict=True):
        assert torch.equal(level[:, 2:] - level[:, :2], torch.full((len(level), 2), 8.0 * stride))


def test_rpn(bench):
    for _, value in both(bench, "faster", "rpn"):
        assert shapes(value.logits) == [(2, 3, size, size) for size in SIZES]
        assert shapes(value.boxes) == [(2, 12, size, size) for size in SIZES]


def test_proposals_and_rois_are_the_students(bench):
    found = seen(bench, "faster")
    own, theirs = found["own"], found["theirs"]
    assert len(own["proposals"]) == 2
    for mine, other in zip(own["proposals"], theirs["proposals"], strict=True):
        assert mine.shape[1] == 5
        assert 0 < len(mine) <= 100
        assert torch.equal(mine, other)
        assert bool((mine[:, :4] >= 0).all() and (mine[:, :4] <= IMAGE).all())
        assert bool((mine[:-1, 4] >= mine[1:, 4]).all())
        assert bool((mine[:, 4] >= 0).all() and (mine[:, 4] <= 1).all())
    assert own["rois"].shape[1] == 5
    assert set(own["rois"][:, 0].tolist()) == {0.0, 1.0}
    assert torch.equal(own["rois"], theirs["rois"])


def test_roi_captures(bench):
    found = seen(bench, "faster")
    count = len(found["own"]["rois"])
    for role, side in (("student", found["own"]), ("teacher", found["theirs"])):
        size = found[role].roi_head.bbox_roi_extractor.roi_layers[0].output_size
        assert shapes(side["roi_features"]) == [(count, CHANNELS[role], *size)]
        assert shapes(side["roi_logits"]) == [(count, CLASSES + 1)]
        assert shapes(side["roi_boxes"]) == [(count, 4)]
        assert side["logits"].activation == "softmax"
        assert torch.equal(side["logits"].values[0], side["roi_logits"])


def test_the_teachers_roi_head_on_the_students_rois_by_hand(bench):
    found = seen(bench, "faster")
    head, rois = found["teacher"].roi_head, found["own"]["rois"]
    maps = found["teacher"].extract_feat(found["inputs"])
    pooled = head.bbox_roi_extractor(maps, rois)
    logits, boxes = head.bbox_head(pooled)
    assert torch.equal(pooled, found["theirs"]["roi_features"])
    assert torch.equal(logits, found["theirs"]["roi_logits"])
    assert torch.equal(boxes, found["theirs"]["roi_boxes"])


def test_the_students_roi_head_on_its_rois_by_hand(bench):
    found = seen(bench, "faster")
    head = found["student"].roi_head
    pooled = head.bbox_roi_extractor(found["own"]["neck"], found["own"]["rois"])
    assert torch.equal(pooled, found["own"]["roi_features"])
    assert torch.equal(head.bbox_head(pooled)[0], found["own"]["roi_logits"])


def test_auxiliary_logits_are_what_the_auxiliary_head_is_trained_on(bench):
    found = seen(bench, "fcn")
    (ours,), (theirs,) = found["own"]["auxiliary_logits"], found["theirs"]["auxiliary_logits"]
    student, teacher = found["student"], found["teacher"]
    again = student.auxiliary_head.loss_by_feat(ours, found["samples"])
    assert torch.equal(again["loss_ce"], found["losses"]["aux.loss_ce"])
    with torch.no_grad():
        assert torch.equal(theirs, teacher.auxiliary_head(teacher.extract_feat(found["inputs"])))


def test_a_model_without_an_auxiliary_head_is_refused(bench):
    from kdbench.openmmlab.captures.families import captures_of

    found = seen(bench, "pspnet")
    with pytest.raises(UserError, match="this EncoderDecoder has no auxiliary head: choose a pair"):
        captures_of(found["student"], found["raw"], frozenset({"auxiliary_logits"}))


def test_a_teacher_whose_auxiliary_head_is_random_is_refused():
    from kdbench.openmmlab.captures.parts import check_auxiliary

    missed = {"auxiliary_head.conv_seg.weight": "not in the file"}
    check_auxiliary(frozenset({"logits"}), missed)
    with pytest.raises(UserError, match=r"its auxiliary head \(auxiliary_head\.conv_seg\.weight\)"):
        check_auxiliary(frozenset({"auxiliary_logits"}), missed)


@pytest.mark.parametrize("kind", FAMILIES)
def test_only_the_students_captures_carry_gradients(bench, kind):
    found = seen(bench, kind)
    stem = found["student"].backbone.conv1 if hasattr(found["student"].backbone, "conv1") else None
    weight = stem.weight if stem is not None else next(found["student"].backbone.stem.parameters())
    for name in names_of(kind):
        assert not any(part.requires_grad for part in tensors_of(found["theirs"][name]))
        parts = tensors_of(found["own"][name])
        assert all(part.requires_grad == (name not in SHARED) for part in parts), name
        if name not in SHARED:
            total = sum(part.sum() for part in parts)
            (gradient,) = torch.autograd.grad(total, [weight], retain_graph=True)
            assert bool(gradient.abs().sum() > 0), name


@pytest.mark.parametrize(
    ("kind", "names", "runs"),
    [
        ("faster", {"proposals", "rois"}, set()),
        ("faster", {"backbone", "rois"}, {"backbone"}),
        ("faster", {"neck", "anchors"}, {"backbone", "neck"}),
        ("faster", {"rpn"}, {"backbone", "neck", "rpn_head"}),
        ("faster", {"roi_features"}, {"backbone", "neck", "extractor", "bbox_head"}),
        ("faster", {"logits", "proposals"}, {"backbone", "neck", "extractor", "bbox_head"}),
        ("faster", {"rpn_targets"}, {"backbone", "neck", "rpn_head"}),
        ("faster", {"roi_targets"}, {"backbone", "neck", "extractor", "bbox_head"}),
        ("faster", {"assignments"}, {"backbone", "neck", "rpn_head", "extractor", "bbox_head"}),
        ("gfl", {"backbone"}, {"backbone"}),
        ("gfl", {"head_targets"}, {"backbone", "neck", "bbox_head"}),
        ("gfl", {"assignments"}, {"backbone", "neck", "bbox_head"}),
        ("gfl", {"neck", "anchors"}, {"backbone", "neck"}),
        ("gfl", {"logits"}, {"backbone", "neck", "bbox_head"}),
        ("pspnet", {"backbone"}, {"backbone"}),
        ("pspnet", {"neck"}, {"backbone", "decode_head"}),
    ],
)
def test_only_the_needed_part_of_the_teacher_runs(bench, kind, names, runs):
    from kdbench.openmmlab.captures.families import teacher_record, teacher_view

    found = seen(bench, kind)
    teacher = found["teacher"]
    parts = {name: getattr(teacher, name, None) for name in ("backbone", "neck", "rpn_head", "decode_head")}
    head = getattr(teacher, "roi_head", None)
    parts["bbox_head"] = head.bbox_head if head is not None else getattr(teacher, "bbox_head", None)
    parts["extractor"] = head.bbox_roi_extractor if head is not None else None
    ran: set[str] = set()
    handles = [
        part.register_forward_hook(lambda *_, name=name: ran.add(name))
        for name, part in parts.items()
        if part is not None
    ]
    record = teacher_record(teacher, found["inputs"], found["samples"], frozenset(names))
    captured = teacher_view(teacher, record, found["raw"], frozenset(names))
    for handle in handles:
        handle.remove()
    assert ran == runs
    assert set(captured) == names


def traces(model):
    """Whatever an instance of each module holds, hooks and patched methods among it; not a head's last sizes."""
    return {
        name: (sorted(vars(module).keys() - {"sizes"}), len(module._forward_hooks))
        for name, module in model.named_modules()
    }


@pytest.mark.parametrize("kind", ["faster", "gfl", "pspnet"])
def test_recording_leaves_nothing_behind(bench, kind):
    from kdbench.openmmlab.captures.families import recording

    found = seen(bench, kind)
    student = bench.subject(kind).build()
    before = traces(student)
    with recording(student):
        assert traces(student) != before
    assert traces(student) == before
    with pytest.raises(RuntimeError, match="broken"), recording(student):
        raise RuntimeError("broken")
    assert traces(student) == before
    assert traces(found["student"]) == before
    assert not any(module.training for module in found["teacher"].modules())
    assert all(count == 0 for _, count in traces(found["teacher"]).values())


@pytest.mark.parametrize(
    ("selector", "kind", "lacks", "works"),
    [
        ("mimic", "gfl", "proposals", "two-stage"),
        ("mimic", "pspnet", "box_levels, proposals", "two-stage"),
        ("mimic[variant=two-stage]", "fcos", "proposals, roi_targets", "two-stage"),
    ],
)
def test_a_family_that_lacks_a_capture_is_refused(bench, tmp_path, selector, kind, lacks, works):
    from kdbench.openmmlab import students

    card, options = bench.card(selector)
    place = bench.place(tmp_path)
    with pytest.raises(UserError) as caught:
        students.train_with(bench.subject(kind), [], card, options, place, None)
    expected = f"needs {lacks}, which {FAMILIES[kind]} models do not have; it works in: {works}."
    assert str(caught.value).endswith(expected)


def test_an_unknown_capture_is_refused():
    from kdbench.cards import Options
    from kdbench.distill import Method
    from kdbench.openmmlab.checks.preflight import check_family

    class Wrong(Method):
        captures = ("neck", "soul")

    with pytest.raises(UserError, match="asks for unknown captures: soul"):
        check_family(Wrong(Options()), "dense")

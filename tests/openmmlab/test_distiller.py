"""The distiller: the teacher beside it, normalisation, losses that are not finite, the weight of the task."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from kdbench.cards import Options
from kdbench.distill import Method


def preprocessor(**settings):
    from mmdet.models.data_preprocessors import DetDataPreprocessor

    return DetDataPreprocessor(**settings)


def images(*sizes):
    rng = np.random.default_rng(0)
    return [torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8)) for size in sizes]


def batch_of(model, pictures):
    """What a preprocessor gives in training, and the samples with their sizes."""
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    samples = []
    for picture in pictures:
        size = tuple(picture.shape[1:])
        sample = DetDataSample(metainfo={"img_shape": size})
        sample.gt_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample)
    data = model({"inputs": [p.clone() for p in pictures], "data_samples": samples}, True)
    return data["inputs"], data["data_samples"]


IMAGENET = {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4], "bgr_to_rgb": True}
CAFFE = {"mean": [103.0, 115.9, 122.8], "std": [1.0, 1.0, 1.0], "bgr_to_rgb": False}
OTHER = {"mean": [100.0, 100.0, 100.0], "std": [50.0, 40.0, 30.0], "bgr_to_rgb": True}
RAW = {"bgr_to_rgb": False}
RAW_RGB = {"bgr_to_rgb": True}


@pytest.mark.parametrize("student", [IMAGENET, CAFFE, RAW, RAW_RGB])
@pytest.mark.parametrize("teacher", [IMAGENET, CAFFE, OTHER, RAW, RAW_RGB])
def test_the_teacher_gets_its_own_normalisation(bench, student, teacher):
    from kdbench.openmmlab.training.distiller import renormalise

    pictures = images((20, 30), (17, 24))
    ours, theirs = preprocessor(**student), preprocessor(**teacher)
    inputs, samples = batch_of(ours, pictures)
    kept = inputs.clone()
    found = renormalise(inputs, ours, theirs, samples)
    expected, _ = batch_of(theirs, pictures)
    assert torch.equal(inputs, kept)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert not found[1, :, 17:].any()
    assert not found[1, :, :, 24:].any()
    by_hand = pictures[1][:, 3, 5].float()
    by_hand = by_hand.flip(0) if teacher["bgr_to_rgb"] else by_hand
    if "mean" in teacher:
        by_hand = (by_hand - torch.tensor(teacher["mean"])) / torch.tensor(teacher["std"])
    torch.testing.assert_close(found[1, :, 3, 5], by_hand, rtol=1e-4, atol=1e-3)


def test_the_same_normalisation_changes_no_bit(bench):
    from kdbench.openmmlab.training.distiller import renormalise, same_normalisation

    ours, theirs = preprocessor(**IMAGENET), preprocessor(**IMAGENET)
    inputs, samples = batch_of(ours, images((20, 30)))
    assert same_normalisation(ours, theirs)
    assert renormalise(inputs, ours, theirs, samples) is inputs
    assert not same_normalisation(ours, preprocessor(**CAFFE))
    assert not same_normalisation(ours, preprocessor(**OTHER))
    assert not same_normalisation(ours, preprocessor(**RAW_RGB))
    assert same_normalisation(preprocessor(**RAW), preprocessor(**RAW))


def test_the_teacher_is_outside_of_the_student(bench):
    model = bench.distiller("gfl", "fitnets")
    teacher = model.teacher.model
    own = {name for name, _ in model.named_parameters()}
    assert {name.partition(".")[0] for name in model.state_dict()} == {"student", "method"}
    assert {name.partition(".")[0] for name in own} == {"student", "method"}
    inside = {id(module) for module in model.modules()}
    assert not any(id(module) in inside for module in teacher.modules())
    model.train()
    assert model.student.training
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_no_parameter_of_the_teacher_is_in_the_optimizer(bench):
    from kdbench.openmmlab.training.optimization import optim_wrapper

    model = bench.distiller("gfl", "fitnets")
    wrapper = optim_wrapper(model.student, model.method, bench.subject("gfl").schedule, "fp32", "cpu")
    trained = {id(p) for group in wrapper.optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters()}
    assert not any(id(p) in trained for p in model.teacher.model.parameters())


def test_a_copy_shares_the_teacher_and_nothing_else(bench):
    model = bench.distiller("gfl", "fitnets")
    copied = copy.deepcopy(model)
    assert copied.teacher is model.teacher
    shared = {id(p) for p in model.parameters()} & {id(p) for p in copied.parameters()}
    assert not shared
    assert copied.data_preprocessor is copied.student.data_preprocessor


def test_targets_of_boxes(bench):
    from kdbench.openmmlab.training.distiller import targets_of

    model = bench.distiller("gfl")
    inputs, samples = bench.probe("gfl").batch(model.student)
    targets = targets_of(model.student, inputs, samples)
    assert targets.image_shape == tuple(inputs.shape[-2:])
    assert targets.masks is None
    assert len(targets.boxes) == len(targets.labels) == 2
    for boxes, labels in zip(targets.boxes, targets.labels, strict=True):
        assert type(boxes) is torch.Tensor
        assert boxes.shape == (len(labels), 4)
        assert bool((boxes[:, 2:] > boxes[:, :2]).all())
        assert bool((labels >= 0).all() and (labels < 10).all())


def test_targets_of_masks(bench):
    from kdbench.openmmlab.training.distiller import targets_of

    model = bench.distiller("pspnet")
    inputs, samples = bench.probe("pspnet").batch(model.student)
    targets = targets_of(model.student, inputs, samples)
    assert targets.boxes == targets.labels == ()
    assert targets.masks.shape == (2, *inputs.shape[-2:])
    assert targets.ignore_index == 255
    assert set(targets.masks.unique().tolist()) <= {*range(11), 255}


class Constant(Method):
    """One term of a value that a test sets, from a parameter."""

    captures = ("neck",)

    def __init__(self, value, task=1.0):
        super().__init__(Options())
        self.value, self.task, self.steps = value, task, []
        self.weight = torch.nn.Parameter(torch.ones(()))

    def losses(self, step):
        self.steps.append(step)
        value = self.value(step) if callable(self.value) else self.value
        return {"constant": self.weight * value}

    def task_weight(self, step):
        return self.task


def with_method(bench, method, kind="gfl", iterations=4):
    from kdbench.openmmlab.training.distiller import Distiller

    student = bench.subject(kind).build()
    names = frozenset(method.captures)
    return Distiller(student, method, bench.teacher(kind), seed=0, iterations=iterations, names=names)


def losses_of(bench, model, kind="gfl"):
    inputs, samples = bench.probe(kind).batch(model.student)
    return model.train()(inputs, samples, mode="loss")


def test_terms_are_added_by_name_and_the_step_says_when(bench):
    model = with_method(bench, Constant(2.5))
    model.iteration = 3
    losses = losses_of(bench, model)
    assert float(losses["loss_distill_constant"]) == 2.5
    (step,) = model.method.steps
    assert (step.iteration, step.iterations, step.progress) == (3, 4, 0.75)
    assert set(step.student) == set(step.teacher) == {"neck"}
    total, logged = model.parse_losses(losses)
    assert float(total.detach()) == pytest.approx(sum(float(v) for k, v in logged.items() if k != "loss"))


def test_the_task_is_weighted(bench):
    full, half = (losses_of(bench, with_method(bench, Constant(1.0, task))) for task in (1.0, 0.5))
    assert set(full) == set(half)
    for name, value in full.items():
        factor = 1.0 if name == "loss_distill_constant" else 0.5
        values = zip(*(v if isinstance(v, list) else [v] for v in (value, half[name])), strict=True)
        for whole, part in values:
            torch.testing.assert_close(part, whole * factor)


def test_accuracies_are_not_weighted(bench):
    whole = losses_of(bench, with_method(bench, Constant(1.0), "faster"), "faster")
    none = losses_of(bench, with_method(bench, Constant(1.0, 0.0), "faster"), "faster")
    assert torch.equal(whole["acc"], none["acc"])
    assert float(none["loss_cls"]) == 0.0
    assert float(whole["loss_cls"]) > 0.0


@pytest.mark.parametrize(("value", "told"), [(float("nan"), "nan"), (float("-inf"), "-inf")])
def test_a_loss_that_is_not_finite_stops_before_the_weights_are_harmed(bench, tmp_path, value, told):
    from kdbench.openmmlab.training.losses import NonFiniteLoss

    model = with_method(bench, Constant(lambda step: value if step.iteration == 2 else 1.0))
    states = []

    def advance(iteration, losses):
        states.append({name: p.detach().clone() for name, p in model.named_parameters()})

    progress = SimpleNamespace(advance=advance, evaluated=lambda *_: None)
    with pytest.raises(NonFiniteLoss) as caught:
        bench.train(model, "gfl", tmp_path, progress)
    assert (caught.value.iteration, caught.value.name) == (2, "loss_distill_constant")
    assert str(caught.value) == f"loss_distill_constant became {told} at iteration 2"
    assert len(states) == 2
    assert all(torch.equal(p, states[-1][name]) for name, p in model.named_parameters())
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_the_first_of_several_such_losses_is_named(bench):
    from kdbench.openmmlab.training.losses import NonFiniteLoss

    model = with_method(bench, Constant(1.0))
    good, bad = torch.ones(()), torch.tensor(float("inf"))
    assert float(model.parse_losses({"loss_a": good, "acc": bad})[0]) == 1.0
    with pytest.raises(NonFiniteLoss, match="loss_b became inf at iteration 0"):
        model.parse_losses({"loss_a": good, "acc": bad, "loss_b": [good, bad], "loss_c": bad})
    with pytest.raises(NonFiniteLoss, match="loss became inf"):
        model.parse_losses({"loss_a": good * 3e38, "loss_b": good * 3e38})


def test_prediction_is_the_students_own(bench):
    model = with_method(bench, Constant(1.0)).eval()
    raw = bench.probe("gfl").raw
    with torch.no_grad():
        ours, alone = model.val_step(copy.deepcopy(raw)), model.student.val_step(copy.deepcopy(raw))
    for mine, other in zip(ours, alone, strict=True):
        assert torch.equal(mine.pred_instances.scores, other.pred_instances.scores)
        assert torch.equal(mine.pred_instances.bboxes, other.pred_instances.bboxes)
    assert model.method.steps == []


def test_targets_have_the_size_of_each_padded_image():
    from kdbench.openmmlab.training.distiller import targets_of

    model = SimpleNamespace(roi_head=None)
    inputs, samples = batch_of(preprocessor(pad_size_divisor=32), images((20, 30), (17, 24)))
    targets = targets_of(model, inputs, samples)
    assert targets.image_shape == (32, 32)
    assert targets.sizes == ((20, 30), (17, 24))
    inputs, samples = batch_of(preprocessor(), images((20, 30), (20, 30)))
    assert targets_of(model, inputs, samples).sizes == ()


def test_statistics_of_normalisation_are_averaged_and_a_methods_own_buffers_are_not():
    from torch import nn

    from kdbench.openmmlab.training.hooks import statistics_of

    model = nn.Sequential(
        nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.InstanceNorm2d(2, track_running_stats=True)
    )
    model.register_buffer("memory", torch.zeros(4))
    expected = [model[0].running_mean, model[0].running_var, model[2].running_mean, model[2].running_var]
    assert [id(found) for found in statistics_of(model)] == [id(buffer) for buffer in expected]

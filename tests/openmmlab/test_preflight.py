"""The gates before the long part: each fails when it should, and passes otherwise."""

from __future__ import annotations

import copy

import pytest
import torch

from kdbench.cards import Options
from kdbench.dataset_cards import METRICS, MetricCard
from kdbench.distill import Method
from kdbench.errors import GateError, UserError


class Scaled(Method):
    """One term of a given size, the same in every iteration or only late."""

    captures = ("neck",)

    def __init__(self, value, *, late=False):
        super().__init__(Options())
        self.value, self.late = value, late

    def losses(self, step):
        waits = self.late and step.progress < 0.5
        return {"scaled": step.student["neck"][0].sum() * 0 + (0.0 if waits else self.value)}


def checked(bench, method, kind="gfl"):
    from kdbench.openmmlab.checks.preflight import check_losses
    from kdbench.openmmlab.training.distiller import Distiller

    student = bench.subject(kind).build()
    names = frozenset(method.captures)
    model = Distiller(student, method, bench.teacher(kind), seed=0, iterations=4, names=names)
    before = copy.deepcopy(model.state_dict())
    try:
        check_losses(model, bench.probe(kind), "scaled")
    finally:
        after = model.state_dict()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert model.iteration == 0


def task_loss(bench, kind="gfl"):
    """The plain student's loss on the probe, in the first iteration."""
    model = bench.distiller(kind)
    inputs, samples = bench.probe(kind).batch(model.student)
    total, _ = model.parse_losses(model.train()(inputs, samples, mode="loss"))
    return float(total.detach())


def test_a_loss_that_is_held_back_passes(bench):
    checked(bench, Scaled(task_loss(bench), late=True))


def test_a_loss_of_zero_fails(bench):
    with pytest.raises(GateError, match="distillation loss of scaled is zero on the first batch"):
        checked(bench, Scaled(0.0))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_far_above_the_tasks_fails(bench, sign):
    task = task_loss(bench)
    checked(bench, Scaled(sign * 99 * task))
    with pytest.raises(GateError, match="is 101 times the task loss: lower its weight"):
        checked(bench, Scaled(sign * 101 * task))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_fails(bench, value):
    with pytest.raises(GateError, match="scaled is not finite on the first batch"):
        checked(bench, Scaled(value))


def test_a_task_loss_that_is_not_finite_fails(bench):
    from kdbench.openmmlab.checks.preflight import check_losses

    model = bench.distiller("gfl", "hinton")
    with torch.no_grad():
        model.student.backbone.conv1.weight.fill_(float("nan"))
    with pytest.raises(GateError, match=r"loss_[a-z]+ is not finite on the first batch"):
        check_losses(model, bench.probe("gfl"), "hinton")


def test_a_teacher_must_be_better_than_chance():
    from kdbench.openmmlab.checks.preflight import check_teacher

    miou, misses = METRICS["mIoU"], MetricCard("MR", "", "", higher_is_better=False)
    check_teacher(miou, 0.251, 0.25)
    check_teacher(misses, 0.98, 0.01)
    for card, value, chance in (
        (miou, 0.0, 0.25),
        (miou, 0.25, 0.25),
        (misses, 0.99, 0.01),
        (misses, 1.0, 0.01),
    ):
        with pytest.raises(
            GateError, match=f"the teacher's {card.name} is {value:.3f}, no better than chance"
        ):
            check_teacher(card, value, chance)


def with_settings(model, **settings):
    """A copy of a model whose data preprocessor has other settings."""
    changed = copy.deepcopy(model)
    for name, value in settings.items():
        setattr(changed.data_preprocessor, name, value)
    return changed


@pytest.mark.parametrize("kind", ["faster", "pspnet"])
def test_the_same_pixels_pass_also_in_another_normalisation(bench, kind):
    from kdbench.openmmlab.checks.preflight import check_same_pixels

    student, probe = bench.subject(kind).build(), bench.probe(kind)
    check_same_pixels(student, bench.teacher(kind).model, probe)
    other = with_settings(
        student,
        mean=torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1),
        std=torch.tensor([4.0, 5.0, 6.0]).view(3, 1, 1),
        _channel_conversion=not student.data_preprocessor._channel_conversion,
    )
    check_same_pixels(student, other, probe)
    check_same_pixels(other, student, probe)


def test_pixels_that_differ_fail(bench, monkeypatch):
    from kdbench.openmmlab.checks import preflight

    student, probe = bench.subject("faster").build(), bench.probe("faster")
    other = with_settings(student, mean=student.data_preprocessor.mean + 10)
    monkeypatch.setattr(preflight, "renormalise", lambda inputs, *_: inputs)
    with pytest.raises(GateError, match=r"different pixels .* compare mean, std, bgr_to_rgb"):
        preflight.check_same_pixels(student, other, probe)


def test_images_of_another_size_fail(bench):
    from kdbench.openmmlab.checks.preflight import check_same_pixels

    student, probe = bench.subject("faster").build(), bench.probe("faster")
    other = with_settings(student, pad_size_divisor=48)
    with pytest.raises(GateError, match=r"different size \(\(64, 64\) and \(96, 96\)\)"):
        check_same_pixels(student, other, probe)


def test_random_sizes_of_a_batch_are_drawn_alike(bench):
    from mmdet.models.data_preprocessors import BatchSyncRandomResize

    from kdbench.openmmlab.checks.preflight import check_same_pixels

    student, probe = bench.subject("faster").build(), bench.probe("faster")
    sizes = {"random_size_range": (64, 256), "size_divisor": 32, "interval": 1}
    first, second = (
        with_settings(student, batch_augments=torch.nn.ModuleList([BatchSyncRandomResize(**sizes)]))
        for _ in range(2)
    )
    check_same_pixels(first, second, probe)


@pytest.mark.parametrize("kind", ["faster", "gfl", "pspnet"])
def test_shapes_are_probed_without_a_trace(bench, kind):
    from kdbench.openmmlab.checks.preflight import probe_shapes
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    subject, teacher = bench.subject(kind), bench.teacher(kind)
    student = subject.build()
    before = weights_hash(student), weights_hash(teacher.model), torch.get_rng_state()
    names = frozenset({"neck", "logits"})
    shapes = probe_shapes(student, teacher, bench.probe(kind), names, subject.dataset)
    assert weights_hash(student) == before[0]
    assert weights_hash(teacher.model) == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert set(shapes.student) == set(shapes.teacher) == names
    assert shapes.classes == len(subject.dataset.classes)
    assert shapes.image_shape == (64, 64)
    assert {shape[1] for shape in shapes.student["neck"]} == {16}
    assert {shape[1] for shape in shapes.teacher["neck"]} == {24}


def test_models_of_two_families_share_feature_maps_only(bench):
    from kdbench.openmmlab.checks.preflight import probe_shapes

    subject, teacher, probe = bench.subject("gfl"), bench.teacher("faster"), bench.probe("gfl")
    student = subject.build()
    shapes = probe_shapes(student, teacher, probe, frozenset({"neck", "backbone"}), subject.dataset)
    assert len(shapes.student["neck"]) == len(shapes.teacher["neck"]) == 3
    with pytest.raises(UserError, match="a dense model, the teacher a two-stage one: their logits cannot"):
        probe_shapes(student, teacher, probe, frozenset({"neck", "logits"}), subject.dataset)


@pytest.mark.slow
def test_force_goes_on_and_says_so(bench, tmp_path, caplog):
    from small_bench import Silent

    from kdbench.openmmlab.students import train_with

    card, options = bench.card("hinton[weight=0]")
    subject, teacher = bench.subject("pspnet", iterations=1), bench.teacher("pspnet")
    caplog.set_level("INFO", "kdbench")
    with pytest.raises(GateError):
        train_with(subject, [teacher], card, options, bench.place(tmp_path), Silent())
    assert not list(tmp_path.rglob("*.pth"))
    outcome = train_with(subject, [teacher], card, options, bench.place(tmp_path), Silent(), force=True)
    assert any("a gate failed and was overruled: the distillation" in line for line in outcome.notes)
    assert caplog.messages == [f"  {line}" for line in outcome.notes]

"""Students of detectors and segmenters that learn from a network of timm, which gives feature maps alone."""

from __future__ import annotations

import signal

import lacking
import pytest
import torch
from small_bench import SCHEDULE
from test_resume import Interrupting, assert_same, result

from kdbench.errors import GateError, UserError
from kdbench.specs import Model

lacking.extra("timm", "timm is not installed")

FEATURES = Model(config="timm:test_resnet.r160_in1k", edits={"out_indices": [2, 3]})
METHODS = ("fitnets", "at", "cwd", "pkd", "mgd", "reviewkd", "fitnets[hint=backbone]")
MAPS = {"faster": 2, "gfl": 2, "pspnet": 1}
"""Kind of student -> maps of the teacher, of which a segmenter's neck has one."""


def subject(bench, kind, **changes):
    from kdbench.openmmlab.students import Subject

    model = FEATURES.model_copy(update={"edits": {"out_indices": [2, 3][-MAPS[kind] :], **changes}})
    return Subject(f"{kind}-features", model, SCHEDULE, bench.dataset(kind), 0, False)


def taught(bench, kind, selector, **changes):
    """A student with its method and a teacher of random weights, and the notes of a record."""
    from kdbench.openmmlab.students import assembled
    from kdbench.openmmlab.training.distiller import Teacher

    student = bench.subject(kind, **changes)
    teacher = Teacher(subject(bench, kind).build())
    return assembled(student, student.build(), [teacher], *bench.card(selector), bench.probe(kind))


@pytest.mark.parametrize(
    ("selector", "kind"),
    [*((selector, "gfl") for selector in METHODS), ("cwd", "faster"), ("mgd", "pspnet"), ("pkd", "pspnet")],
)
def test_methods_of_feature_maps_teach_each_family(bench, selector, kind):
    model, notes = taught(bench, kind, selector)
    inputs, samples = bench.probe(kind).batch(model.train().student)
    losses = model(inputs, samples, mode="loss")
    terms = [value for name, value in losses.items() if name.startswith("loss_distill_")]
    assert terms
    sum(terms).backward()
    assert float(model.student.backbone.conv1.weight.grad.abs().sum()) > 0
    assert notes[-3].startswith("teacher timm:test_resnet.r160_in1k of timm ")
    assert notes[-2] == "teacher not measured against chance: it gives feature maps alone"
    assert notes[-1].count(" x ") == 2 * MAPS[kind]


@pytest.mark.parametrize("kind", ["gfl", "pspnet"])
def test_the_teacher_sees_the_pixels_in_its_own_normalisation(bench, kind):
    model, _ = taught(bench, kind, "at")
    inputs, samples = bench.probe(kind).batch(model.student)
    network = model.teacher.model
    seen = model.teacher.observe(inputs, samples, model.student, frozenset({"neck"}))["neck"]
    pixels = torch.stack(bench.probe(kind).raw["inputs"]).flip(1).float()
    wanted = (pixels - network.data_preprocessor.mean) / network.data_preprocessor.std
    for ours, theirs in zip(seen, network.extract_feat(wanted), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "selector", "lacks"),
    [
        ("gfl", "hinton", "logits"),
        ("faster", "mimic", "proposals"),
        ("pspnet", "structured", "logits"),
        ("gfl", "fitnets[variant=two-stage]", "logits"),
    ],
)
def test_a_method_that_looks_at_predictions_is_refused(bench, kind, selector, lacks):
    with pytest.raises(
        UserError, match=f"needs .*{lacks}.*, and this teacher gives feature maps alone: choose a"
    ):
        taught(bench, kind, selector)


def test_weights_come_from_a_checkpoint_or_pass_a_gate(bench, tmp_path):
    from kdbench.openmmlab.students import load_teacher

    refused: list[GateError] = []
    random = load_teacher(subject(bench, "gfl"), None, refused.append)
    assert "has random weights: give the teacher a checkpoint" in refused[0].why
    ones = {name: torch.ones_like(value) for name, value in random.model.network.state_dict().items()}
    torch.save(ones, tmp_path / "ones.pth")
    loaded = load_teacher(subject(bench, "gfl"), tmp_path / "ones.pth", refused.append)
    assert len(refused) == 1
    assert all(bool((value == 1).all()) for value in loaded.model.network.parameters())
    ones.popitem()
    del ones["conv1.0.weight"]
    torch.save(ones, tmp_path / "some.pth")
    load_teacher(subject(bench, "gfl"), tmp_path / "some.pth", refused.append)
    assert "which would stay random: conv1.0.weight" in refused[1].why


def test_it_cannot_be_a_student(bench):
    from kdbench.openmmlab.models.resolved import family_in

    with pytest.raises(UserError, match="gives feature maps and predicts nothing: it can only be a teacher"):
        family_in(FEATURES)


def test_the_rehearsal_builds_it_and_names_what_does_not_fit(bench, tmp_path):
    from kdbench.openmmlab.checks.rehearsal import Untrained, check_model

    place = bench.place(tmp_path)
    line = check_model("teacher", subject(bench, "gfl"), place, Untrained(), trained=False)
    assert line.startswith("teacher: timm:test_resnet.r160_in1k, ")
    assert "0 multiply-adds" not in line


def test_an_interrupted_training_goes_on(bench, tmp_path):
    run = {"iterations": 4, "validations": 2}

    def trained(folder, progress=None):
        model, _ = taught(bench, "gfl", "fitnets", **run)
        return bench.train(model, "gfl", tmp_path / folder, progress, name=f"features-{folder}", **run)

    with pytest.raises(KeyboardInterrupt):
        trained("interrupted", Interrupting(signal.SIGINT, iteration=2))
    resumed = Interrupting(signal.SIGINT)
    again = result(trained("interrupted", resumed))
    assert resumed.seen[0] == 3
    assert_same(again, result(trained("whole")))

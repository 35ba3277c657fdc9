"""A staged teacher: the transform is in every forward, in no state dict, and is trained with like any model."""

from __future__ import annotations

import copy
import os
import signal
from dataclasses import replace

import pytest
import torch
from small_bench import FAMILIES, Silent

from kdbench.errors import UserError
from kdbench.specs import TeacherStage

QUANTIZED = TeacherStage(
    name="quantized",
    transform="kdbench_papers.quantization_mimic.losses:Quantization",
    arguments={"step": 0.25, "bins": "uniform"},
    share=0.5,
    lr_factor=0.1,
)
RUN = {"iterations": 4, "batch_size": 2}


def made(transform, **arguments):
    return QUANTIZED.model_copy(update={"transform": transform, "arguments": arguments})


def neck_of(model, kind):
    """The capture on an image in eval mode."""
    from kdbench.openmmlab.captures.families import captures_of, recording

    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64)
    with recording(model) as raw:
        features = model.extract_feat(image)
        if FAMILIES[kind] == "segmentation":
            model.decode_head(features)
    return captures_of(model, raw, frozenset({"neck"}))["neck"]


def on_grid(maps):
    return all(torch.equal(level, (level / 0.25).round() * 0.25) for level in maps)


def staged(bench, kind, **changes):
    return replace(bench.subject(kind, "teacher", **changes), stage=QUANTIZED)


@pytest.fixture(scope="module")
def base(bench, tmp_path_factory):
    """Weights of a trained base teacher, by kind."""
    from kdbench.openmmlab.students import train_alone

    files = {}
    for kind in ("faster", "pspnet"):
        folder = tmp_path_factory.mktemp(kind)
        train_alone(bench.subject(kind, "teacher", **RUN), bench.place(folder), Silent())
        files[kind] = folder / "student.pth"
    return files


@pytest.mark.parametrize("kind", FAMILIES)
def test_what_the_heads_read_is_transformed(bench, kind):
    from kdbench.openmmlab.captures.stages import apply_stage
    from kdbench_papers.quantization_mimic.losses import symmetric

    model = bench.subject(kind, "teacher").build().eval()
    plain, keys = neck_of(model, kind), list(model.state_dict())
    apply_stage(model, QUANTIZED)
    after = neck_of(model, kind)
    assert all(torch.equal(a, symmetric(p, 0.25)) for a, p in zip(after, plain, strict=True))
    assert any(not torch.equal(a, p) for a, p in zip(after, plain, strict=True))
    assert list(model.state_dict()) == keys
    sum(level.sum() for level in after).backward()
    assert any(p.grad is not None and p.grad.any() for p in model.backbone.parameters())
    assert on_grid(neck_of(copy.deepcopy(model), kind))


def test_the_backbone_stands_for_a_missing_neck(bench):
    from kdbench.openmmlab.captures.stages import apply_stage

    model = bench.subject("faster", "teacher").build().eval()
    del model.neck
    apply_stage(model, QUANTIZED)
    assert on_grid(model.backbone(torch.rand(1, 3, 64, 64)))


@pytest.mark.parametrize("kind", ["faster", "gfl", "pspnet"])
def test_the_distilled_student_sees_the_transformed_captures(bench, kind):
    from kdbench.openmmlab.training.distiller import Teacher

    model = bench.distiller(kind, "fitnets")
    model.teacher = Teacher(staged(bench, kind, seed=7).build())
    seen = []
    model.method.losses = lambda step: seen.append(step) or {}
    model.names = frozenset({"neck"})
    inputs, samples = bench.probe(kind).batch(model.student)
    model.compute(inputs, samples)
    assert on_grid(seen[0].teacher["neck"])
    assert not on_grid(seen[0].student["neck"])


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (made("nowhere.at_all:X"), "cannot be made (ModuleNotFoundError: No module named 'nowhere')"),
        (made("torch.nn:Relu"), "has no attribute 'Relu'"),
        (made("torch.nn:ReLU", slope=1), "unexpected keyword argument 'slope'"),
        (made("torch.nn:Conv2d", in_channels=3, out_channels=3, kernel_size=1), "without parameters"),
        (made("torch.nn:BatchNorm2d", num_features=3, affine=False), "without parameters and buffers"),
        (made("collections:OrderedDict"), "must be an nn.Module"),
    ],
)
def test_bad_transforms_are_refused(stage, told):
    from kdbench.openmmlab.captures.stages import transform_of

    with pytest.raises(UserError) as caught:
        transform_of(stage)
    assert "the quantized teacher's transform" in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cascade_is_refused(bench):
    from kdbench.openmmlab.captures.stages import apply_stage

    model = bench.subject("pspnet", "teacher").build()
    model.decode_head = torch.nn.ModuleList([model.decode_head])
    with pytest.raises(UserError, match="cascade"):
        apply_stage(model, QUANTIZED)


def test_the_session_says_what_the_stage_does():
    from kdbench.runs.refusals import check_stage

    assert check_stage(QUANTIZED) == (
        "quantized teacher: the teacher, fine-tuned with Quantization(step=0.25, bins=uniform) on its feature maps"
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["faster", "pspnet"])
@pytest.mark.parametrize("average", [None, 0.3])
def test_fine_tuned_from_the_base_with_the_transform(bench, base, tmp_path, kind, average, caplog):
    from kdbench.openmmlab.students import evaluate, load_teacher, train_alone
    from kdbench.openmmlab.weights.checkpoints import read_state_dict

    before = base[kind].read_bytes()
    subject = staged(bench, kind, average=average, **RUN)
    outcome = train_alone(subject, bench.place(tmp_path), Silent(), start=base[kind])
    assert base[kind].read_bytes() == before
    ours, theirs = read_state_dict(tmp_path / "student.pth"), read_state_dict(base[kind])
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    caplog.set_level("INFO", "kdbench")
    teacher = load_teacher(subject, tmp_path / "student.pth", pytest.fail)
    assert caplog.messages == [
        f"quantized teacher: all of its weights loaded from {tmp_path / 'student.pth'}"
    ]
    assert on_grid(neck_of(teacher.model, kind))
    # The curve was measured with the transform: the loaded teacher, which has it, gives the same again.
    again = evaluate(teacher.model, subject, bench.place(tmp_path / "again"))
    assert again == {name: value for name, value in outcome.curve[-1].items() if name != "iteration"}


@pytest.mark.slow
def test_it_starts_from_the_base_weights(bench, base, tmp_path):
    """With (almost) no learning rate the parameters are still the base's, and not those of an initialisation."""
    from kdbench.openmmlab.students import train_alone
    from kdbench.openmmlab.weights.checkpoints import read_state_dict

    subject = staged(bench, "faster", lr=1e-12, **RUN)
    train_alone(subject, bench.place(tmp_path), Silent(), start=base["faster"])
    ours, theirs = read_state_dict(tmp_path / "student.pth"), read_state_dict(base["faster"])
    for name, _ in subject.build().named_parameters():
        torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-8)


class Interrupting(Silent):
    def __init__(self, iteration):
        self.iteration, self.seen = iteration, []

    def advance(self, iteration, losses):
        self.seen.append(iteration)
        if iteration == self.iteration:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_an_interrupted_stage_goes_on_to_the_same_weights(bench, base, tmp_path):
    from kdbench.openmmlab.students import train_alone
    from kdbench.openmmlab.weights.checkpoints import read_state_dict

    subject = staged(bench, "faster", **RUN)
    whole = train_alone(subject, bench.place(tmp_path / "whole"), Silent(), start=base["faster"])
    place = bench.place(tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        train_alone(subject, place, Interrupting(2), start=base["faster"])
    progress = Interrupting(None)
    resumed = train_alone(subject, place, progress, start=base["faster"])
    assert progress.seen == [3, 4]
    assert resumed.curve == whole.curve
    ours, theirs = (read_state_dict(tmp_path / part / "student.pth") for part in ("cut", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.slow
def test_plain_mmdet_loads_its_weights(bench, base, tmp_path):
    from mmdet.apis import init_detector

    from kdbench.openmmlab.students import train_alone

    train_alone(staged(bench, "faster", **RUN), bench.place(tmp_path), Silent(), start=base["faster"])
    init_detector(str(tmp_path / "student.py"), str(tmp_path / "student.pth"), device="cpu")

"""Students that compressions make of small teachers: what they start from, their size, and that they train."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import cache

import pytest
import torch
from small_bench import Silent

from kdbench.errors import UserError
from kdbench.openmmlab.complexity import parameters_and_flops
from kdbench.openmmlab.models.building import parameters_of
from kdbench.openmmlab.students import WEIGHTS, Subject, train_with, training_images
from kdbench.openmmlab.training.distiller import Teacher
from kdbench.openmmlab.weights.compressing import batches_of, compressed, stored_bits
from kdbench.pairs.small import faster_rcnn, gfl, pspnet
from kdbench.specs import Pair
from kdbench_papers.binary_weights.layers import BinaryConv2d
from kdbench_papers.channel_pruning.groups import groups_of
from kdbench_papers.channel_pruning.method import ChannelPruning, _widths

MODELS = {
    "faster": lambda width: faster_rcnn(18, width, 2 * width, first=1, hidden=4 * width),
    "gfl": lambda width: gfl(18, width, 2 * width, first=1, norm="neck"),
    "pspnet": lambda width: pspnet(18, width, 2 * width, [0.5] + [1.0] * 10),
}
TEACHER, STUDENT = 8, 4
PRUNING = "channel-pruning[images=3]"
RUNS = [(PRUNING, "faster"), (PRUNING, "pspnet"), ("binary-weights", "gfl"), ("binary-weights", "pspnet")]


@cache
def pair(bench, kind):
    own = bench.subject(kind)
    return Pair(
        name=kind,
        title="",
        dataset=own.dataset.name,
        task=own.dataset.task,
        teacher=MODELS[kind](TEACHER),
        student=MODELS[kind](STUDENT),
        schedule=own.schedule,
        teacher_schedule=own.schedule,
    )


def subject(bench, kind, model, seed=0):
    own = bench.subject(kind)
    return Subject(kind, model, own.schedule, own.dataset, seed, pretrained=False)


@cache
def teacher(bench, kind):
    """A teacher whose norms are not silent, as those of an untrained ResNet are."""
    model = subject(bench, kind, pair(bench, kind).teacher, seed=7).build()
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(layer.weight)
    return Teacher(model)


def student(bench, kind, selector):
    card, options = bench.card(selector)
    return subject(bench, kind, card.compression(options, pair(bench, kind)))


def train(bench, kind, selector, folder, progress=None):
    card, options = bench.card(selector)
    place = bench.place(folder)
    own = student(bench, kind, selector)
    return train_with(own, [teacher(bench, kind)], card, options, place, progress or Silent())


def size_of(bench, kind, model):
    own = subject(bench, kind, model)
    return parameters_and_flops(own.config(), own.dataset, own.schedule)


@pytest.mark.parametrize("kind", MODELS)
def test_layers_that_share_channels_are_found_in_every_family(bench, kind):
    own = student(bench, kind, PRUNING)
    (batch,) = batches_of(training_images(own, bench.place(bench.folder)), 2)
    big, wanted, given = teacher(bench, kind).model, _widths(own.build()), {}

    def look(model):
        inputs, samples = given.setdefault("batch", batch.batch(model))
        with torch.no_grad():
            torch.manual_seed(0)
            model.eval()(inputs, samples, mode="loss")

    groups = {group.producers[0]: group for group in groups_of(big, wanted, look)}
    stream = groups["backbone.conv1"]
    assert stream.producers == ("backbone.conv1", "backbone.layer1.0.conv2", "backbone.layer1.1.conv2")
    assert (stream.channels, stream.keep) == (TEACHER, STUDENT)
    narrowed = [name for name, width in _widths(big).items() if width != wanted[name]]
    assert sorted(name for group in groups.values() for name in group.producers) == sorted(narrowed)
    taken = {inlet.layer: inlet for group in groups.values() for inlet in group.inlets}
    if kind == "faster":
        assert len(groups["neck.fpn_convs.0.conv"].producers) == 3
        assert taken["roi_head.bbox_head.shared_fcs.0"].width == 25
    if kind == "pspnet":
        assert taken["decode_head.bottleneck.conv"].first > 0


@pytest.mark.slow
@pytest.mark.parametrize(("selector", "kind"), RUNS)
def test_it_trains_and_is_exported_for_plain_libraries(bench, tmp_path, selector, kind):
    outcome = train(bench, kind, selector, tmp_path)
    cost = outcome.cost
    assert outcome.curve[-1]["iteration"] == bench.subject(kind).schedule.iterations
    both = {role: size_of(bench, kind, getattr(pair(bench, kind), role)) for role in ("teacher", "student")}
    found = cost["student_parameters"], cost["student_flops"]
    model = exported(kind, tmp_path)
    binary = [layer for layer in model.modules() if isinstance(layer, BinaryConv2d)]
    if selector == PRUNING:
        assert found == both["student"]
        assert cost["student_bits"] == 32 * found[0]
        assert not binary
        assert "groups of channels" in outcome.notes[-1]
    else:
        assert found == both["teacher"]
        ones, filters = sum(x.weight.numel() for x in binary), sum(x.out_channels for x in binary)
        assert cost["student_bits"] == 32 * (found[0] - ones + filters) + ones
        assert not isinstance(model.backbone.conv1, BinaryConv2d)
        assert (
            len(binary) == sum(isinstance(layer, torch.nn.Conv2d) for layer in model.backbone.modules()) - 1
        )
        assert f"{ones:,} of {found[0]:,} parameters have one bit" in outcome.notes[-1]
    assert cost["added_parameters"] == 0


def exported(kind, folder):
    """The exported student as plain mmdet or mmseg loads it."""
    files = str(folder / WEIGHTS.replace(".pth", ".py")), str(folder / WEIGHTS)
    if kind == "pspnet":
        from mmseg.apis import init_model as load
    else:
        from mmdet.apis import init_detector as load
    model = load(*files, device="cpu")
    state = torch.load(files[1], weights_only=True)["state_dict"]
    assert model.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    return model


class Stopping(Silent):
    def advance(self, iteration, losses):
        if iteration == 3:
            raise EOFError


@pytest.mark.slow
@pytest.mark.parametrize("selector", [PRUNING, "binary-weights"])
def test_resumed_it_ends_as_uninterrupted(bench, tmp_path, selector):
    whole = train(bench, "pspnet", selector, tmp_path / "whole")
    with suppress(EOFError):
        train(bench, "pspnet", selector, tmp_path / "cut", Stopping())
    cut = train(bench, "pspnet", selector, tmp_path / "cut")
    assert (cut.weights, cut.curve, cut.notes) == (whole.weights, whole.curve, whole.notes)


def test_a_student_that_sees_other_pixels_is_refused(bench):
    card, options = bench.card(PRUNING)
    own = student(bench, "pspnet", PRUNING)
    edits = own.model.edits | {"data_preprocessor.mean": [0.0, 0.0, 0.0]}
    model = replace(own, model=own.model.model_copy(update={"edits": edits})).build()
    with pytest.raises(UserError, match="give both configs the same mean, std and bgr_to_rgb"):
        compressed(ChannelPruning(options), model, teacher(bench, "pspnet"), [], 0)
    assert card.kind == "compression"


def test_a_student_of_another_depth_is_refused(bench):
    _, options = bench.card(PRUNING)
    big = teacher(bench, "pspnet")
    other = subject(bench, "pspnet", pspnet(34, STUDENT, 2 * STUDENT, [0.5] + [1.0] * 10)).build()
    with pytest.raises(
        UserError, match=r"the teacher has no backbone.layer1.2.bn1.bias: use a pair whose student"
    ):
        compressed(ChannelPruning(options), other, big, [], 0)


def test_bits_of_a_model_without_such_layers():
    model = torch.nn.Linear(3, 4)
    assert stored_bits(model) == 32 * parameters_of(model)

"""A checkpoint of other classes: which weights depend on them, what is cut out of it, and what is made anew."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_bench import MODELS, SCHEDULE

from kdbench.datasets import digits
from kdbench.errors import GateError, UserError
from kdbench.openmmlab.setup import prepare_libraries

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from kdbench.openmmlab.students import Subject  # noqa: E402
from kdbench.openmmlab.weights import class_layers  # noqa: E402
from kdbench.openmmlab.weights.checkpoints import weights_in  # noqa: E402
from kdbench.openmmlab.weights.class_layers import model_to_fine_tune, other_classes  # noqa: E402

THEIRS, OURS = ("ant", "bee", "cow", "dog"), ("hound", "kine")
STANDS_FOR = {"hound": "dog", "kine": "cow"}
TAKEN = [3, 2]


def subject(kind, names, **changes):
    card, model = digits.segmentation if kind == "pspnet" else digits.detection, MODELS[kind](16)
    if kind == "faster":
        model.edits["roi_head.bbox_head.reg_class_agnostic"] = False
    values = {number + 1: name for number, name in enumerate(names)} if kind == "pspnet" else {}
    card = replace(card, classes=names, mask_values=values)
    return Subject("x", model, SCHEDULE, card, 0, False, **changes)


@pytest.fixture(params=["faster", "retinanet", "ssd", "pspnet"])
def kind(request):
    return request.param


@pytest.fixture
def file(kind, tmp_path):
    """A checkpoint of four classes, as mmengine writes it."""
    model = subject(kind, THEIRS).build()
    path = tmp_path / "theirs.pth"
    torch.save({"meta": {"dataset_meta": {"classes": THEIRS}}, "state_dict": model.state_dict()}, path)
    return path


def scores(kind, model):
    """Scores of random features, and regression where each class has its own; classes are the second dimension."""
    torch.manual_seed(0)
    if kind == "faster":
        logits, boxes = model.roi_head.bbox_head(torch.rand(3, 16, 5, 5))
        return [logits, *boxes.unflatten(1, (-1, 4)).unbind(2)]
    maps = model.eval().extract_feat(torch.rand(1, 3, 64, 64))
    if kind == "pspnet":
        return [model.decode_head(maps)]
    rows = model.bbox_head.cls_out_channels
    return [level.unflatten(1, (-1, rows))[0].transpose(0, 1)[None] for level in model.bbox_head(maps)[0]]


def test_outputs_of_the_classes_that_stand_for_ours_are_theirs(kind, file):
    theirs = subject(kind, THEIRS).loaded(file)[0]
    ours, missed = subject(kind, OURS, classes=STANDS_FOR).loaded(file)
    assert not missed
    for own, whole in zip(scores(kind, ours), scores(kind, theirs), strict=True):
        background = list(range(4, whole.shape[1]))
        assert torch.allclose(own, whole[:, TAKEN + background], atol=1e-6)
        assert own.shape[1] < whole.shape[1]


def test_a_file_is_read_once_while_it_does_not_change(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(class_layers, "weights_in", lambda *given: reads.append(1) or weights_in(*given))
    file = tmp_path / "theirs.pth"
    torch.save(subject("retinanet", THEIRS).build().state_dict(), file)
    assert [other_classes(subject("retinanet", OURS), file) for _ in range(2)] == [4, 4]
    assert len(reads) == 1
    torch.save(subject("retinanet", OURS).build().state_dict(), file)
    assert other_classes(subject("retinanet", OURS), file) is None
    assert len(reads) == 2


def test_other_classes_are_seen_and_only_their_layers_made_anew(kind, file):
    assert other_classes(subject(kind, THEIRS), file) is None
    ours = subject(kind, OURS)
    assert other_classes(ours, file) == 4
    assert other_classes(subject(kind, OURS, classes=STANDS_FOR), file) is None
    model, (told,) = model_to_fine_tune(ours, file)
    assert "fine-tuned from SHA-256 " in told
    whole, fresh, own = (m.state_dict() for m in (subject(kind, THEIRS).build(), ours.build(), model))
    for name, value in own.items():
        assert (name in told) == (whole[name].shape != value.shape)
        assert torch.equal(value, fresh[name] if name in told else whole[name])


def test_a_checkpoint_that_lacks_more_is_refused(tmp_path):
    state = subject("retinanet", THEIRS).build().state_dict()
    lacking = {name: value for name, value in state.items() if "neck.fpn_convs.0" not in name}
    torch.save(lacking, tmp_path / "x.pth")
    with pytest.raises(
        GateError, match=r"lacks weights of the model.*neck\.fpn_convs\.0\.conv\.weight \(not in"
    ):
        model_to_fine_tune(subject("retinanet", OURS), tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("meta", "told"),
    [
        ({"CLASSES": ("ant", "bee", "cow", "hen")}, "has no class 'dog': it has ant, bee, cow, hen"),
        ({}, "does not name its classes"),
    ],
)
def test_classes_that_a_checkpoint_does_not_name(tmp_path, meta, told):
    state = subject("retinanet", THEIRS).build().state_dict()
    torch.save({"meta": meta, "state_dict": state}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=told):
        subject("retinanet", OURS, classes=STANDS_FOR).loaded(tmp_path / "x.pth")

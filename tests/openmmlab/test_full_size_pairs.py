"""The full-size pairs: built without their weights, and one step of a distillation on drawn images."""

from __future__ import annotations

import pytest
import torch

from kdbench.openmmlab.setup import LIBRARIES, prepare_libraries
from kdbench.pairs import detectors, segmentors
from kdbench.plugins import registry
from kdbench.specs import Pair
from kdbench_models import mobilenet_pairs

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from kdbench.openmmlab.checks.preflight import check_same_pixels  # noqa: E402
from kdbench.openmmlab.complexity import describe  # noqa: E402
from kdbench.openmmlab.students import Subject, assembled  # noqa: E402
from kdbench.openmmlab.training.distiller import Teacher  # noqa: E402

FULL = {pair.name: pair for pair in (*detectors.PAIRS, *segmentors.PAIRS)}
PAIRS = FULL | {pair.name: pair for pair in mobilenet_pairs.PAIRS if not pair.cpu}
CHEAPEST = {
    "coco-faster-rcnn-r50-r18",
    "coco-retinanet-r50-r18",
    "coco-gfl-r50-r18",
    "kitti-fcos-r50-r18",
    "cityscapes-pspnet-r101-r18",
    "bccd-mbv2",
}
"""One of each family of models, tried in each run of the tests."""
SIDE = 64
EACH = [pytest.param(name, marks=[] if name in CHEAPEST else pytest.mark.release) for name in PAIRS]


def test_they_have_the_schedules_of_papers():
    assert len(FULL) == 16 + 8
    lengths = {name: pair.schedule.iterations for name, pair in FULL.items()}
    assert (lengths["coco-retinanet-r101-r50"], lengths["coco-gfl-r101-r50"]) == (180_000, 90_000)
    assert {lengths[name] for name in FULL if name.startswith("kitti")} == {5_600}
    assert (lengths["cityscapes-pspnet-r101-r18"], lengths["ade20k-pspnet-r101-r18"]) == (40_000, 160_000)
    for pair in FULL.values():
        assert (pair.pretrained, pair.cpu) == (True, False)
        assert pair.teacher_schedule.scale == pair.schedule.scale


@pytest.mark.parametrize("name", EACH)
def test_one_step(name, bench):
    pair = PAIRS[name]
    kind = "pspnet" if pair.task == "segmentation" else "faster"
    student, teacher = (subject_of(pair, role, bench.dataset(kind)) for role in ("student", "teacher"))
    card, options = bench.card("fitnets")
    model, taught_by = student.build(), Teacher(teacher.build())
    both, _ = assembled(student, model, [taught_by], card, options, bench.probe(kind))
    check_same_pixels(model, taught_by.model, bench.probe(kind))
    losses, terms, _ = both.train().compute(*bench.probe(kind).batch(model))
    hints = sum(terms.values())
    total = model.parse_losses(losses)[0] + hints
    total.backward()
    assert torch.isfinite(total)
    assert hints > 0
    assert not [name for name, value in both.named_parameters() if value.grad is None]


def subject_of(pair: Pair, role, dataset):
    prepare_libraries(LIBRARIES[dataset.task])
    schedule = pair.schedule.model_copy(update={"scale": (SIDE, SIDE), "crop": None, "batch_size": 2})
    return Subject(f"{pair.name}-{role}", getattr(pair, role), schedule, dataset, 0, pretrained=False)


@pytest.mark.parametrize("name", EACH)
def test_a_teacher_is_larger_than_its_student(name):
    pair = PAIRS[name]
    sizes = describe(pair, registry().dataset(pair.dataset).value)
    assert sizes["teacher"]["flops"] > sizes["student"]["flops"] > 0
    assert sizes["teacher"]["parameters"] > sizes["student"]["parameters"]

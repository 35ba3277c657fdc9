"""Targets of a whole batch at once are mmdet's own, bit for bit, and draw the same random numbers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

BATCHES = 250
"""Random batches of each kind of head: a thousand in all."""
SIDE = 96
CLASSES = 10


@dataclass
class Batch:
    """What a detector knows of some images."""

    instances: list[Any]
    ignored: list[Any]
    metas: list[dict[str, Any]]


def batches(seed: int) -> Iterator[tuple[Batch, random.Random]]:
    rng = random.Random(seed)
    for _ in range(BATCHES):
        images = rng.randint(1, 4)
        same = rng.random() < 0.5
        metas = [{"pad_shape": padded(rng, same), "img_shape": (SIDE, SIDE)} for _ in range(images)]
        yield Batch([truth(rng) for _ in range(images)], [truth(rng) for _ in range(images)], metas), rng


def padded(rng: random.Random, same: bool) -> tuple[int, int]:
    """Size of an image in its padded batch."""
    return (SIDE, SIDE) if same else (rng.choice([40, 64, SIDE]), rng.choice([40, 72, SIDE]))


def truth(rng: random.Random) -> Any:
    """No box, one, some or many; on a coarse grid, so that overlaps and distances tie; some twice."""
    from mmengine.structures import InstanceData

    count = rng.choice([0, 1, 2, 3, 5, 30])
    step = rng.choice([1.0, 8.0, 0.37])
    boxes = []
    for _ in range(count):
        x, y = (step * rng.randrange(int(80 / step)) for _ in range(2))
        boxes.append([x, y, x + step * rng.randint(1, 12), y + step * rng.randint(1, 12)])
    if boxes and rng.random() < 0.2:
        boxes[-1] = boxes[0]
    labels = torch.tensor([rng.randrange(CLASSES) for _ in boxes], dtype=torch.long)
    return InstanceData(bboxes=torch.tensor(boxes).reshape(-1, 4), labels=labels)


def max_iou(rng: random.Random) -> Any:
    from mmdet.models.task_modules.assigners import MaxIoUAssigner

    high = rng.choice([0.3, 0.5, 0.7])
    return MaxIoUAssigner(
        high,
        rng.choice([0.3, (0.1, 0.3)]),
        min_pos_iou=rng.choice([0.0, 0.2, 0.5]),
        gt_max_assign_all=rng.random() < 0.5,
        match_low_quality=rng.random() < 0.7,
    )


def random_sampler(rng: random.Random, *, with_truth: bool = False) -> Any:
    from mmdet.models.task_modules.samplers import RandomSampler

    return RandomSampler(
        rng.choice([8, 32, 10000]),
        rng.choice([0.25, 0.5]),
        neg_pos_ub=rng.choice([-1, 0, 3]),
        add_gt_as_proposals=with_truth,
    )


def pseudo_sampler(rng: random.Random) -> Any:
    from mmdet.models.task_modules.samplers import PseudoSampler

    return PseudoSampler()


def atss(rng: random.Random) -> Any:
    from mmdet.models.task_modules.assigners import ATSSAssigner

    return ATSSAssigner(rng.choice([1, 9]))


def drawn(make: Any) -> tuple[Any, Tensor]:
    """What a function gives, and the next random number after it."""
    torch.manual_seed(1)
    return make(), torch.rand(1)


def check(own: Any, ours: Any) -> None:
    """Bit for bit, through all containers."""
    if isinstance(own, Tensor):
        assert (own.dtype, own.shape) == (ours.dtype, ours.shape)
        assert torch.equal(own, ours)
    elif isinstance(own, list | tuple):
        assert len(own) == len(ours)
        for pair in zip(own, ours, strict=True):
            check(*pair)
    else:
        assert own == ours


HEADS = {
    "faster": ("rpn_head", max_iou, random_sampler),
    "retinanet": ("bbox_head", max_iou, pseudo_sampler),
    "gfl": ("bbox_head", atss, pseudo_sampler),
}


@pytest.mark.parametrize("kind", HEADS)
def test_targets_of_a_head_with_anchors_are_mmdets(bench, kind):
    name, assigner, sampler = HEADS[kind]
    head = getattr(bench.subject(kind).build(), name)
    sizes = [(SIDE // stride[1], SIDE // stride[0]) for stride in head.prior_generator.strides]
    positives = 0
    for batch, rng in batches(0):
        head.assigner, head.sampler = assigner(rng), sampler(rng)
        head.train_cfg["pos_weight"] = rng.choice([-1, 2.0])
        anchors, flags = head.get_anchors(sizes, batch.metas, device="cpu")
        assert head.is_covered(anchors[0][0])
        given = deepcopy((anchors, flags, batch.instances, batch.metas, batch.ignored))
        own = drawn(lambda given=given: head.get_targets(*given))
        args = anchors[0], flags, batch.instances, batch.metas
        check(own, drawn(lambda args=args: head.targets_at_once(*args)))
        positives += int(own[0][-2][0].sum()) // 4  # the weights of the boxes of the finest level
    assert positives > BATCHES, "something was assigned"


def test_sampled_proposals_are_mmdets(bench):
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData

    head = bench.subject("faster").build().roi_head
    generator = torch.Generator().manual_seed(0)
    for batch, rng in batches(1):
        head.bbox_assigner, head.bbox_sampler = (
            max_iou(rng),
            random_sampler(rng, with_truth=rng.random() < 0.7),
        )
        boxes = [proposals(each, rng, generator) for each in batch.instances]
        if not head.is_covered(boxes, batch.instances):
            assert not any(len(each.bboxes) for each in batch.instances)
            continue

        def one_by_one(boxes: Any = boxes, instances: Any = batch.instances) -> Any:
            for each, real in zip(boxes, instances, strict=True):
                given = InstanceData(priors=each)
                yield head.bbox_sampler.sample(head.bbox_assigner.assign(given, real), given, real)

        own, after = drawn(lambda make=one_by_one: list(make()))
        ours, after_ours = drawn(lambda b=boxes, batch=batch: head.sampled_at_once(b, batch.instances))
        check(after, after_ours)
        for theirs, made in zip(own, ours, strict=True):
            for name in vars(made):
                check(getattr(theirs, name), getattr(made, name))
            check(theirs.priors, made.priors)
        options, box_head = ConfigDict(pos_weight=rng.choice([-1, 2.0])), head.bbox_head
        check(box_head.get_targets(own, options), box_head.targets_at_once(ours, options))


def proposals(instances: Any, rng: random.Random, generator: torch.Generator) -> Tensor:
    """Boxes near those of the truth and elsewhere."""
    count = rng.choice([1, 20, 40])
    corners = torch.rand(count, 2, generator=generator) * 80
    boxes = torch.cat([corners, corners + 1 + torch.rand(count, 2, generator=generator) * 30], dim=1)
    near = instances.bboxes[: count // 2]
    boxes[: len(near)] = near + rng.choice([0.0, 1.0])
    return boxes


@pytest.mark.parametrize("option", ["ignore_iof_thr", "gpu_assign_thr", "perm_repeat_gt_cfg", "dtype"])
def test_an_option_that_is_not_covered_is_left_to_mmdet(bench, option):
    from kdbench.openmmlab.batched.assigning import covers_assigner

    assigner = max_iou(random.Random(0))
    assert covers_assigner(assigner)
    owner = assigner.iou_calculator if option == "dtype" else assigner
    setattr(owner, option, {"dtype": "fp16"}.get(option, 0.5))
    assert not covers_assigner(assigner)


def test_class_indices_expand_as_mmdets(bench):
    from mmdet.models.losses.cross_entropy_loss import _expand_onehot_labels

    from kdbench.openmmlab.batched.heads import one_hot

    for seed in range(100):
        generator = torch.Generator().manual_seed(seed)
        label = torch.randint(-1, 5, (20,), generator=generator)
        weight = torch.rand(20, generator=generator)
        check(_expand_onehot_labels(label, weight, 4, 2)[:2], one_hot(label, weight, 4, 2))


def test_many_boxes_are_compared_in_parts(bench, monkeypatch):
    from kdbench.openmmlab.batched import heads

    for kind in ("gfl", "faster"):
        head = getattr(bench.subject(kind).build(), HEADS[kind][0])
        sizes = [(SIDE // stride[1], SIDE // stride[0]) for stride in head.prior_generator.strides]
        rng = random.Random(3)
        batch = Batch([truth(rng) for _ in range(4)], [], [{"pad_shape": (SIDE, SIDE)}] * 4)
        anchors, flags = head.get_anchors(sizes, batch.metas, device="cpu")
        args = anchors[0], flags, batch.instances, batch.metas
        whole = drawn(lambda head=head, args=args: head.targets_at_once(*args))
        with monkeypatch.context() as patch:
            patch.setattr(heads, "LARGEST", 1)
            check(whole, drawn(lambda head=head, args=args: head.targets_at_once(*args)))


def test_a_grid_is_made_once_and_again_when_it_was_changed(bench):
    generator = bench.subject("gfl").build().bbox_head.prior_generator
    sizes = [(8, 8)] * len(generator.strides)
    first = generator.grid_priors(sizes, device="cpu")
    assert all(a is b for a, b in zip(first, generator.grid_priors(sizes, device="cpu"), strict=True))
    untouched = [level.clone() for level in first]
    first[0].add_(1)
    check(untouched, generator.grid_priors(sizes, device="cpu"))

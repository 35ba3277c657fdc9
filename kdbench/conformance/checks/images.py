"""Batches that are rare, and come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.nn.functional import interpolate

from kdbench.conformance.exam import Exam
from kdbench.conformance.stepping import Raw, stepped

SIZES = ((61, 47), (39, 45))
"""Height and width of the two images of a batch of odd sizes; the first is the larger."""


def without_boxes(exam: Exam) -> None:
    """Two images without any object."""
    _each(exam, lambda raw: _objects(raw, 0))


def with_one_box(exam: Exam) -> None:
    """Two images with one object each."""
    _each(exam, lambda raw: _objects(raw, 1))


def batch_of_one(exam: Exam) -> None:
    """One image."""
    _each(exam, lambda raw: {name: values[:1] for name, values in raw.items()})


def odd_sizes(exam: Exam) -> None:
    """Two images that are resized to odd sizes, each to its own."""
    height, width = SIZES[0]
    _each(exam, _resized, scale=(width, height))


def _each(exam: Exam, edit: Callable[[Raw], Raw], **changes: Any) -> None:
    for family in exam.families():
        stepped(exam, family, edit, **changes)


def _objects(raw: Raw, count: int) -> Raw:
    """Keep so many objects of each image; in masks the others become background."""
    for sample in raw["data_samples"]:
        if "gt_sem_seg" in sample:
            mask = sample.gt_sem_seg.data
            kept = mask[mask > 0].unique()[:count]
            mask[~(mask.unsqueeze(-1) == kept).any(-1)] = 0
        else:
            sample.gt_instances = sample.gt_instances[:count]
    return raw


def _resized(raw: Raw) -> Raw:
    """Each image with its objects at another size."""
    for number, (size, sample) in enumerate(zip(SIZES, raw["data_samples"], strict=True)):
        image = raw["inputs"][number]
        raw["inputs"][number] = interpolate(image[None].float(), size, mode="bilinear")[0].to(image.dtype)
        sample.set_metainfo({"img_shape": size, "pad_shape": size})
        if "gt_sem_seg" in sample:
            pixels = sample.gt_sem_seg
            resized = interpolate(pixels.data[None].float(), size)[0].to(pixels.data.dtype)
            sample.gt_sem_seg = type(pixels)(data=resized)
        else:
            sample.gt_instances.bboxes.rescale_((size[1] / image.shape[2], size[0] / image.shape[1]))
    return raw

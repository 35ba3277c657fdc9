"""Datasets, pipelines and loaders of a dataset under a schedule."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.dist import get_world_size
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from kdbench.dataset_cards import Dataset
from kdbench.datasets.formats import format_of
from kdbench.datasets.layout import items
from kdbench.errors import ArgumentError
from kdbench.openmmlab.data import packed
from kdbench.openmmlab.data.sampling import SameSize, SortedImages, sizes_of
from kdbench.openmmlab.data.sampling import PositionSampler, SeededImages
from kdbench.openmmlab.setup import LIBRARIES
from kdbench.specs import Schedule

EVALUATION_BATCH = 16
LOAD_TRUTH = ("LoadAnnotations", "KdbenchLoadMask")
"""Names of the pipeline steps that load boxes and masks."""

def images_of(dataset: Dataset, folder: Path, split: str, pipeline: list[dict[str, Any]]) -> Any:
    """Return the OpenMMLab dataset of one split."""
    kept = packed.read(dataset, folder, split)
    found = [] if kept else items(dataset, split, folder)
    common: dict[str, Any] = {
        "items": found,
        "kept": kept,
        "serialize_data": len(found) >= packed.LARGE,
        "metainfo": {"classes": dataset.classes},
        "pipeline": pipeline,
        "test_mode": split != "train",
    }
    init_default_scope(LIBRARIES[dataset.task])
    if dataset.task == "detection":
        from kdbench.openmmlab.data.images import BoxImages

        images = BoxImages(dataset=dataset, **common)
    else:
        from kdbench.openmmlab.data.masks import MaskImages

        images = MaskImages(**common, ignore_index=dataset.ignore_index)
    if kept is None and images.serialize_data:
        images.kept = packed.write(dataset, folder, split, images)
    return images


def training_loader(
    dataset: Dataset, folder: Path, schedule: Schedule, seed: int, workers: int
) -> DataLoader[Any]:
    """Return an endless loader of augmented batches that depend on the seed alone.

    Raises:
        UserError: If a batch cannot be divided evenly among the processes.
    """
    plain = images_of(dataset, folder, "train", training_pipeline(dataset, schedule))
    images = SeededImages(plain, seed, schedule.batch_size, upright(plain, schedule))
    sampler = PositionSampler(len(images))
    return DataLoader(
        images,
        batch_size=batch_of_a_process(schedule),
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=leave_signals,
        collate_fn=pseudo_collate,
        persistent_workers=workers > 0,
    )


def batch_of_a_process(schedule: Schedule) -> int:
    """Return the number of images in one process's part of a batch.

    Raises:
        UserError: If a batch cannot be divided evenly among the processes.
    """
    processes = int(get_world_size())
    if schedule.batch_size % processes:
        why = f"{schedule.batch_size} images cannot be dealt out over {processes} processes: take a multiple."
        raise ArgumentError("settings", why, "schedule.batch_size or teacher_schedule.batch_size")
    return schedule.batch_size // processes


def upright(images: Any, schedule: Schedule) -> list[bool]:
    """Return whether each resized image is higher than wide; empty if all have one size."""
    if not schedule.keep_ratio or schedule.crop is not None:
        return []
    return [height > width for width, height in sizes_of(images, schedule)]


def evaluation_loader(
    dataset: Dataset, folder: Path, schedule: Schedule, split: str, workers: int
) -> DataLoader[Any]:
    """Return a loader of a split's images in batches of one size, independent of the order of the split's lists."""
    pipeline = evaluation_pipeline(dataset, schedule)
    images = SortedImages(images_of(dataset, folder, split, pipeline), schedule)
    return DataLoader(
        images,
        batch_sampler=SameSize(DefaultSampler(images, shuffle=False), images.sizes, EVALUATION_BATCH),
        num_workers=workers,
        worker_init_fn=leave_signals,
        collate_fn=pseudo_collate,
        persistent_workers=workers > 0,
    )


def evaluation_sizes(dataset: Dataset, folder: Path, schedule: Schedule) -> list[tuple[int, int]]:
    """Return the distinct sizes, width and height, of the resized test images."""
    images = images_of(dataset, folder, "test", evaluation_pipeline(dataset, schedule))
    return list(dict.fromkeys(SortedImages(images, schedule).sizes))


def training_pipeline(dataset: Dataset, schedule: Schedule) -> list[dict[str, Any]]:
    """Return the steps that load, resize, crop and flip as the schedule says."""
    detection = dataset.task == "detection"
    resize: dict[str, Any] = {"type": "Resize", "scale": schedule.scale, "keep_ratio": schedule.keep_ratio}
    if schedule.resize_range is not None:
        resize |= {"type": "RandomResize", "ratio_range": schedule.resize_range}
    steps = [{"type": "LoadImageFromFile"}, _annotations(dataset), resize]
    if schedule.crop is not None:
        crop = {"type": "RandomCrop", "crop_size": schedule.crop}
        steps.append(
            crop if detection else crop | {"cat_max_ratio": 0.75, "ignore_index": dataset.ignore_index}
        )
    if schedule.flip:
        steps.append({"type": "RandomFlip", "prob": schedule.flip})
    return [*steps, {"type": "PackDetInputs" if detection else "PackSegInputs"}]


def evaluation_pipeline(dataset: Dataset, schedule: Schedule) -> list[dict[str, Any]]:
    """Return the steps that load and resize; the truth keeps its size, predictions are scaled to it."""
    resize = {"type": "Resize", "scale": schedule.scale, "keep_ratio": schedule.keep_ratio}
    if dataset.task == "segmentation":
        return [{"type": "LoadImageFromFile"}, resize, _annotations(dataset), {"type": "PackSegInputs"}]
    keys = ["img_id", "img_path", "ori_shape", "img_shape", "scale_factor"]
    keys += ["truth"] if format_of(dataset).truth else []
    return [
        {"type": "LoadImageFromFile"},
        resize,
        _annotations(dataset),
        {"type": "PackDetInputs", "meta_keys": tuple(keys)},
    ]


def _annotations(dataset: Dataset) -> dict[str, Any]:
    """Return the step that loads the boxes or the mask, one of :data:`LOAD_TRUTH`."""
    boxes, mask = LOAD_TRUTH
    return (
        {"type": boxes, "with_bbox": True}
        if dataset.task == "detection"
        else {"type": mask, "dataset": dataset}
    )


def leave_signals(number: int) -> None:
    """Let this data loading process, the ``number``-th, only be ended by its parent.

    A terminal's Ctrl-C and a scheduler's SIGTERM go to all processes. The training process then writes a checkpoint,
    for which it may need further batches; and torch raises an error in it when a data loading process is killed,
    which would make the run fail.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_await_parent, daemon=True).start()


def _await_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)

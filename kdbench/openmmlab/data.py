"""Pipelines, loaders and evaluators that follow from a dataset and a schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dataset import DefaultSampler, pseudo_collate
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from kdbench.cards import Dataset
from kdbench.datasets.layout import part_names
from kdbench.errors import UserError
from kdbench.openmmlab.loading_process import leave_signals
from kdbench.openmmlab.same_size import SameSize, SortedImages, sizes_of
from kdbench.openmmlab.sampling import PositionSampler, SeededImages
from kdbench.openmmlab.setup import LIBRARIES
from kdbench.specs import Schedule

EVALUATION_BATCH = 16


def images_of(dataset: Dataset, folder: Path, split: str, pipeline: list[dict[str, Any]]) -> Any:
    """Return the OpenMMLab dataset of one split."""
    parts = [
        (
            part_names(dataset, part, folder),
            str(folder / part.images),
            str(folder / part.annotations),
        )
        for part in dataset.splits[split]
    ]
    common: dict[str, Any] = {
        "parts": parts,
        "suffix": dataset.image_suffix,
        "metainfo": {"classes": dataset.classes},
        "pipeline": pipeline,
        "test_mode": split != "train",
    }
    init_default_scope(LIBRARIES[dataset.task])
    if dataset.task == "detection":
        from kdbench.openmmlab.images import VocImages

        return VocImages(**common)
    from kdbench.openmmlab.masks import MaskImages

    return MaskImages(**common, mask_suffix=dataset.mask_suffix, ignore_index=dataset.ignore_index)


def training_loader(
    dataset: Dataset, folder: Path, schedule: Schedule, seed: int, workers: int
) -> DataLoader[Any]:
    """Endless augmented batches: a function of the seed alone.

    Raises:
        UserError: If a batch cannot be dealt out evenly over the processes.
    """
    plain = images_of(dataset, folder, "train", training_pipeline(dataset, schedule))
    images = SeededImages(plain, seed, schedule.batch_size, upright(plain, schedule))
    sampler = PositionSampler(len(images))
    if schedule.batch_size % sampler.world_size:
        raise UserError(
            f"batches of {schedule.batch_size} images cannot be dealt out over {sampler.world_size} processes: "
            "use another number of GPUs, or --set schedule.batch_size and teacher_schedule.batch_size."
        )
    return DataLoader(
        images,
        batch_size=schedule.batch_size // sampler.world_size,
        sampler=sampler,
        num_workers=workers,
        worker_init_fn=leave_signals,
        collate_fn=pseudo_collate,
        persistent_workers=workers > 0,
    )


def upright(images: Any, schedule: Schedule) -> list[bool]:
    """Return whether each image is higher than wide when it is resized; empty where all get one size."""
    if not schedule.keep_ratio or schedule.crop is not None:
        return []
    return [height > width for width, height in sizes_of(images, schedule)]


def evaluation_loader(
    dataset: Dataset, folder: Path, schedule: Schedule, split: str, workers: int
) -> DataLoader[Any]:
    """Return a split's images, each once, in batches of one size that do not depend on the order of its lists."""
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


def evaluator_of(dataset: Dataset) -> dict[str, Any]:
    """Config of the metric."""
    if dataset.task == "detection":
        import kdbench.openmmlab.metrics

        return {"type": "KdbenchBoxes"}
    import kdbench.openmmlab.segmentation_metric  # noqa: F401

    return {"type": "KdbenchMasks", "ignore_index": dataset.ignore_index}


def training_pipeline(dataset: Dataset, schedule: Schedule) -> list[dict[str, Any]]:
    """Load, resize, crop and flip as the schedule says."""
    detection = dataset.task == "detection"
    load = {"type": "LoadAnnotations", "with_bbox": True} if detection else {"type": "LoadAnnotations"}
    resize: dict[str, Any] = {"type": "Resize", "scale": schedule.scale, "keep_ratio": schedule.keep_ratio}
    if schedule.resize_range is not None:
        resize |= {"type": "RandomResize", "ratio_range": schedule.resize_range}
    steps = [{"type": "LoadImageFromFile"}, load, resize]
    if schedule.crop is not None:
        crop = {"type": "RandomCrop", "crop_size": schedule.crop}
        steps.append(
            crop if detection else crop | {"cat_max_ratio": 0.75, "ignore_index": dataset.ignore_index}
        )
    if schedule.flip:
        steps.append({"type": "RandomFlip", "prob": schedule.flip})
    return [*steps, {"type": "PackDetInputs" if detection else "PackSegInputs"}]


def evaluation_pipeline(dataset: Dataset, schedule: Schedule) -> list[dict[str, Any]]:
    """Load and resize; the truth keeps its own size, predictions are scaled to it."""
    resize = {"type": "Resize", "scale": schedule.scale, "keep_ratio": schedule.keep_ratio}
    if dataset.task == "segmentation":
        return [{"type": "LoadImageFromFile"}, resize, {"type": "LoadAnnotations"}, {"type": "PackSegInputs"}]
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    return [
        {"type": "LoadImageFromFile"},
        resize,
        {"type": "LoadAnnotations", "with_bbox": True},
        {"type": "PackDetInputs", "meta_keys": keys},
    ]

"""Writes a trained student so that plain mmdet or mmseg can load it, without kdbench."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from kdbench.dataset_cards import Dataset
from kdbench.files import write_atomically
from kdbench.openmmlab.data.loaders import LOAD_TRUTH, evaluation_pipeline
from kdbench.openmmlab.models.configs import drop_pretrained
from kdbench.openmmlab.setup import LIBRARIES
from kdbench.specs import Schedule


def export(
    student: nn.Module,
    config: ConfigDict,
    dataset: Dataset,
    schedule: Schedule,
    output: Path,
    modules: Sequence[str] = (),
) -> tuple[Path, Path]:
    """Write a student's checkpoint and, beside it, its config for mmdet or mmseg.

    ``mmdet.apis.init_detector(config, checkpoint)`` loads them, or ``mmseg.apis.init_model``.

    Args:
        student: The trained student.
        config: The ``model`` that it was built from.
        dataset: Provides the classes.
        schedule: Provides the image size.
        output: The checkpoint's file, ending in ``.pth``.
        modules: Modules that the exported config imports, for a network outside mmdet and mmseg.

    Returns:
        The files of the checkpoint and of the config.

    Raises:
        OSError: If a file cannot be written; no partial file stays.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    file = output.with_suffix(".py")
    weights = {name: value.detach().to("cpu", copy=True) for name, value in student.state_dict().items()}
    checkpoint = {"meta": {"dataset_meta": metainfo(dataset)}, "state_dict": weights}
    write_atomically(output, partial(torch.save, checkpoint))
    write_atomically(file, inference_config(config, dataset, schedule, modules).pretty_text)
    return output, file


def exported_model(file: Path) -> ConfigDict:
    """Return the student's config from a file that :func:`export` wrote beside its weights."""
    return Config.fromfile(str(file)).model


def inference_config(
    config: ConfigDict, dataset: Dataset, schedule: Schedule, modules: Sequence[str] = ()
) -> Config:
    """Return the config for inference: model, test pipeline, classes and custom imports."""
    model = copy.deepcopy(config)
    drop_pretrained(model)
    steps = evaluation_pipeline(dataset, schedule)
    pipeline = [step for step in steps if step["type"] not in LOAD_TRUTH]
    kind = "BaseDetDataset" if dataset.task == "detection" else "BaseSegDataset"
    images = {"type": kind, "metainfo": metainfo(dataset), "pipeline": pipeline, "test_mode": True}
    imports = {"imports": list(modules), "allow_failed_imports": False}
    return Config(
        ({"custom_imports": imports} if modules else {})
        | {
            "default_scope": LIBRARIES[dataset.task],
            "model": model,
            "test_pipeline": pipeline,
            "test_dataloader": {"batch_size": 1, "dataset": images},
        }
    )


def metainfo(dataset: Dataset) -> dict[str, Any]:
    """Return the classes and, for masks, the colours that mmseg's drawing functions need."""
    if dataset.task == "detection":
        return {"classes": dataset.classes}
    from mmseg.utils import get_palette

    colours = itertools.islice(itertools.cycle(get_palette("ade")), len(dataset.classes))
    return {"classes": dataset.classes, "palette": [tuple(colour) for colour in colours]}

"""Builds models for a dataset, under a random state of their own."""

from __future__ import annotations

import copy
from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from torch import nn

from kdbench.dataset_cards import Dataset
from kdbench.distill.randomness import seeded
from kdbench.openmmlab.batched import batch_parts
from kdbench.openmmlab.models.configs import model_config
from kdbench.openmmlab.setup import LIBRARIES
from kdbench.specs import Model, Schedule


def full_config(model: Model, dataset: Dataset, schedule: Schedule, *, pretrained: bool) -> ConfigDict:
    """Return the model's config for a dataset and the schedule's image size."""
    config = model_config(model, dataset, pretrained=pretrained)
    if dataset.task == "segmentation" and not model.gives_features:
        width, height = schedule.scale
        config.data_preprocessor.size = schedule.crop or (height, width)
    return config


def build_model(config: ConfigDict, dataset: Dataset, seed: int) -> Any:
    """Return an initialised model, whose weights depend on the config and the seed alone."""
    if dataset.task == "detection":
        from mmdet.registry import MODELS
    else:
        from mmseg.registry import MODELS
    init_default_scope(LIBRARIES[dataset.task])
    with seeded(seed, "init"):
        model = MODELS.build(copy.deepcopy(config))
        model.init_weights()
    batch_parts(model, LIBRARIES[dataset.task])
    if dataset.task == "detection":
        _let_ssd_predict(model)
    return model


def _let_ssd_predict(model: nn.Module) -> None:
    """Set the attribute that mmdet's prediction reads from every head and that SSD's head lacks."""
    from mmdet.models.dense_heads import SSDHead

    for part in model.modules():
        if isinstance(part, SSDHead) and not hasattr(part, "loss_cls"):
            part.loss_cls = None


def parameters_of(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in model.parameters())

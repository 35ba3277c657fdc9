"""Unfreezes the layers of a model without initial weights: its config would keep their random weights."""

from __future__ import annotations

from typing import Any

from mmengine.config import ConfigDict
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdbench.dataset_cards import Dataset
from kdbench.openmmlab.complexity import without_values
from kdbench.openmmlab.models.configs import initial_weights

SWITCHES = {"frozen_stages": -1, "norm_eval": False}
"""Attribute of OpenMMLab's backbones that freezes layers -> its value that freezes none."""


def unfreeze(model: Any) -> str | None:
    """Make every layer of a model with random weights trainable, and put the model into training mode.

    Frozen layers would keep their random weights, and BatchNorm layers in evaluation mode a mean of 0 and a
    variance of 1. Other parameters, such as a fixed position embedding, stay frozen.

    Returns:
        One line on what the config froze; None if it froze nothing.
    """
    model.train()
    frozen = [name for name, part in model.named_modules() if _is_frozen(part)]
    for part in model.modules():
        for name, value in SWITCHES.items():
            if hasattr(part, name):
                setattr(part, name, value)
        for parameter in _weight_and_bias(part):
            parameter.requires_grad_(True)
    model.train()
    if not frozen:
        return None
    return (
        f"trained in full: its config freezes {len(frozen)} layers ({frozen[0]} to {frozen[-1]}), which no "
        "initial weights were given for"
    )


def unfrozen_layers(config: ConfigDict, dataset: Dataset) -> list[str]:
    """Return the line of :func:`unfreeze` on the model of a config, if there is one."""
    line = None if initial_weights(config) else unfreeze(without_values(config, dataset))
    return [] if line is None else [line]


def _is_frozen(part: nn.Module) -> bool:
    without_gradient = any(not parameter.requires_grad for parameter in _weight_and_bias(part))
    return without_gradient or (isinstance(part, _BatchNorm) and not part.training)


def _weight_and_bias(part: nn.Module) -> list[nn.Parameter]:
    own = (getattr(part, name, None) for name in ("weight", "bias"))
    return [value for value in own if isinstance(value, nn.Parameter)]

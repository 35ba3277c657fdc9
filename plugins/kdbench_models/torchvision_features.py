"""torchvision's classifiers as feature teachers."""

from __future__ import annotations

from typing import Any

import torchvision
from torchvision.models import get_model, get_model_weights, list_models
from torchvision.models.feature_extraction import create_feature_extractor

from kdbench.api import FeatureNetwork, UserError


def network(name: str, out_indices: list[str], **arguments: Any) -> FeatureNetwork:
    """Return a classifier of torchvision with random weights, up to the last of the maps; nothing is downloaded.

    Args:
        name: torchvision's name of the network, such as ``resnet50``.
        out_indices: Names of the modules that output the maps, such as ``layer2`` or ``features.6``.
        arguments: Arguments of the network's function.

    Raises:
        UserError: If torchvision has no such classifier, argument or module.
    """
    if name not in list_models(torchvision.models):
        raise UserError(f"torchvision has no classifier '{name}': its documentation lists them.")
    try:
        whole = get_model(name, weights=None, **arguments)
        made = create_feature_extractor(whole, [str(index) for index in out_indices])
    except (TypeError, ValueError) as error:
        raise UserError(
            f"torchvision's {name} does not take {out_indices} and {arguments}: {error}."
        ) from error
    preprocessing = get_model_weights(name).DEFAULT.transforms()
    mean, std = (tuple(255 * value for value in values) for values in (preprocessing.mean, preprocessing.std))
    return FeatureNetwork(
        made, lambda images: list(made(images).values()), mean, std, f"torchvision {torchvision.__version__}"
    )

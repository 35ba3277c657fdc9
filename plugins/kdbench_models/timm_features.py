"""timm's networks as feature teachers. timm is imported when one is asked for."""

from __future__ import annotations

import difflib
from functools import partial
from typing import Any

from kdbench.api import FeatureNetwork, UserError


def network(name: str, out_indices: list[int], **arguments: Any) -> FeatureNetwork:
    """Return a network of timm with random weights, up to the last of the maps; nothing is downloaded.

    Args:
        name: As timm names it: ``convnext_tiny``, or ``convnext_tiny.in12k`` with the weights whose normalisation
            is wanted.
        out_indices: The maps, as timm counts a network's intermediate ones.
        arguments: Of ``timm.create_model``, such as ``img_size`` of a vision transformer.

    Raises:
        UserError: If timm is not installed, or has no such network, argument or map.
    """
    timm = _timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        raise UserError(f"timm has no network '{name}'.{f' Did you mean {near[0]!r}?' if near else ''}")
    try:
        made = timm.create_model(name, pretrained=False, num_classes=0, **arguments)
        indices = made.prune_intermediate_layers(
            out_indices
        )  # from 0 on, also where some are counted from the end
    except AttributeError as error:
        raise UserError(f"timm's {name} gives no feature maps ({error}): choose another network.") from error
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"timm's {name} does not take out_indices {out_indices} and {arguments}: {error}."
        ) from error
    maps = partial(made.forward_intermediates, indices=indices, stop_early=True, intermediates_only=True)
    mean, std = (tuple(255 * value for value in made.pretrained_cfg[key]) for key in ("mean", "std"))
    return FeatureNetwork(made, maps, mean, std, f"timm {timm.__version__}")


def _timm() -> Any:
    """Return the module. Raises UserError where it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise UserError(f"timm does not import ({error}): pip install 'kdbench[timm]'") from error
    return timm

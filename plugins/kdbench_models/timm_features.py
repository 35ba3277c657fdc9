"""timm's networks as feature teachers. timm is only imported when one is requested."""

from __future__ import annotations

import difflib
from functools import partial
from typing import Any

from kdbench.api import FeatureNetwork, UserError


def network(name: str, out_indices: list[int], **arguments: Any) -> FeatureNetwork:
    """Return a network of timm with random weights, up to the last of the maps; nothing is downloaded.

    Args:
        name: timm's name of the network, such as ``convnext_tiny``, or ``convnext_tiny.in12k`` for the
            normalisation of these weights.
        out_indices: Indices of timm's intermediate maps.
        arguments: Arguments of ``timm.create_model``, such as ``img_size`` of a vision transformer.

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
        )  # non-negative, even if some were counted from the end
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
    """Import timm. Raises UserError if it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise UserError(f"timm does not import ({error}): pip install 'kdbench[timm]'") from error
    return timm

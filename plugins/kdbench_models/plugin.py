"""The plugin: named networks and pairs with them. Imports no torch."""

from __future__ import annotations

from kdbench.api import ModelCard, Pair, hookimpl
from kdbench_models import (
    efficientnet_lite_card,
    espnet_pairs,
    mobilenet_pairs,
    rfcn_card,
    segmentors_card,
    ssd_pairs,
)
from kdbench_models.espnet_card import ESPNET, ESPNET_C
from kdbench_models.sources import TIMM, TORCHVISION

PARTS = (efficientnet_lite_card, rfcn_card, segmentors_card)
"""Modules with cards of networks and pairs with them."""


@hookimpl
def kdbench_models() -> list[ModelCard]:
    """Return the networks, and the sources of feature teachers."""
    return [ESPNET_C, ESPNET, *(card for part in PARTS for card in part.MODELS), TIMM, TORCHVISION]


@hookimpl
def kdbench_pairs() -> list[Pair]:
    """Return the pairs with these networks, with MobileNetV2, and with SSD."""
    own = [*espnet_pairs.PAIRS, *mobilenet_pairs.PAIRS, *ssd_pairs.PAIRS]
    return [*own, *(pair for part in PARTS for pair in part.PAIRS)]

"""What this package gives kdbench: its networks by name, and pairs with them. Imports no torch."""

from __future__ import annotations

from kdbench.api import ModelCard, Pair, hookimpl
from kdbench_models import efficientnet_lite_card, espnet_pairs, rfcn_card, segmentors_card, ssd_pairs
from kdbench_models.espnet_card import ESPNET, ESPNET_C

PARTS = (efficientnet_lite_card, rfcn_card, segmentors_card)
"""Modules with cards of networks and pairs of them."""


@hookimpl
def kdbench_models() -> list[ModelCard]:
    """Return the networks."""
    return [ESPNET_C, ESPNET, *(card for part in PARTS for card in part.MODELS)]


@hookimpl
def kdbench_pairs() -> list[Pair]:
    """Return the pairs with these networks, and with SSD."""
    return [*espnet_pairs.PAIRS, *ssd_pairs.PAIRS, *(pair for part in PARTS for pair in part.PAIRS)]

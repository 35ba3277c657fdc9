"""What this package gives kdbench: its networks by name, and pairs with them. Imports no torch."""

from __future__ import annotations

from kdbench.api import ModelCard, Pair, hookimpl
from kdbench_models import espnet_pairs, mobilenet_pairs, ssd_pairs
from kdbench_models.espnet_card import ESPNET, ESPNET_C


@hookimpl
def kdbench_models() -> list[ModelCard]:
    """Return the networks."""
    return [ESPNET_C, ESPNET]


@hookimpl
def kdbench_pairs() -> list[Pair]:
    """Return the pairs with these networks, with MobileNetV2, and with SSD."""
    return [*espnet_pairs.PAIRS, *mobilenet_pairs.PAIRS, *ssd_pairs.PAIRS]

"""What this package gives kdbench: its networks by name, and pairs with them. Imports no torch."""

from __future__ import annotations

from kdbench.api import ModelCard, Pair, hookimpl
from kdbench_models import espnet_pairs, ssd_pairs
from kdbench_models.espnet_card import ESPNET, ESPNET_C
from kdbench_models.sources import TIMM, TORCHVISION


@hookimpl
def kdbench_models() -> list[ModelCard]:
    """Return the networks, and the sources of feature teachers."""
    return [ESPNET_C, ESPNET, TIMM, TORCHVISION]


@hookimpl
def kdbench_pairs() -> list[Pair]:
    """Return the pairs with these networks, and with SSD."""
    return [*espnet_pairs.PAIRS, *ssd_pairs.PAIRS]

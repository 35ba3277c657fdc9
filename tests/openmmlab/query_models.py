"""Small models of the DETR family: ResNet-18, one layer in the encoder, two in the decoder, a dozen queries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kdbench.api import Model, narrow
from kdbench.conformance.models import dino
from kdbench.pairs.small import resnet, stages

QUERIES = 12
LAYERS = 2
WIDE = 256
"""Channels of Conditional DETR, whose code has no other."""


def query_model(config: str, maps: int) -> Callable[[int], Model]:
    """Return what makes a model of so many channels whose encoder reads the last maps of the backbone."""

    def model(channels: int) -> Model:
        width = channels // 4  # DETRs have 256 channels behind a ResNet of 64
        return narrow(f"mmdet::{config}", width, {"backbone.depth": 18} | few(width, maps))

    return model


def few(width: int, maps: int) -> dict[str, Any]:
    """Return the edits for few layers and queries behind a ResNet-18."""
    return {
        "neck.in_channels": stages(18, width)[-maps:],
        "num_queries": QUERIES,
        "encoder.num_layers": 1,
        "decoder.num_layers": LAYERS,
    }


def conditional_detr(channels: int) -> Model:
    """Conditional DETR on a narrow backbone."""
    width = channels // 4
    config = "mmdet::conditional_detr/conditional-detr_r50_8xb2-50e_coco.py"
    return Model(config=config, edits=resnet(18, width) | few(width, 1))


def channels_of(kind: str, channels: int) -> int:
    """Return the channels of a model that was asked for so many."""
    return WIDE if kind == "conditional-detr" else channels


QUERY: dict[str, Callable[[int], Model]] = {
    "detr": query_model("detr/detr_r50_8xb2-150e_coco.py", 1),
    "conditional-detr": conditional_detr,
    "dab-detr": query_model("dab_detr/dab-detr_r50_8xb2-50e_coco.py", 1),
    "deformable-detr": query_model("deformable_detr/deformable-detr_r50_16xb2-50e_coco.py", 3),
    "dino": dino,
}

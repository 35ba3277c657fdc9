"""Makes a compression's student from the trained teacher, before its training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from torch import nn

from kdbench.distill import Compression
from kdbench.distill.randomness import seeded
from kdbench.distill.settings import unchanged
from kdbench.errors import UserError, running
from kdbench.openmmlab.checks.preflight import Probe
from kdbench.openmmlab.data.sampling import SeededImages
from kdbench.openmmlab.models.building import parameters_of
from kdbench.openmmlab.training.distiller import Teacher, same_normalisation
from kdbench.plugins import title_of

BATCH = 8
"""Images of a batch that a compression looks at, at most."""
BITS = 32
"""Of a parameter, unless its layer says otherwise."""


def compressed(
    method: Compression[Any], student: Any, teacher: Teacher, batches: Sequence[Probe], seed: int
) -> list[str]:
    """Give a student its first weights from its teacher; gives the lines that the method says of it.

    Args:
        method: Makes it.
        student: Changed in place.
        teacher: Stays as it is.
        batches: Training images.
        seed: Of the run.

    Raises:
        UserError: If the student cannot be made from this teacher.
    """
    source = copy.deepcopy(teacher.model).to(next(student.parameters()).device)
    if not same_normalisation(student.data_preprocessor, source.data_preprocessor):
        raise UserError(
            f"{title_of(type(method))} keeps the teacher's weights, and the student normalises images otherwise: "
            "give both configs the same mean, std and bgr_to_rgb in data_preprocessor."
        )
    looks = [partial(_look, batch) for batch in batches]
    with seeded(seed, "compression"), running(title_of(type(method)), "start()"), unchanged():
        return method.start(student, source, looks)


def batches_of(images: SeededImages, count: int) -> list[Probe]:
    """Return the first images of a training, augmented as it sees them, in small batches."""
    parts = (range(start, min(start + BATCH, count)) for start in range(0, count, BATCH))
    return [Probe(pseudo_collate([images[position] for position in part])) for part in parts]


def _look(batch: Probe, model: nn.Module) -> None:
    """Run a model on a batch, in evaluation mode, up to its losses."""
    inputs, samples = batch.batch(model)
    with torch.no_grad(), seeded(0, "look"):
        model.eval()(inputs, samples, mode="loss")


def stored_bits(model: nn.Module) -> int:
    """Return how many bits a model's parameters take: 32 each, but in layers that say otherwise."""
    layers: list[Any] = [layer for layer in model.modules() if hasattr(layer, "stored_bits")]
    others = parameters_of(model) - sum(map(parameters_of, layers))
    return BITS * others + sum(int(layer.stored_bits()) for layer in layers)

"""How long trained models take for one image: measured in turns, on images that they are judged by."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from mmengine.dataset import pseudo_collate

from kdbench import devices
from kdbench.cards import Dataset
from kdbench.openmmlab.data.loaders import evaluation_pipeline, images_of
from kdbench.specs import Schedule

IMAGES = 10
"""Images that each model is timed on, in each round."""
ROUNDS = 7
"""Rounds that count, after one that warms up."""


class Timed(NamedTuple):
    """A model, and the batches of one image that it is timed on."""

    model: Any
    batches: Sequence[Any]


class Latencies(NamedTuple):
    """What was measured.

    Attributes:
        rounds: Name of a model -> median time of inference of each round, in ms.
        undisturbed: Part of the time in which this process had its core, in [0, 1].
    """

    rounds: dict[str, list[float]]
    undisturbed: float


def timed(model: Any, dataset: Dataset, folder: Path, schedule: Schedule) -> Timed:
    """Return a model with the first images of the test split, at the size that it is judged at.

    Args:
        model: Detector or segmentor of OpenMMLab.
        dataset: Gives the images.
        folder: Where they are.
        schedule: Gives their size.
    """
    images = images_of(dataset, folder, "test", evaluation_pipeline(dataset, schedule))
    images.full_init()
    return Timed(model, [pseudo_collate([images[turn % len(images)]]) for turn in range(IMAGES)])


def in_turns(models: Mapping[str, Timed]) -> Latencies:
    """Time the inference of models at batch 1, image by image in turns: from the loaded image to boxes or masks.

    That is normalisation, the forward pass and what comes after it (such as NMS), in single precision and eval
    mode, on the device that a model is on; reading and resizing the image is not in it.

    Args:
        models: Name -> model; each is left in the mode that it is in.
    """
    rounds: dict[str, list[float]] = {name: [] for name in models}
    with _inference([one.model for one in models.values()]):
        _round(models)
        begun, worked = time.perf_counter(), time.thread_time()
        for _ in range(ROUNDS):
            for name, seconds in _round(models).items():
                rounds[name].append(1000 * seconds)
        worked, passed = time.thread_time() - worked, time.perf_counter() - begun
    return Latencies(rounds, min(1.0, worked / passed))


def _round(models: Mapping[str, Timed]) -> dict[str, float]:
    """Name -> median time over the images, in s."""
    times: dict[str, list[float]] = {name: [] for name in models}
    for image in range(IMAGES):
        for name, one in models.items():
            times[name].append(_seconds(one.model, one.batches[image]))
    return {name: median(found) for name, found in times.items()}


def _seconds(model: Any, batch: Any) -> float:
    device = next(model.parameters()).device
    devices.synchronize(device)
    begun = time.perf_counter()
    model.test_step(batch)
    devices.synchronize(device)
    return time.perf_counter() - begun


@contextmanager
def _inference(models: Sequence[Any]) -> Iterator[None]:
    was = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for model, training in zip(models, was, strict=True):
            model.train(training)

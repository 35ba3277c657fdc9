"""Measures how long trained models take for one image, in turns, on images of their test split."""

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
from kdbench.dataset_cards import Dataset
from kdbench.openmmlab.data.loaders import evaluation_pipeline, images_of
from kdbench.specs import Schedule

IMAGES = 10
"""Number of images that each model is timed on in each round."""
ROUNDS = 7
"""Number of rounds that count, after one to warm up."""


class Timed(NamedTuple):
    """A model with the batches of one image that it is timed on."""

    model: Any
    batches: Sequence[Any]


class Latencies(NamedTuple):
    """Measured latencies.

    Attributes:
        rounds: Name of a model -> median inference time of each round, in ms.
        undisturbed: Share of the time in which this process had its core, in [0, 1].
    """

    rounds: dict[str, list[float]]
    undisturbed: float


def timed(model: Any, dataset: Dataset, folder: Path, schedule: Schedule) -> Timed:
    """Return a model with the first images of the test split, at the size of its evaluation.

    Args:
        model: Detector or segmentor of OpenMMLab.
        dataset: The dataset.
        folder: Folder of its data.
        schedule: Provides the image size.
    """
    images = images_of(dataset, folder, "test", evaluation_pipeline(dataset, schedule))
    images.full_init()
    return Timed(model, [pseudo_collate([images[turn % len(images)]]) for turn in range(IMAGES)])


def in_turns(models: Mapping[str, Timed]) -> Latencies:
    """Time the inference of models at batch size 1, image by image in turns, from loaded image to boxes or masks.

    That includes normalisation, the forward pass and post-processing (such as NMS), in single precision and eval
    mode, on the model's device; reading and resizing the image is excluded.

    Args:
        models: Name -> model; its training or evaluation mode is restored.
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
    """Return each model's median time over the images, in s."""
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

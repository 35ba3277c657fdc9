"""How long a trained model takes for one image: measured where it was trained, on images that it is judged by."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import pseudo_collate

from kdbench import devices
from kdbench.cards import Dataset
from kdbench.openmmlab.data import evaluation_pipeline, images_of
from kdbench.specs import Schedule

WARM_UP = 3
REPEATS = 10
"""Images that are timed."""


def latency_ms(model: Any, dataset: Dataset, folder: Path, schedule: Schedule) -> float:
    """Median time of inference at batch 1, in ms: from the loaded image to the final boxes or masks.

    That is normalisation, the forward pass and what comes after it (such as NMS), in single precision and eval
    mode, on the device that the model is on; reading and resizing the image is not in it. The images are the
    first of the test split, at its size.

    Args:
        model: Detector or segmentor of OpenMMLab; it is left in the mode that it is in.
        dataset: Gives the images.
        folder: Where they are.
        schedule: Gives their size.
    """
    images = images_of(dataset, folder, "test", evaluation_pipeline(dataset, schedule))
    images.full_init()
    batches = [pseudo_collate([images[turn % len(images)]]) for turn in range(WARM_UP + REPEATS)]
    with _inference(model):
        times = [_seconds(model, batch) for batch in batches]
    return 1000 * statistics.median(times[WARM_UP:])


def _seconds(model: Any, batch: Any) -> float:
    device = next(model.parameters()).device
    devices.synchronize(device)
    begun = time.perf_counter()
    model.test_step(batch)
    devices.synchronize(device)
    return time.perf_counter() - begun


@contextmanager
def _inference(model: Any) -> Iterator[None]:
    was = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was)

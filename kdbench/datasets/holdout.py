"""The validation images that options are tuned on: a dataset's own split, else a fifth of its training images.

The test split is never among them. What a study trains (its teacher too) never sees them: see :func:`for_tuning`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from kdbench.dataset_cards import Dataset

SUFFIX = "-tuning"
"""Added to a dataset's name, so that nothing measured here is ever taken for a result on the dataset."""
SHARE = 5
"""One of so many training images is held out where a dataset has no validation split."""


def held_out(names: Iterable[str]) -> frozenset[str]:
    """Hold out a fifth of the images, rounded up: those whose names have the smallest SHA-256.

    That is a choice by name alone: the same on every machine, in whatever order the names are, and spread over a
    list that is sorted by class. Near copies (frames of one film) may fall on both sides, which flatters every
    method alike; such a dataset should have a split ``val`` of its own.
    """
    ordered = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(ordered[: -(-len(ordered) // SHARE)])


def for_tuning(dataset: Dataset) -> Dataset:
    """Return the dataset as a tuning study sees it: another name, and validation images for its ``test``.

    With a split ``val``: trained on ``train`` alone, judged on ``val``. Without: a fifth of each list of ``train``
    is held out (:func:`held_out`) and judged on, the rest is trained on. The teacher of a study is trained on that
    reduced split as well, by the pair's recipe: the leaderboard's teacher may have learned the held-out images by
    heart, and would teach them. The held-out scenes of ``digits`` show handwriting of the same sheet as those that
    are trained on, which its test scenes do not: a metric there is higher than on the test split.
    """
    train = dataset.splits["train"]
    if "val" in dataset.splits:
        splits = {"train": train, "test": dataset.splits["val"]}
    else:
        splits = {
            "train": tuple(replace(part, take="kept") for part in train),
            "test": tuple(replace(part, take="held-out") for part in train),
        }
    return replace(dataset, name=f"{dataset.name}{SUFFIX}", splits=splits)


def described(dataset: Dataset) -> str:
    """Where a dataset's validation images come from, in words."""
    if "val" in dataset.splits:
        return "its split val"
    return f"a fifth of its split train, held out by name (one image in {SHARE})"

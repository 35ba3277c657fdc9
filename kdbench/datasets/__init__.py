"""The datasets that kdbench brings, registered like anybody's."""

from __future__ import annotations

from kdbench.cards import Dataset
from kdbench.datasets import bccd, camvid, digits, voc
from kdbench.hookspecs import hookimpl


@hookimpl
def kdbench_datasets() -> list[Dataset]:
    """All cards."""
    return [digits.detection, digits.segmentation, voc.voc, voc.voc07, bccd.card, camvid.card]

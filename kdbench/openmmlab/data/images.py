"""A kdbench detection dataset as an mmdet dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS

from kdbench.dataset_cards import Dataset
from kdbench.datasets.boxes import Annotation
from kdbench.datasets.formats import format_of, read_boxes
from kdbench.datasets.layout import SplitImage
from kdbench.openmmlab.data.packed import FromCache, Packed
from kdbench.openmmlab.data.sampling import naming_bad_files


@DATASETS.register_module(name="KdbenchBoxImages")
class BoxImages(FromCache, BaseDetDataset):  # type: ignore[misc]
    """Images with boxes whose corner coordinates start at 0.

    Args:
        dataset: The dataset's card.
        items: The images of the split.
        kept: Their cached entries, if there are any.
    """

    def __init__(
        self, *, dataset: Dataset, items: Sequence[SplitImage], kept: Packed | None = None, **kwargs: Any
    ) -> None:
        self.dataset, self.items, self.kept = dataset, items, kept
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one entry for each image; as in mmdet, COCO's images without objects are not trained on."""
        entries = [self._entry(item) for item in self.items]
        if self.test_mode or self.dataset.layout != "coco":
            return entries
        return [entry for entry in entries if entry["instances"]]

    def prepare_data(self, idx: int) -> Any:
        """Put an image through the pipeline. Raises DataError if its file cannot be read."""
        with naming_bad_files(self.get_data_info(idx)["img_path"]):
            return super().prepare_data(idx)

    def _entry(self, item: SplitImage) -> dict[str, Any]:
        found = read_boxes(self.dataset, item.annotation, item.name)
        entry = {
            "img_id": item.name,
            "img_path": str(item.image),
            "instances": _instances(found, self.metainfo["classes"]),
        }
        truth = format_of(self.dataset).truth
        if truth is not None and self.test_mode:
            entry["truth"] = truth(item.annotation, item.name, self.metainfo["classes"])
        return entry


def _instances(found: Annotation, classes: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "bbox": [corner - found.first for corner in one.box],
            "bbox_label": classes.index(one.name) if one.name in classes else 0,
            "ignore_flag": int(one.ignored),
        }
        for one in found.objects
        if not one.skipped and (one.ignored or one.name in classes)
    ]

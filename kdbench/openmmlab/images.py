"""A kdbench dataset as an OpenMMLab dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS as DETECTION_DATASETS

from kdbench.datasets.boxes import Labelled, read_annotation
from kdbench.datasets.layout import Item
from kdbench.openmmlab.sampling import naming_bad_files


@DETECTION_DATASETS.register_module(name="KdbenchVoc")
class VocImages(BaseDetDataset):  # type: ignore[misc]
    """VOC layout. Coordinates are 1-based in the files and 0-based here; difficult boxes are ignored.

    Args:
        items: The images of the split.
    """

    def __init__(self, *, items: Sequence[Item], **kwargs: Any) -> None:
        self.items = items
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry an image."""
        index = {name: i for i, name in enumerate(self.metainfo["classes"])}
        return [_entry(item, index) for item in self.items]

    def prepare_data(self, idx: int) -> Any:
        """Put an image through the pipeline. Raises DataError where its file cannot be read."""
        with naming_bad_files(self.get_data_info(idx)["img_path"]):
            return super().prepare_data(idx)


def _entry(item: Item, index: dict[str, int]) -> dict[str, Any]:
    annotation = read_annotation(item.annotation.read_bytes())
    return {
        "img_id": item.name,
        "img_path": str(item.image),
        "instances": [_instance(entry, index) for entry in annotation.objects if entry.has_area],
    }


def _instance(entry: Labelled, index: dict[str, int]) -> dict[str, Any]:
    return {
        "bbox": [corner - 1 for corner in entry.box],
        "bbox_label": index[entry.name],
        "ignore_flag": int(entry.difficult),
    }

"""A kdbench segmentation dataset as an mmseg dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS as SEGMENTATION_DATASETS

from kdbench.datasets.layout import Item
from kdbench.openmmlab.sampling import naming_bad_files


@SEGMENTATION_DATASETS.register_module(name="KdbenchMaskImages")
class MaskImages(BaseSegDataset):  # type: ignore[misc]
    """Images and indexed masks.

    Args:
        items: The images of the split.
    """

    def __init__(self, *, items: Sequence[Item], **kwargs: Any) -> None:
        self.items = items
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one entry an image."""
        return [
            {
                "img_path": str(item.image),
                "seg_map_path": str(item.annotation),
                "label_map": None,
                "reduce_zero_label": False,
                "seg_fields": [],
            }
            for item in self.items
        ]

    def prepare_data(self, idx: int) -> Any:
        """Put an image and its mask through the pipeline. Raises DataError where a file cannot be read."""
        info = self.get_data_info(idx)
        with naming_bad_files(info["img_path"], info["seg_map_path"]):
            return super().prepare_data(idx)

"""A kdbench segmentation dataset as an mmseg dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmcv.transforms import BaseTransform
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from kdbench.dataset_cards import Dataset
from kdbench.datasets.layout import SplitImage
from kdbench.datasets.masks import read_indices
from kdbench.openmmlab.data.packed import FromCache, Packed
from kdbench.openmmlab.data.sampling import DataError, naming_bad_files


@TRANSFORMS.register_module(name="KdbenchLoadMask")
class LoadMask(BaseTransform):  # type: ignore[misc]
    """Loads an image's mask as class indices.

    Args:
        dataset: The dataset's card.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``gt_seg_map``, of shape (height, width). Raises DataError if the mask cannot be used."""
        path = Path(results["seg_map_path"])
        try:
            results["gt_seg_map"] = read_indices(path, self.dataset)
        except ValueError as reason:
            raise DataError(f"{path}: {reason}. `kdbench data verify` finds all such files.") from reason
        results["seg_fields"].append("gt_seg_map")
        return results


@DATASETS.register_module(name="KdbenchMaskImages")
class MaskImages(FromCache, BaseSegDataset):  # type: ignore[misc]
    """Images and masks.

    Args:
        items: The images of the split.
        kept: Their cached entries, if there are any.
    """

    def __init__(self, *, items: Sequence[SplitImage], kept: Packed | None = None, **kwargs: Any) -> None:
        self.items, self.kept = items, kept
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one entry for each image."""
        return [
            {
                "img_path": str(item.image),
                "seg_map_path": str(item.annotation),
                "seg_fields": [],
            }
            for item in self.items
        ]

    def prepare_data(self, idx: int) -> Any:
        """Put an image and its mask through the pipeline. Raises DataError if a file cannot be read."""
        info = self.get_data_info(idx)
        with naming_bad_files(info["img_path"], info["seg_map_path"]):
            return super().prepare_data(idx)

"""A kdbench segmentation dataset as an mmseg dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS as SEGMENTATION_DATASETS

from kdbench.openmmlab.sampling import naming_bad_files


@SEGMENTATION_DATASETS.register_module(name="KdbenchMaskFolders")
class MaskImages(BaseSegDataset):  # type: ignore[misc]
    """Images and indexed masks of the same stem.

    Args:
        parts: For each part of the split: its image names' stems, image folder, mask folder.
        suffix: Ending of the image files.
        mask_suffix: Ending of the mask files.
    """

    def __init__(
        self, *, parts: list[tuple[list[str], str, str]], suffix: str, mask_suffix: str, **kwargs: Any
    ) -> None:
        self.parts = parts
        super().__init__(img_suffix=suffix, seg_map_suffix=mask_suffix, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry an image."""
        return [
            {
                "img_path": str(Path(images) / f"{stem}{self.img_suffix}"),
                "seg_map_path": str(Path(masks) / f"{stem}{self.seg_map_suffix}"),
                "label_map": None,
                "reduce_zero_label": False,
                "seg_fields": [],
            }
            for stems, images, masks in self.parts
            for stem in stems
        ]

    def prepare_data(self, idx: int) -> Any:
        """Put an image and its mask through the pipeline. Raises DataError where a file cannot be read."""
        info = self.get_data_info(idx)
        with naming_bad_files(info["img_path"], info["seg_map_path"]):
            return super().prepare_data(idx)

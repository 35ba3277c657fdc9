"""A kdbench dataset as an OpenMMLab dataset."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from mmdet.datasets import BaseDetDataset
from mmdet.registry import DATASETS as DETECTION_DATASETS

from kdbench.openmmlab.sampling import naming_bad_files


@DETECTION_DATASETS.register_module(name="KdbenchVoc")
class VocImages(BaseDetDataset):  # type: ignore[misc]
    """VOC layout. Coordinates are 1-based in the files and 0-based here; difficult boxes are ignored.

    Args:
        parts: For each part of the split: its image names' stems, image folder, annotation folder.
        suffix: Ending of the image files.
    """

    def __init__(self, *, parts: list[tuple[list[str], str, str]], suffix: str, **kwargs: Any) -> None:
        self.parts, self.suffix = parts, suffix
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """One entry an image."""
        index = {name: i for i, name in enumerate(self.metainfo["classes"])}
        return [
            self._entry(stem, Path(images), Path(annotations), index)
            for stems, images, annotations in self.parts
            for stem in stems
        ]

    def prepare_data(self, idx: int) -> Any:
        """Put an image through the pipeline. Raises DataError where its file cannot be read."""
        with naming_bad_files(self.get_data_info(idx)["img_path"]):
            return super().prepare_data(idx)

    def _entry(self, stem: str, images: Path, annotations: Path, index: dict[str, int]) -> dict[str, Any]:
        root = ElementTree.parse(annotations / f"{stem}.xml").getroot()
        return {
            "img_id": stem,
            "img_path": str(images / f"{stem}{self.suffix}"),
            "instances": [_instance(node, index) for node in root.iter("object") if _has_area(node)],
        }


def _corners(node: ElementTree.Element) -> list[float]:
    return [float(node.findtext(f"bndbox/{key}", "nan")) - 1 for key in ("xmin", "ymin", "xmax", "ymax")]


def _has_area(node: ElementTree.Element) -> bool:
    left, top, right, bottom = _corners(node)
    return right > left and bottom > top


def _instance(node: ElementTree.Element, index: dict[str, int]) -> dict[str, Any]:
    return {
        "bbox": _corners(node),
        "bbox_label": index[node.findtext("name", "").strip()],
        "ignore_flag": int(node.findtext("difficult", "0") or 0),
    }

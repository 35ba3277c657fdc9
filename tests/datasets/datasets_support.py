"""What the tests of datasets are made from."""

from __future__ import annotations

from pathlib import Path

import lacking
import numpy as np
from PIL import Image

from kdbench.dataset_cards import Dataset, Split

SIZE = (20, 16)
"""Width and height of the images."""


def annotation(*objects: tuple[str, tuple[float, ...]], size: tuple[int, int] = SIZE) -> str:
    """A VOC annotation."""
    keys = ("xmin", "ymin", "xmax", "ymax")
    text = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, box, strict=True))
        + "</bndbox></object>"
        for name, box in objects
    )
    return f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{text}</annotation>"


def card(task: str, **changes: object) -> Dataset:
    """The card of a small dataset: ``boxes`` or ``masks``."""
    boxes = task == "detection"
    fields: dict[str, object] = {
        "name": "boxes" if boxes else "masks",
        "title": "A small dataset",
        "task": task,
        "classes": ("cat", "dog"),
        "metric": "AP50" if boxes else "mIoU",
        "splits": {name: (Split(f"{name}.txt", "images", "labels"),) for name in ("train", "test")},
        "image_suffix": ".png",
        "prepare": "nowhere:prepare",
        "folder": "small",
        "license": "none",
        "link": "https://example.org",
        "citation": "nobody",
    }
    return Dataset(**(fields | changes))  # type: ignore[arg-type]


def write_images(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for split, names in (("train", ("a", "b", "c")), ("test", ("d", "e"))):
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            pixels = rng.integers(0, 256, size=(SIZE[1], SIZE[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{name}.png")


def published(folder: Path) -> Path:
    """Return a folder of the data to test with, or skip the test."""
    if not folder.is_dir():
        lacking.skip("data", f"no {folder.name} in the folder that KDBENCH_TEST_DATA names")
    return folder

"""Identity of a dataset's content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from kdbench.cards import Dataset
from kdbench.datasets.layout import Item, annotation_suffix, items
from kdbench.errors import UserError


def fingerprint(dataset: Dataset, folder: Path) -> str:
    """SHA-256 (hex) over the names of each split, the annotations, and the images' names and sizes in bytes.

    It does not depend on where the folder is. Of an embedded dataset the pixels count and not the bytes, as
    PNG files of the same pixels differ between versions of zlib.

    Raises:
        UserError: When a file is missing or unreadable.
    """
    digest = hashlib.sha256()
    for split in sorted(dataset.splits):
        for item in items(dataset, split, folder):
            image, annotation = _content(dataset, item)
            digest.update(f"{split}/{item.name}/{len(image)}/{len(annotation)}\n".encode())
            digest.update(image)
            digest.update(annotation)
    return digest.hexdigest()


def _content(dataset: Dataset, item: Item) -> tuple[bytes, bytes]:
    try:
        if not dataset.embedded:
            return str(item.image.stat().st_size).encode(), item.annotation.read_bytes()
        image, annotation = _pixels(item.image), item.annotation
        return image, annotation.read_bytes() if annotation_suffix(dataset) == ".xml" else _pixels(annotation)
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or item.image}: {error.strerror or error}. "
            f"Run `kdbench data verify {dataset.name}`."
        ) from error


def _pixels(path: Path) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        raw: bytes = image.tobytes()
        return f"{image.mode} {image.size}".encode() + raw

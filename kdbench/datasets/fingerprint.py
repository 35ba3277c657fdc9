"""Identity of a dataset: of its card and its content."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path

from kdbench.dataset_cards import TASK_FORMATS, Dataset
from kdbench.datasets.hashed import HashIndex
from kdbench.datasets.layout import beside, items
from kdbench.errors import UserError
from kdbench.specs import digest, file_digest

WORDS = ("name", "title", "prepare", "folder", "license", "link", "citation", "embedded", "images")
"""Fields of a card that change no number."""


def fingerprint(dataset: Dataset, folder: Path, *, rehash: bool = False) -> str:
    """Return the SHA-256 (hex) of a dataset's card, and of the names, images and annotations of each split.

    So are ILSVRC's table of classes and WIDER FACE's subsets, which annotations are read with or judged by. It does
    not depend on where the folder is. Of an embedded dataset the pixels count and not the bytes, as PNG files of
    the same pixels differ between versions of zlib.

    Args:
        dataset: The card.
        folder: Where its files are.
        rehash: Read every file, also those that an index has with the same size and times.

    Raises:
        UserError: When a file is missing or unreadable.
    """
    index = HashIndex(folder, rehash=rehash)
    pixels = dataset.embedded
    of_annotation = _pixels if pixels and dataset.layout == "masks" else file_digest
    try:
        content = {
            split: [
                (
                    item.name,
                    index.hash_of(item.image, _pixels if pixels else file_digest),
                    index.hash_of(item.annotation, of_annotation),
                )
                for item in items(dataset, split, folder)
            ]
            for split in dataset.splits
        }
        others = {
            split: [(file.name, index.hash_of(file, file_digest)) for file in beside(dataset, split, folder)]
            for split in dataset.splits
        }
    except OSError as error:
        raise UserError(
            f"cannot read {error.filename or folder}: {error.strerror or error}. "
            f"Run `kdbench data verify {dataset.name}`."
        ) from error
    index.save()
    card = {name: value for name, value in asdict(dataset).items() if name not in WORDS}
    if dataset.layout == TASK_FORMATS[dataset.task][0]:
        del card["format"]  # fingerprints are older than this field and the next
    if not dataset.mask_values:
        del card["mask_values"]
    more = {"beside": others} if any(others.values()) else {}
    return digest({"card": card, "content": content, **more})


def _pixels(path: Path) -> str:
    """SHA-256 (hex) of an image's mode, size and pixels."""
    from PIL import Image

    with Image.open(path) as image:
        return digest([image.mode, image.size, hashlib.sha256(image.tobytes()).hexdigest()])

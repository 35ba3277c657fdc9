"""Read masks: the values of their pixels, and the class that each value stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from kdbench.dataset_cards import Dataset
from kdbench.datasets.pictures import Size, decode, opened, orientation

NUMBERED = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
"""Pillow's modes in which a pixel is a number: up to 16 bits of grey, or an index into a palette."""
COLOURED = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Pillow's modes in which a pixel has an 8-bit colour."""
MOST_COLOURS = 1000
"""A mask with more was saved with losses, which blend the colours of neighbouring classes."""

Values = npt.NDArray[np.uint8] | npt.NDArray[np.int32]


def by_colour(dataset: Dataset) -> bool:
    """Return whether the dataset's masks have colours for classes."""
    return any(isinstance(value, str) for value in dataset.mask_values)


def classes_of_values(dataset: Dataset) -> dict[int, int]:
    """Return value of a pixel -> index of its class, or ``ignore_index`` where it is not judged.

    A colour's value is the number that its six hexadecimal digits are.
    """
    ignored = dataset.ignore_index
    if not dataset.mask_values:
        return {index: index for index in range(len(dataset.classes))} | {ignored: ignored}
    table = {
        int(value[1:], 16) if isinstance(value, str) else value: (
            ignored if name is None else dataset.classes.index(name)
        )
        for value, name in dataset.mask_values.items()
    }
    return table if by_colour(dataset) else {ignored: ignored} | table


def named(value: int, dataset: Dataset) -> str:
    """Return a value as users write it: a number or a colour."""
    return f"#{value:06x}" if by_colour(dataset) else str(value)


def read_indices(path: Path, dataset: Dataset) -> npt.NDArray[np.uint8]:
    """Read a mask as class indices of shape (height, width), with ``ignore_index`` where nothing is judged.

    Raises:
        ValueError: In words, where the file cannot be read or has a value that stands for nothing.
    """
    values = read_values(path, coloured=by_colour(dataset))
    table = _table(tuple(classes_of_values(dataset).items()), 24 if by_colour(dataset) else 16)
    found = table[values if values.dtype == np.uint8 else np.clip(values, -1, len(table) - 1)]
    if found.min() < 0:
        value = int(values[found < 0][0])
        raise ValueError(f"has the value {named(value, dataset)}, which is no class")
    indices: npt.NDArray[np.uint8] = found.astype(np.uint8)
    return indices


@lru_cache(maxsize=4)
def _table(pairs: tuple[tuple[int, int], ...], bits: int) -> npt.NDArray[np.int16]:
    """Return an array of the class indices of all values of so many bits; -1 for others and at its end."""
    table = np.full((1 << bits) + 1, -1, np.int16)
    for value, index in pairs:
        table[value] = index
    return table


def read_values(path: Path, *, coloured: bool) -> Values:
    """Read the value of each pixel of a mask, of shape (height, width).

    Args:
        path: The mask.
        coloured: Whether to read the pixels' colours (red * 65536 + green * 256 + blue), or their numbers.

    Raises:
        ValueError: In words, where the file cannot be read or is no mask.
    """
    with opened(path) as image:
        _check(image, coloured)
        decode(image)
        if not coloured:
            numbers = np.asarray(image)
            return numbers.astype(np.uint8) if numbers.itemsize == 1 else numbers.astype(np.int32)
        colours = np.asarray(image.convert("RGB"), np.int32)
        found: Values = colours @ np.array([1 << 16, 1 << 8, 1], np.int32)
        return found


def mask_size(path: Path, *, coloured: bool) -> Size:
    """Return the width and height that a mask's header states; raises as :func:`read_values`."""
    with opened(path) as image:
        _check(image, coloured)
        width, height = image.size
        return width, height


def _check(image: Image.Image, coloured: bool) -> None:
    """Raise ValueError for an image that is no mask."""
    if orientation(image) != 1:
        raise ValueError(
            f"its EXIF orientation {orientation(image)} is not applied to masks: save it turned, without it"
        )
    if image.mode in (COLOURED if coloured else NUMBERED):
        return
    if coloured:
        raise ValueError(f"is not a mask of 8-bit colours: its pixels are {image.mode}")
    hint = ": give the classes of its colours as mask_values" if image.mode in COLOURED else ""
    raise ValueError(f"is not a mask: its pixels are {image.mode}, not one class number{hint}")


def numbers_as_text(path: Path) -> str:
    """Return the width and height of a mask and its number of pixels of each number, as JSON."""
    return _as_text(read_values(path, coloured=False))


def colours_as_text(path: Path) -> str:
    """Return the width and height of a mask and its number of pixels of each colour, as JSON."""
    return _as_text(read_values(path, coloured=True))


def _as_text(found: Values) -> str:
    values, counts = np.unique(found.astype(np.int32), return_counts=True)  # slower of 8 bits
    if len(values) > MOST_COLOURS:
        raise ValueError(
            f"has {len(values)} different values: a mask has one for each class (was it a JPEG?)"
        )
    pixels = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return json.dumps([found.shape[1], found.shape[0], pixels])


def counts_of(text: str) -> tuple[Size, Mapping[int, int]]:
    """Return the size, and value -> number of pixels, of what :func:`numbers_as_text` gave."""
    width, height, pixels = json.loads(text)
    return (width, height), {int(value): count for value, count in pixels.items()}

"""Opens images and masks, whole or only their headers, and says in words what is wrong with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

Size = tuple[int, int]
MASK_MODES = ("1", "L", "P")
"""Pillow's modes in which a pixel is an index."""

TURNED = ("JPEG", "PNG")
"""Formats that OpenCV turns by their EXIF orientation."""
SIDEWAYS = range(5, 9)
"""EXIF orientations that swap width and height."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


@dataclass(frozen=True)
class Picture:
    """An image as it is shown, which is how OpenCV loads it.

    Attributes:
        size: Width and height.
        turned: Whether its EXIF orientation turns or mirrors what is stored.
    """

    size: Size
    turned: bool


def image_size(path: Path, pixels: bool) -> Size:
    """Width and height of an image as it is shown. Arguments and errors are those of :func:`read_picture`."""
    return read_picture(path, pixels).size


def read_picture(path: Path, pixels: bool) -> Picture:
    """Size and orientation of an image.

    Args:
        path: Image file.
        pixels: Decode all of it (finds files that are cut short); else read the header only.

    Raises:
        ValueError: In words, where the file cannot be read.
    """
    with _opened(path) as image:
        if pixels:
            _load(image)
        width, height = image.size
        found = orientation(image)
        return Picture((height, width) if found in SIDEWAYS else (width, height), found != 1)


def orientation(image: Image.Image) -> int:
    """EXIF orientation of an opened JPEG or PNG, 1 to 8; 1 of other formats, which OpenCV does not turn.

    A TIFF is turned by Pillow itself.
    """
    if image.format not in TURNED or "exif" not in image.info:
        return 1
    exif = Image.Exif()
    try:
        exif.load(image.info["exif"])
        found = exif.get(ExifTags.Base.Orientation, 1)
    except UNREADABLE:
        return 1
    return found if found in range(1, 9) else 1


def read_mask(path: Path, pixels: bool) -> tuple[Size, dict[int, int] | None]:
    """Width and height of a mask, and each value that it has -> number of pixels (None unless ``pixels``).

    Raises:
        ValueError: In words, where the file cannot be read or has no single channel of at most 8 bits.
    """
    with _opened(path) as image:
        if orientation(image) != 1:
            raise ValueError(
                f"its EXIF orientation {orientation(image)} is not applied to masks: save it turned, without it"
            )
        if image.mode not in MASK_MODES:
            raise ValueError(f"is not a mask: its pixels are {image.mode}, not one 8-bit class number")
        if not pixels:
            return image.size, None
        _load(image)
        values, counts = np.unique(np.asarray(image).astype(np.uint8), return_counts=True)
        return image.size, dict(zip(values.tolist(), counts.tolist(), strict=True))


def mask_as_text(path: Path) -> str:
    """Format what :func:`read_mask` gives as JSON: width, height, and value -> pixels."""
    (width, height), values = read_mask(path, pixels=True)
    return json.dumps([width, height, values])


def mask_from_text(text: str) -> tuple[Size, dict[int, int]]:
    """Parse what :func:`mask_as_text` wrote."""
    width, height, values = json.loads(text)
    return (width, height), {int(value): count for value, count in values.items()}


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except UNREADABLE as error:
        raise ValueError(_words(error)) from error


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except UNREADABLE as error:
        raise ValueError(_words(error)) from error


def _words(error: BaseException) -> str:
    text = "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    return f"unreadable ({text or type(error).__name__})"

"""Opens images and masks, whole or only their headers, and says in words what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

Size = tuple[int, int]
MASK_MODES = ("L", "P")
"""Pillow's modes in which a pixel is an index."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


def image_size(path: Path, pixels: bool) -> Size:
    """Width and height of an image.

    Args:
        path: Image file.
        pixels: Decode all of it (finds files that are cut short); else read the header only.

    Raises:
        ValueError: In words, where the file cannot be read.
    """
    with _opened(path) as image:
        if pixels:
            _load(image)
        size: Size = image.size
    return size


def read_mask(path: Path, pixels: bool) -> tuple[Size, npt.NDArray[np.int64] | None]:
    """Width and height of a mask, and how many pixels have each value (length 256) where ``pixels``.

    Raises:
        ValueError: In words, where the file cannot be read or has no single 8-bit channel.
    """
    with _opened(path) as image:
        if image.mode not in MASK_MODES:
            raise ValueError(f"no mask: its pixels are {image.mode}, not one 8-bit index")
        if not pixels:
            return image.size, None
        _load(image)
        return image.size, np.bincount(np.asarray(image).ravel().astype(np.uint8), minlength=256)


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

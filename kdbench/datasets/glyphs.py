"""Real handwritten digits as soft ink maps: enlarged, turned and sheared, with the same bits everywhere.

Only integer resampling (Pillow's fixed-point bicubic on 8-bit images) and element-wise numpy arithmetic are
used, so the pixels depend neither on a maths library nor on the order of a sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]

SHEET = 1287
"""First sample of the test block. scikit-learn's file goes sheet by sheet: the same 128 or so digits to copy,
written out 14 times by 13 writers, and sample 1287 is where the eleventh sheet starts. Ten sheets are for
training, four for testing, and no sheet is in both."""

PADDING = 2
FINE = 4
"""Enlargement of the stored 8 x 8 digits before they are turned and scaled."""


@dataclass(frozen=True)
class Glyph:
    """A digit: its class 0 to 9 and its ink, 0 to 255, of shape (48, 48), the digit in the middle 32 rows."""

    digit: int
    ink: Bytes


@lru_cache(maxsize=1)
def glyphs() -> tuple[Glyph, ...]:
    """All 1797 digits of scikit-learn's file, in its order."""
    from sklearn.datasets import load_digits

    data: Any = load_digits()
    return tuple(
        Glyph(int(digit), _enlarged(image.astype(np.uint8)))
        for image, digit in zip(data.images, data.target, strict=True)
    )


def block(split: str) -> tuple[Glyph, ...]:
    """Return the digits of ``train`` or ``test``: disjoint sheets of handwriting."""
    return glyphs()[:SHEET] if split == "train" else glyphs()[SHEET:]


def _enlarged(image: Bytes) -> Bytes:
    padded = np.pad(np.minimum(image.astype(np.int64) * 16, 255).astype(np.uint8), PADDING)
    size = (8 + 2 * PADDING) * FINE
    return np.asarray(Image.fromarray(padded).resize((size, size), Image.Resampling.BICUBIC))


def warped(ink: Bytes, height: int, aspect: float, angle: float, shear: float) -> Floats:
    """Warp the ink of a digit, ``height`` pixels high before it is turned, into a frame that just holds it.

    Args:
        ink: Ink of shape (48, 48), 0 to 255.
        height: Height of the upright digit in pixels.
        aspect: Width relative to the stored proportions.
        angle: Degrees, anticlockwise.
        shear: Columns gained for each row, as in slanted writing.

    Returns:
        Ink from 0 to 1, cut to the rows and columns that have some.
    """
    side = 2 * height
    turn = math.radians(angle)
    cosine, sine = round(math.cos(turn), 6), round(math.sin(turn), 6)
    step = 8 * FINE / height
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float64) - (side - 1) / 2
    turned_x = columns * cosine - rows * sine
    turned_y = columns * sine + rows * cosine
    centre = (ink.shape[0] - 1) / 2
    x = (turned_x + turned_y * shear) * (step / aspect) + centre
    y = turned_y * step + centre
    return trimmed(_bilinear(ink, x, y) / 255.0)


def _bilinear(image: Bytes, x: Floats, y: Floats) -> Floats:
    """Values of ``image`` at fractional positions; 0 outside."""
    padded = np.pad(image, 1).astype(np.float64)
    x = np.clip(x + 1, 0, padded.shape[1] - 1.001)
    y = np.clip(y + 1, 0, padded.shape[0] - 1.001)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, down = x - left, y - top
    upper = padded[top, left] * (1 - right) + padded[top, left + 1] * right
    lower = padded[top + 1, left] * (1 - right) + padded[top + 1, left + 1] * right
    mixed: Floats = upper * (1 - down) + lower * down
    return mixed


def trimmed(ink: Floats, threshold: float = 0.02) -> Floats:
    """``ink`` without the empty rows and columns around it."""
    rows, columns = (np.flatnonzero((ink > threshold).any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return ink[:0, :0]
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]

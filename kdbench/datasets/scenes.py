"""Draws the scenes of ``digits``: 2 to 5 real digits on a textured, cluttered background.

Everything random comes from PCG64, seeded by (seed, split, number of the scene): a scene does not depend on
others, and the same seed gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdbench.datasets.backdrop import SIDE, Floats, backdrop, near, painted
from kdbench.datasets.glyphs import Bytes, Glyph, block, trimmed, warped

SPLITS = ("train", "test")
INK = 0.4
"""Ink from here on counts as the digit, in masks and boxes."""
VISIBLE = 0.85
"""Least share of a digit's ink that later digits leave uncovered."""
CROWDED = 0.25
"""Largest share of the smaller of two boxes that may lie in the other, when the second digit is laid."""
HEIGHTS = (14, 40)
TRIES = 40
NEIGHBOURS = np.clip(np.arange(SIDE) + np.array([[-1], [1]]), 0, SIDE - 1)

Box = tuple[int, int, int, int]
Owners = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Scene:
    """One scene.

    Attributes:
        image: RGB of shape (96, 96, 3).
        mask: Class of each pixel, shape (96, 96): 0 background, digit + 1. A digit's region is its ink and what
            lies between its ink both along the row and along the column: strokes alone are thinner than the
            stride of a segmentation network.
        digits: Digit and box of each object; a box is the first and last column and row with visible ink
            (left, top, right, bottom), counted from 0.
    """

    image: Bytes
    mask: Bytes
    digits: tuple[tuple[int, Box], ...]


def scene(split: str, number: int, seed: int) -> Scene:
    """Scene ``number`` of a split (``train`` or ``test``)."""
    rng = np.random.Generator(np.random.PCG64([seed, SPLITS.index(split), number]))
    supply = block(split)
    canvas = backdrop(rng)
    for _ in range(rng.integers(0, 3)):
        canvas = _with_fragment(rng, canvas, supply)
    owners = np.full((SIDE, SIDE), -1, dtype=np.int64)
    shown: list[int] = []
    for _ in range(rng.integers(2, 6)):
        canvas = _with_digit(rng, canvas, owners, shown, supply)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for covered in (_region, _ink):
        for index, digit in enumerate(shown):
            mask[covered(owners == index)] = digit + 1
    found = tuple((digit, _box(owners == index)) for index, digit in enumerate(shown))
    return Scene(_finished(rng, canvas), mask, found)


def _with_digit(
    rng: np.random.Generator, canvas: Floats, owners: Owners, shown: list[int], supply: tuple[Glyph, ...]
) -> Floats:
    """Lay a digit where it hides little of the earlier ones; ``owners`` and ``shown`` learn of it."""
    glyph = supply[rng.integers(len(supply))]
    ink = _written(rng, glyph)
    earlier = [owners == index for index in range(len(shown))]
    for _ in range(TRIES):
        alpha = _placed(rng, ink)
        if all(_apart(alpha >= INK, other) for other in earlier):
            owners[alpha >= INK] = len(shown)
            shown.append(glyph.digit)
            return painted(canvas, alpha, _contrast(rng, canvas, alpha), rng.uniform(0.8, 1.0))
    return canvas


def _apart(ink: Pixels, other: Pixels) -> bool:
    """Whether ``ink`` may be laid over ``other``; up to four digits share what may be hidden of one."""
    if (ink & other).sum() > (1 - VISIBLE) / 4 * other.sum():
        return False
    (left, top, right, bottom), (x1, y1, x2, y2) = _box(ink), _box(other)
    wide = min(right, x2) - max(left, x1) + 1
    high = min(bottom, y2) - max(top, y1) + 1
    smaller = min((right - left + 1) * (bottom - top + 1), (x2 - x1 + 1) * (y2 - y1 + 1))
    return max(wide, 0) * max(high, 0) <= CROWDED * smaller


def _with_fragment(rng: np.random.Generator, canvas: Floats, supply: tuple[Glyph, ...]) -> Floats:
    """Lay a piece of a digit that is no object; never of a 1, whose pieces look like a 1."""
    curved = [glyph for glyph in supply if glyph.digit != 1]
    ink = _written(rng, curved[rng.integers(len(curved))])
    height, width = ink.shape
    keep = rng.uniform(0.25, 0.42)
    cut = (
        ink[: int(height * keep)],
        ink[height - int(height * keep) :],
        ink[:, : int(width * keep)],
        ink[:, width - int(width * keep) :],
    )[rng.integers(4)]
    piece = trimmed(cut)
    if not piece.size:
        return canvas
    alpha = _placed(rng, piece)
    return painted(canvas, alpha, _contrast(rng, canvas, alpha), rng.uniform(0.5, 1.0))


def _written(rng: np.random.Generator, glyph: Glyph) -> Floats:
    return warped(
        glyph.ink,
        height=int(rng.integers(HEIGHTS[0], HEIGHTS[1] + 1)),
        aspect=rng.uniform(0.8, 1.25),
        angle=rng.uniform(-18, 18),
        shear=rng.uniform(-0.25, 0.25),
    )


def _placed(rng: np.random.Generator, ink: Floats) -> Floats:
    """``ink`` somewhere on an empty canvas, wholly inside."""
    height, width = ink.shape
    top, left = rng.integers(SIDE - height + 1), rng.integers(SIDE - width + 1)
    alpha = np.zeros((SIDE, SIDE))
    alpha[top : top + height, left : left + width] = ink
    return alpha


def _contrast(rng: np.random.Generator, canvas: Floats, alpha: Floats) -> Floats:
    """Choose a colour 60 to 140 levels lighter or darker than what lies under the ink, where there is room."""
    inked = canvas[alpha >= INK]
    under = np.rint(np.median(inked, axis=0)) if len(inked) else np.full(3, 128.0)
    lighter = rng.random() < 0.5
    room = 255 - under.max() if lighter else under.min()
    lighter = lighter if room >= 60 else not lighter
    shift = rng.integers(60, 141)
    return near(rng, under + (shift if lighter else -shift), 12)


def _finished(rng: np.random.Generator, canvas: Floats) -> Bytes:
    """Return the canvas as bytes, after a mild blur and a camera's grain."""
    weight = rng.uniform(0.0, 0.22)
    for axis in (0, 1):
        before, after = (np.take(canvas, NEIGHBOURS[side], axis) for side in (0, 1))
        canvas = canvas * (1 - 2 * weight) + (before + after) * weight
    grain = int(rng.integers(1, 11))
    noise = rng.integers(-grain, grain + 1, size=(2, *canvas.shape))
    pixels: Bytes = np.clip(np.rint(canvas + noise[0] + noise[1]), 0, 255).astype(np.uint8)
    return pixels


def _ink(ink: Pixels) -> Pixels:
    return ink


def _region(ink: Pixels) -> Pixels:
    """``ink`` and the pixels between ink in both directions."""
    between = np.ones_like(ink)
    for axis in (0, 1):
        before = np.logical_or.accumulate(ink, axis)
        after = np.flip(np.logical_or.accumulate(np.flip(ink, axis), axis), axis)
        between &= before & after
    return between


def _box(ink: Pixels) -> Box:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])

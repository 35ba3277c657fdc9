"""What lies behind the digits of a scene: smooth noise, a gradient, strokes and blobs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Floats = npt.NDArray[np.float64]

SIDE = 96
"""Width and height of a scene in pixels."""


def backdrop(rng: np.random.Generator) -> Floats:
    """Draw a textured, cluttered canvas of shape (96, 96, 3), about 0 to 255."""
    base = (rng.integers(40, 216) + rng.integers(-30, 31, size=3)).astype(np.float64)
    canvas = np.zeros((SIDE, SIDE, 3)) + base
    canvas = canvas + _gradient(rng)
    for cells, strength in ((3, 40), (8, 24), (24, 14)):
        canvas = canvas + _noise(rng, cells) * float(rng.integers(strength // 3, strength + 1))
    for _ in range(rng.integers(2, 6)):
        canvas = painted(canvas, _stroke(rng), near(rng, base, 75), rng.uniform(0.35, 0.9))
    for _ in range(rng.integers(1, 4)):
        canvas = painted(canvas, _blob(rng), near(rng, base, 55), rng.uniform(0.2, 0.7))
    return np.clip(canvas, 0, 255)


def painted(canvas: Floats, alpha: Floats, colour: Floats, opacity: float) -> Floats:
    """``canvas`` with a colour laid on where ``alpha`` (0 to 1, same height and width) says."""
    cover = (alpha * opacity)[..., None]
    mixed: Floats = canvas * (1 - cover) + colour * cover
    return mixed


def near(rng: np.random.Generator, base: Floats, spread: int) -> Floats:
    """Draw a colour around ``base``: a common shift and a smaller one for each channel."""
    shift = rng.integers(-spread, spread + 1) + rng.integers(-spread // 2, spread // 2 + 1, size=3)
    colour: Floats = np.clip(base + shift, 0, 255).astype(np.float64)
    return colour


def _gradient(rng: np.random.Generator) -> Floats:
    ramp = np.arange(SIDE) / (SIDE - 1) - 0.5
    down, right = rng.integers(-35, 36, size=3), rng.integers(-35, 36, size=3)
    slope: Floats = ramp[:, None, None] * down + ramp[None, :, None] * right
    return slope


def _noise(rng: np.random.Generator, cells: int) -> Floats:
    """Smooth noise from -1 to 1, mostly of one hue: a coarse lattice enlarged with 8-bit arithmetic."""
    grey = rng.integers(0, 256, size=(cells, cells, 1))
    hue = rng.integers(-40, 41, size=(cells, cells, 3))
    lattice = np.clip(grey + hue, 0, 255).astype(np.uint8)
    grown = Image.fromarray(lattice).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    smooth: Floats = np.asarray(grown).astype(np.float64) / 127.5 - 1
    return smooth


def _stroke(rng: np.random.Generator) -> Floats:
    """Draw a line or an arc as thick as the pen of a digit."""
    image = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(image)
    width = int(rng.integers(1, 6))
    x, y = (int(value) for value in rng.integers(-8, SIDE + 8, size=2))
    if rng.random() < 0.5:
        dx, dy = (int(value) for value in rng.integers(-40, 41, size=2))
        draw.line((x, y, x + dx, y + dy), fill=255, width=width)
    else:
        w, h = (int(value) for value in rng.integers(8, 40, size=2))
        start = int(rng.integers(0, 360))
        draw.arc((x, y, x + w, y + h), start, start + int(rng.integers(60, 240)), fill=255, width=width)
    return _soft(image)


def _blob(rng: np.random.Generator) -> Floats:
    image = Image.new("L", (SIDE, SIDE))
    x, y = (int(value) for value in rng.integers(-10, SIDE, size=2))
    w, h = (int(value) for value in rng.integers(5, 36, size=2))
    ImageDraw.Draw(image).ellipse((x, y, x + w, y + h), fill=255)
    return _soft(image)


def _soft(image: Image.Image) -> Floats:
    """Soften the edges by one pixel: shrink and enlarge the picture in 8-bit arithmetic."""
    small = image.resize((SIDE // 2, SIDE // 2), Image.Resampling.BOX)
    alpha: Floats = np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255.0
    return alpha

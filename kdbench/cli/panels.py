"""Draws what a method attends to in an image: a panel a map, side by side."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from kdbench.openmmlab.attention import AttendedImage

Bytes = npt.NDArray[np.uint8]

WIDTH = 420
"""Least width of a panel, in pixels."""
MARGIN = 14
HEADING = 26
"""Height of a line of text with its space."""
COLOUR = (0, 130, 255)
"""Colour of the attended region."""
OPACITY = 0.55
"""Opacity of the colour where the weight is 1."""
LINES = ((0, 0, 0), (255, 255, 255))
"""A box's outline: outer and inner line."""


def draw(seen: AttendedImage, title: str) -> Image.Image:
    """Draw the picture.

    Args:
        seen: The image and the maps.
        title: Line above the panels.
    """
    panels = [(caption(name, weights), panel(seen, weights)) for name, weights in seen.maps.items()]
    large, small = ImageFont.load_default(15), ImageFont.load_default(13)
    column = max(max(picture.width, ceil(small.getlength(text))) for text, picture in panels) + MARGIN
    width = max(len(panels) * column, ceil(large.getlength(title)) + MARGIN)
    top = MARGIN + 2 * HEADING
    sheet = Image.new("RGB", (MARGIN + width, top + panels[0][1].height + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN), title, fill="black", font=large)
    for number, (text, picture) in enumerate(panels):
        left = MARGIN + number * column
        pen.text((left, MARGIN + HEADING), text, fill="black", font=small)
        sheet.paste(picture, (left, top))
    return sheet


def caption(name: str, weights: npt.NDArray[np.float32]) -> str:
    """Name, cells and mean weight of a map."""
    height, width = weights.shape
    share = f"{100 * weights.mean():.1f} %" if weights.any() else "nothing"
    return f"{name}: {width} x {height} cells, {share} attended"


def panel(seen: AttendedImage, weights: npt.NDArray[np.float32]) -> Image.Image:
    """Draw an image with a map over it and its ground truth, without padding."""
    height, width = seen.image.shape[:2]
    scale = max(1.0, WIDTH / seen.size[1])
    whole = (round(width * scale), round(height * scale))
    picture = Image.fromarray(seen.image).resize(whole, Image.Resampling.BICUBIC)
    opacity = Image.fromarray((255 * OPACITY * weights).round().astype(np.uint8))
    picture.paste(COLOUR, (0, 0), opacity.resize(whole, Image.Resampling.NEAREST))
    if seen.mask is not None:
        picture = Image.fromarray(outlined(np.asarray(picture), enlarged(seen.mask, whole)))
    pen = ImageDraw.Draw(picture)
    for box in seen.boxes * scale:
        rectangle(pen, box)
    return picture.crop((0, 0, round(seen.size[1] * scale), round(seen.size[0] * scale)))


def rectangle(pen: ImageDraw.ImageDraw, box: Any) -> None:
    """Draw a box that stands out on dark and on bright images."""
    for inset, colour in enumerate(LINES):
        left, top, right, bottom = (float(value) for value in box)
        corners = (left + inset, top + inset, right - inset, bottom - inset)
        if corners[0] <= corners[2] and corners[1] <= corners[3]:
            pen.rectangle(corners, outline=colour)


def enlarged(mask: npt.NDArray[np.int64], size: tuple[int, int]) -> Bytes:
    """Enlarge a mask to the size of the panel, width first."""
    return np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(size, Image.Resampling.NEAREST))


def outlined(picture: Bytes, mask: Bytes) -> Bytes:
    """Draw lines in a picture (H, W, 3) where the classes of the mask (H, W) change."""
    edge = np.zeros(mask.shape, dtype=bool)
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    edge[1:] |= mask[1:] != mask[:-1]
    drawn = picture.copy()
    drawn[edge] = LINES[1]
    return drawn

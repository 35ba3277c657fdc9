"""Opens images, whole or only their headers, and says in words what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

Size = tuple[int, int]
TURNED = ("JPEG", "PNG")
"""Formats that OpenCV turns by their EXIF orientation."""
SIDEWAYS = range(5, 9)
"""EXIF orientations that swap width and height."""

UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


@dataclass(frozen=True)
class ShownImage:
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


def read_picture(path: Path, pixels: bool) -> ShownImage:
    """Size and orientation of an image.

    Args:
        path: Image file.
        pixels: Decode all of it (finds files that are cut short); else read the header only.

    Raises:
        ValueError: In words, where the file cannot be read.
    """
    with opened(path) as image:
        if pixels:
            decode(image)
        width, height = image.size
        found = orientation(image)
        return ShownImage((height, width) if found in SIDEWAYS else (width, height), found != 1)


def picture_as_text(path: Path) -> str:
    """Format what the header of an image says: width, height, and 1 if it is turned."""
    found = read_picture(path, pixels=False)
    return "{} {} {:d}".format(*found.size, found.turned)


def picture_from_text(text: str) -> ShownImage:
    """Parse what :func:`picture_as_text` wrote."""
    width, height, turned = map(int, text.split())
    return ShownImage((width, height), bool(turned))


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


def opened(path: Path) -> Image.Image:
    """Open an image; its pixels are read later. Raises ValueError, in words, where it cannot be read."""
    try:
        return Image.open(path)
    except UNREADABLE as error:
        raise ValueError(_words(error)) from error


def decode(image: Image.Image) -> None:
    """Read the pixels of an opened image. Raises ValueError, in words, where they cannot be read."""
    try:
        image.load()
    except UNREADABLE as error:
        raise ValueError(_words(error)) from error


def _words(error: BaseException) -> str:
    text = "no image that Pillow knows" if isinstance(error, UnidentifiedImageError) else str(error)
    return f"unreadable ({text or type(error).__name__})"

"""Read the boxes of a VOC annotation, and judge those of any.

VOC counts pixels from 1 and includes the last one, so a box of the whole image is (1, 1, width, height).
Published annotations are not quite clean, and a dataset must be usable as published, so there are two grades:

- an error: a corner more than ``TOLERANCE`` pixels outside the image (but for formats whose boxes reach beyond it),
  corners in the wrong order, a class that the dataset does not have, something that is no number, a missing part;
- a warning: a word for ``difficult`` that is neither yes nor no, a corner at most ``TOLERANCE`` pixels
  outside (as from tools that count from 0), a box without
  area (two in BCCD; the loader skips them), a stated image size that is not the image's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

TOLERANCE = 1.0
"""Pixels that a corner may be outside the image and be only warned about."""

DIFFICULT = {"": False, "false": False, "no": False, "true": True, "yes": True}
"""Words that tools write instead of a number for whether an object is difficult."""

CORNERS = ("xmin", "ymin", "xmax", "ymax")
Size = tuple[int, int]


@dataclass(frozen=True)
class Labelled:
    """One object.

    Attributes:
        name: Its class; empty for what is none of the dataset's (DontCare).
        box: xmin, ymin, xmax, ymax in pixels, as in the file.
        ignored: Whether it is neither a target nor background (difficult, crowd).
        unclear: What the file says of that, if it is neither yes nor no (it counts as no).
        skipped: Whether it is left out of the training (it has no area).
    """

    name: str
    box: tuple[float, float, float, float]
    ignored: bool = False
    unclear: str | None = None
    skipped: bool = False


@dataclass(frozen=True)
class Annotation:
    """What an annotation says of an image.

    Attributes:
        size: Width and height of the image, or None.
        objects: The objects.
        first: Coordinate of the image's left and upper edge: 1 where pixels are counted from 1 (VOC), or 0.
        loose: Whether boxes may reach beyond the image, as they do where published.
    """

    size: Size | None
    objects: tuple[Labelled, ...]
    first: int = 1
    loose: bool = False


@dataclass(frozen=True)
class Finding:
    """Something odd: an error when ``fatal``, else a warning."""

    fatal: bool
    what: str


def read_annotation(text: bytes) -> Annotation:
    """Read a VOC annotation. Raises ValueError, in words, where it is malformed."""
    try:
        root = Xml.fromstring(text)
    except (Xml.ParseError, LookupError, ValueError) as error:
        raise ValueError(f"broken XML ({error})") from error
    if root.tag != "annotation":
        raise ValueError(f"no VOC annotation: it starts with <{root.tag}>")
    objects = tuple(_object(node, number) for number, node in enumerate(root.findall("object"), 1))
    return Annotation(_size(root), objects)


def judge(found: Annotation, size: Size, classes: tuple[str, ...], *, turned: bool = False) -> list[Finding]:
    """Return what is wrong with an annotation.

    Args:
        found: The annotation.
        size: Width and height of its image as it is shown.
        classes: The dataset's classes.
        turned: Whether the image is stored in another orientation than it is shown in.
    """
    findings = []
    if found.size is not None and found.size != size:
        stated, real = ("{} x {}".format(*pair) for pair in (found.size, size))
        if turned and found.size == size[::-1]:
            why = f"is of the image as stored ({stated}), which its EXIF orientation turns to {real}: annotate that"
            return [Finding(True, why)]
        findings.append(Finding(False, f"says that the image is {stated}, it is {real}"))
    for number, entry in enumerate(found.objects, 1):
        where = f"object {number} ({entry.name})"
        if entry.name and entry.name not in classes:
            findings.append(Finding(True, f"{where}: unknown class '{entry.name}'"))
        if entry.unclear is not None:
            findings.append(Finding(False, f"{where}: difficult is '{entry.unclear}', which counts as 0"))
        finding = _judged(entry.box, size, found)
        if finding is None and entry.skipped and entry.name:
            finding = Finding(False, "it has no area, or is under a pixel wide or high, and is skipped")
        if finding is not None:
            findings.append(Finding(finding.fatal, f"{where}: {finding.what}"))
    return findings


def _judged(box: tuple[float, float, float, float], size: Size, found: Annotation) -> Finding | None:
    left, top, right, bottom = box
    width, height = size
    if right < left or bottom < top:
        return Finding(True, f"{_told(box)} has its corners in the wrong order")
    beyond = max(found.first - left, found.first - top, right - width, bottom - height)
    if beyond > TOLERANCE and not found.loose:
        return Finding(True, f"{_told(box)} is outside the image of {width} x {height}")
    if right == left or bottom == top:
        return Finding(False, f"{_told(box)} has no area and is skipped")
    if beyond > 0:
        return Finding(False, f"{_told(box)} ends {beyond:g} pixel outside the image of {width} x {height}")
    return None


def _told(box: tuple[float, float, float, float]) -> str:
    return f"box ({', '.join(f'{value:g}' for value in box)})"


def _object(node: Xml.Element, number: int) -> Labelled:
    name = (node.findtext("name") or "").strip()
    if not name:
        raise ValueError(f"object {number} has no name")
    left, top, right, bottom = (_number(node.findtext(f"bndbox/{key}"), key, number) for key in CORNERS)
    word = (node.findtext("difficult") or "").strip()
    known = int(word) > 0 if word.isdecimal() else DIFFICULT.get(word.lower())
    unclear = word if known is None else None
    empty = right <= left or bottom <= top
    return Labelled(name, (left, top, right, bottom), bool(known), unclear, skipped=empty)


def _number(text: str | None, key: str, number: int) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"object {number} has no number for {key}")
    return value


def _size(root: Xml.Element) -> Size | None:
    words = root.findtext("size/width"), root.findtext("size/height")
    try:
        return int(words[0] or ""), int(words[1] or "")
    except ValueError:
        return None

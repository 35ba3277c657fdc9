"""Writes the scenes of ``digits`` and ``digits-seg`` to disk in VOC layout, all or nothing."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from xml.etree import ElementTree as Xml

from kdbench.errors import UserError

log = logging.getLogger(__name__)

COUNTS = {"train": 1200, "test": 500}
SEED = 0
STAMP = {"scenes": 2, "seed": SEED, "counts": COUNTS}
"""What a folder must say in scenes.json to be current; raise ``scenes`` when what is drawn changes."""
PARTS = ("Annotations", "JPEGImages", "SegmentationClass", "ImageSets/Main", "ImageSets/Segmentation")


def prepare(folder: Path, source: Path | None) -> None:
    """Write the scenes into ``folder`` unless they are there; older ones are replaced.

    Args:
        folder: Where they go: Annotations, JPEGImages, SegmentationClass and ImageSets.
        source: Must be None, as the scenes are made and not taken from elsewhere.

    Raises:
        UserError: With a ``source``, or when ``folder`` has files that are not these scenes.
    """
    if source is not None:
        raise UserError("digits is made by kdbench itself: leave `source` out.")
    stamp = _stamp(folder)
    if stamp == STAMP:
        return
    if stamp is None and folder.exists() and any(folder.iterdir()):
        raise UserError(
            f"{folder} has other files than the digits: move it away or name another `data_root`."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        made = Path(temporary) / "made"
        log.info(f"Drawing {sum(COUNTS.values())} scenes of digits.")
        write(made, COUNTS, SEED)
        (made / "scenes.json").write_text(json.dumps(STAMP), encoding="utf-8")
        _put(made, folder, Path(temporary) / "old")
    log.info(f"Made {sum(COUNTS.values())} scenes of digits in {folder}.")


def _stamp(folder: Path) -> object:
    try:
        return json.loads((folder / "scenes.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _put(made: Path, folder: Path, old: Path) -> None:
    """Rename ``made`` to ``folder``; another process that was faster is as good."""
    if folder.exists() and _stamp(folder) != STAMP:
        folder.rename(old)
    try:
        made.rename(folder)
    except OSError:
        if _stamp(folder) != STAMP:
            raise


def write(folder: Path, counts: dict[str, int], seed: int) -> None:
    """Draw ``counts`` scenes of each split from ``seed`` and write them to the new folder ``folder``."""
    from PIL import Image

    from kdbench.datasets.scenes import scene

    for part in PARTS:
        (folder / part).mkdir(parents=True)
    for split, count in counts.items():
        names = [f"{split}_{number:04d}" for number in range(count)]
        for number, name in enumerate(names):
            drawn = scene(split, number, seed)
            Image.fromarray(drawn.image).save(folder / "JPEGImages" / f"{name}.png", compress_level=3)
            Image.fromarray(drawn.mask).save(folder / "SegmentationClass" / f"{name}.png")
            text = annotation(f"{name}.png", drawn.image.shape[:2], drawn.digits)
            (folder / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
        for part in ("Main", "Segmentation"):
            lines = "".join(f"{name}\n" for name in names)
            (folder / "ImageSets" / part / f"{split}.txt").write_text(lines, encoding="utf-8")


def annotation(
    filename: str, size: tuple[int, ...], digits: tuple[tuple[int, tuple[int, int, int, int]], ...]
) -> str:
    """Return a VOC annotation; VOC counts pixels from 1 and includes the last one.

    Args:
        filename: Name of the image file.
        size: Height and width in pixels.
        digits: Digit and box (first and last column and row, from 0) of each object.
    """
    root = Xml.Element("annotation")
    Xml.SubElement(root, "filename").text = filename
    shape = Xml.SubElement(root, "size")
    for key, value in zip(("width", "height", "depth"), (size[1], size[0], 3), strict=True):
        Xml.SubElement(shape, key).text = str(value)
    for digit, box in digits:
        entry = Xml.SubElement(root, "object")
        for key, text in (("name", str(digit)), ("truncated", "0"), ("difficult", "0")):
            Xml.SubElement(entry, key).text = text
        corners = Xml.SubElement(entry, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            Xml.SubElement(corners, key).text = str(value + 1)
    Xml.indent(root, "  ")
    return Xml.tostring(root, encoding="unicode") + "\n"

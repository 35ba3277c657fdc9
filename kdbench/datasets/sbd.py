"""PASCAL VOC 2012 segmentation with the masks that SBD adds (Hariharan et al., ICCV 2011): ``trainaug``."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from kdbench.dataset_cards import Split
from kdbench.datasets import voc
from kdbench.datasets.layout import missing, read_names
from kdbench.datasets.link import point
from kdbench.datasets.packages import Package, fetch
from kdbench.errors import UserError, reason

log = logging.getLogger(__name__)

card = replace(
    voc.voc12seg,
    name="voc12seg-aug",
    title="PASCAL VOC 2012 segmentation with SBD's masks: 10582 images for training, 1449 to judge by",
    splits={
        "train": (
            *voc.voc12seg.splits["train"],
            Split("SBD/aug.txt", "VOC2012/JPEGImages", "SBD/masks"),
        ),
        "test": voc.voc12seg.splits["test"],
    },
    prepare="kdbench.datasets.sbd:prepare",
    folder="voc12seg-aug",
    citation=f"{voc.voc.citation}; B. Hariharan et al., Semantic contours from inverse detectors, ICCV 2011",
    images={"train": 10582, "test": 1449},
)
ADDED = 9118
"""Images of SBD that are not in VOC 2012's own lists of segmentation."""
CLS = Package(
    "cls",
    "benchmark_RELEASE/dataset/cls",
    {
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz": (
            "82b4d87ceb2ed10f6038a1cba92111cb"
        )
    },
)
"""SBD's masks, a .mat file an image."""


def prepare(folder: Path, source: Path | None) -> None:
    """Make the dataset of VOC 2012 and SBD: of those in ``source``, or downloaded (1.9 and 1.3 GiB).

    Raises:
        UserError: When one of them is not whole.
    """
    if folder.exists() and not missing(card, folder):
        log.info(f"{folder} has {card.name} already.")
        return
    devkit, cls = _downloaded(folder) if source is None else _inside(source)
    if problems := missing(voc.voc12seg, devkit):
        raise UserError(f"{devkit} is not a complete {voc.voc12seg.name}: {problems[0]}.")
    folder.mkdir(parents=True, exist_ok=True)
    point(folder / "VOC2012", (devkit / "VOC2012").resolve())
    _convert(cls, folder)


def _downloaded(folder: Path) -> tuple[Path, Path]:
    """Return the folders of VOC, which other datasets share, and of SBD's masks."""
    devkit = folder.parent / voc.voc.folder
    voc.prepare12(devkit, None)
    if not (folder / CLS.folder).is_dir():
        fetch(CLS, folder)
    return devkit, folder / CLS.folder


def _inside(source: Path) -> tuple[Path, Path]:
    devkits = (source, source / "VOCdevkit")
    releases = (source / "dataset" / "cls", source / CLS.inside, source / "cls")
    devkit = next((path for path in devkits if (path / "VOC2012").is_dir()), None)
    cls = next((path for path in releases if path.is_dir()), None)
    if devkit is None or cls is None:
        raise UserError(f"`source` {source} must have VOC2012 (or VOCdevkit) and SBD's benchmark_RELEASE.")
    return devkit, cls


def _convert(cls: Path, folder: Path) -> None:
    """Write the masks and the list of the images that VOC has none of; they appear when they are whole."""
    lists = (folder / part.names for split in voc.voc12seg.splits.values() for part in split)
    own = {name for path in lists for name in read_names(path, "")}
    names = sorted({path.stem for path in cls.glob("*.mat")} - own)
    if len(names) != ADDED:
        raise UserError(
            f"{cls} has masks of {len(names)} images beside VOC's, not of {ADDED}: is it complete?"
        )
    with tempfile.TemporaryDirectory(prefix=".SBD-", dir=folder) as temporary:
        made = Path(temporary) / "SBD"
        (made / "masks").mkdir(parents=True)
        _write_masks(cls, made / "masks", names)
        (made / "aug.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        made.rename(folder / "SBD")


def _write_masks(cls: Path, folder: Path, names: Iterable[str]) -> None:
    import numpy as np
    from PIL import Image
    from scipy.io import loadmat

    for name in names:
        file = cls / f"{name}.mat"
        try:
            found = loadmat(file, squeeze_me=True, struct_as_record=False)["GTcls"].Segmentation
            Image.fromarray(np.asarray(found, np.uint8)).save(folder / f"{name}.png")
        except Exception as error:  # scipy raises whatever a damaged file leads to
            raise UserError(f"{file} is no mask of SBD ({reason(error)}): get it again.") from error

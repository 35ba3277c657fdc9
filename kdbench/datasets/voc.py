"""PASCAL VOC: 20 everyday classes; 2007 alone, or with 2012 for training, judged on 2007 test."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from kdbench.cards import Dataset, Split
from kdbench.errors import UserError

log = logging.getLogger(__name__)

CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
SERVER = "http://host.robots.ox.ac.uk/pascal/VOC"
ARCHIVES = {
    "VOC2007": (
        (
            f"{SERVER}/voc2007/VOCtrainval_06-Nov-2007.tar",
            "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508",
        ),
        (
            f"{SERVER}/voc2007/VOCtest_06-Nov-2007.tar",
            "6836888e2e01dca84577a849d339fa4f73e1e4f135d312430c4856b5609b4892",
        ),
    ),
    "VOC2012": (
        (
            f"{SERVER}/voc2012/VOCtrainval_11-May-2012.tar",
            "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        ),
    ),
}
"""Year -> address and SHA-256 of its archives. Those hashes are the widely published ones."""


def _part(year: int, name: str) -> Split:
    base = f"VOC{year}"
    return Split(f"{base}/ImageSets/Main/{name}.txt", f"{base}/JPEGImages", f"{base}/Annotations")


voc = Dataset(
    name="voc",
    title="PASCAL VOC: 2007 and 2012 trainval for training (16551 images), 2007 test (4952)",
    task="detection",
    classes=CLASSES,
    metric="AP50_11point",
    splits={"train": (_part(2007, "trainval"), _part(2012, "trainval")), "test": (_part(2007, "test"),)},
    image_suffix=".jpg",
    prepare="kdbench.datasets.voc:prepare",
    folder="voc",
    license="images from flickr under flickr's terms of use; for research",
    link="http://host.robots.ox.ac.uk/pascal/VOC/",
    citation="M. Everingham et al., The PASCAL Visual Object Classes (VOC) Challenge, IJCV 88(2), 2010",
)

voc07 = replace(
    voc,
    name="voc07",
    title="PASCAL VOC 2007: trainval for training (5011 images), test (4952)",
    splits={"train": (_part(2007, "trainval"),), "test": (_part(2007, "test"),)},
    prepare="kdbench.datasets.voc:prepare07",
)


def prepare(folder: Path, source: Path | None) -> None:
    """Link a VOCdevkit (or its parent) on disk, or download VOC 2007 and 2012 (2.7 GiB)."""
    _prepare(voc, folder, source)


def prepare07(folder: Path, source: Path | None) -> None:
    """Link a VOCdevkit (or its parent) on disk, or download VOC 2007 (0.9 GiB)."""
    _prepare(voc07, folder, source)


def _prepare(dataset: Dataset, folder: Path, source: Path | None) -> None:
    from kdbench.datasets.layout import missing
    from kdbench.datasets.link import link
    from kdbench.datasets.locate import summary

    if source is not None:
        link(dataset, folder, source, inside=("VOCdevkit",))
        return
    problems = missing(dataset, folder) if folder.exists() else []
    half = [problem for problem in problems if (folder / problem.file.split("/")[0]).exists()]
    if half:
        raise UserError(f"{folder} is a half copy ({summary(half)}): move it away, then prepare again.")
    if problems and folder.is_symlink():
        raise UserError(
            f"{folder} links to {folder.resolve()}, which is not a complete {dataset.name} "
            f"({summary(problems)}): remove the link, or add what is missing there."
        )
    for year in ("VOC2007", "VOC2012") if dataset is voc else ("VOC2007",):
        if not (folder / year).exists():
            _fetch(year, folder)
    log.info(f"{folder} has {dataset.name}.")


def _fetch(year: str, folder: Path) -> None:
    """Download and unpack one year; its folder appears only when it is whole."""
    import tempfile

    from kdbench.datasets.download import download, extract

    downloads = folder.parent / "downloads"
    archives = [download(url, downloads, sha256) for url, sha256 in ARCHIVES[year]]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{year}-", dir=folder) as temporary:
        for archive in archives:
            log.info(f"Unpacking {archive.name}.")
            extract(archive, Path(temporary))
        made = Path(temporary) / "VOCdevkit" / year
        if not made.is_dir():
            raise UserError(
                f"{archives[0]} has no folder VOCdevkit/{year}: get {year} elsewhere and give it as `source`."
            )
        made.rename(folder / year)
    for archive in archives:
        archive.unlink()

"""Caltech Pedestrian (Dollar et al., PAMI 2012): its card, and its annotated frames taken out of the videos.

A ``.seq`` file (Norpix, as in Piotr Dollar's toolbox) has a header of 1024 bytes and then, for each frame, four
bytes of its length (with these), a JPEG, and 8 or 16 bytes of a time stamp.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.layout import missing
from kdbench.datasets.link import link_or_tell
from kdbench.errors import UserError


def _split(name: str) -> tuple[Split, ...]:
    return (Split("", f"images/{name}", f"annotations/{name}"),)


card = Dataset(
    name="caltech",
    title="Caltech Pedestrian: streets from a car; sets 0 to 5 for training, 4024 frames of 6 to 10 to judge by",
    task="detection",
    classes=("pedestrian",),
    metric="MR",
    splits={"train": _split("train"), "test": _split("test")},
    image_suffix=".jpg",
    prepare="kdbench.datasets.caltech_frames:prepare",
    folder="caltech",
    license="for research",
    link="https://data.caltech.edu/records/f6rph-90m20",
    citation="P. Dollar et al., Pedestrian Detection: An Evaluation of the State of the Art, PAMI 2012; "
    "S. Zhang et al., How Far are We from Solving Pedestrian Detection?, CVPR 2016",
    format="caltech",
    images={"test": 4024},
)
FILES = (
    "set00 to set10",
    "S. Zhang's new annotations (anno_train10x_alignedby_RotatedFilters and anno_test_1xnew)",
)
FRAME = re.compile(r"(set\d\d)_(V\d\d\d)_I(\d{5})(?:\.jpg)?\.txt")
TRAINING = 6
"""Number of the first set that is not trained on."""
HEADER, FORMAT = 1024, slice(568, 572)
"""Size of a video's header, and where the image format is in it."""
JPEGS = (102, 201)
STAMP = 8
"""Bytes after a frame, or twice as many."""

Frame = tuple[str, str, int, Path]
"""Set, video, number of the frame in it, and annotation."""


def prepare(folder: Path, source: Path | None) -> None:
    """Take the annotated frames out of the videos (``setNN/VNNN.seq``) in ``source``, or link what has them.

    Raises:
        UserError: When ``source`` lacks videos or annotations, or there is none.
    """
    if source is None or not any(source.rglob("*.seq")):
        link_or_tell(card, folder, source, files=FILES)
        return
    if folder.exists() and not missing(card, folder):
        return
    frames = _annotated(source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
        for video, wanted in groupby(frames, key=lambda frame: frame[:2]):
            _take(source, "/".join(video), list(wanted), Path(temporary) / "made")
        (Path(temporary) / "made").rename(folder)


def _annotated(source: Path) -> list[Frame]:
    """Return the frames that have an annotation below ``source``, in order."""
    found: dict[tuple[str, str, int], Path] = {}
    for path in sorted(source.rglob("*.txt")):
        if match := FRAME.fullmatch(path.name):
            key = match[1], match[2], int(match[3])
            other = found.setdefault(key, path)
            if other is not path:
                raise UserError(
                    f"{other} and {path} annotate one frame: leave one of their folders in {source}."
                )
    if not found:
        raise UserError(f"{source} has no annotation such as set00_V000_I00029.txt: add {FILES[1]}.")
    return [(*key, path) for key, path in sorted(found.items())]


def _take(source: Path, video: str, frames: list[Frame], made: Path) -> None:
    """Write the frames of one video and their annotations."""
    file = next(source.rglob(f"{video}.seq"), None)
    if file is None:
        raise UserError(f"{source} has annotations of {video}.seq, but not the video.")
    part = "train" if int(frames[0][0][3:]) < TRAINING else "test"
    for kind in ("images", "annotations"):
        (made / kind / part).mkdir(parents=True, exist_ok=True)
    taken = dict(read_frames(file, {number for _, _, number, _ in frames}))
    for set_, name, number, annotation in frames:
        if number not in taken:
            raise UserError(f"{file} ends before frame {number}, which {annotation} annotates: get it again.")
        stem = f"{set_}_{name}_I{number:05}.jpg"
        (made / "images" / part / stem).write_bytes(taken[number])
        shutil.copyfile(annotation, made / "annotations" / part / f"{stem}.txt")


def _number(file: BinaryIO, at: int) -> int:
    """Return the four bytes at a place of a file as a number; 0 beyond its end."""
    file.seek(at)
    return int.from_bytes(file.read(4), "little")


def read_frames(path: Path, wanted: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Yield number and JPEG of some frames of a ``.seq`` file; numbers start at 0, and may go beyond its end.

    Raises:
        UserError: If it is no such file, or damaged.
    """
    with path.open("rb") as file:
        header = file.read(HEADER)
        if header[:4] != b"\xed\xfe\0\0" or int.from_bytes(header[FORMAT], "little") not in JPEGS:
            raise UserError(f"{path} is no .seq file with JPEG frames.")
        at, stamp = HEADER, STAMP
        for number in range(max(wanted, default=-1) + 1):
            size = _number(file, at)
            if number == 1 and size == 0:
                at, stamp = at + STAMP, 2 * STAMP
                size = _number(file, at)
            if size <= 4:
                return
            if number in wanted:
                image = file.read(size - 4)
                if len(image) < size - 4 or not image.startswith(b"\xff\xd8"):
                    raise UserError(f"{path} is damaged at frame {number}: get it again.")
                yield number, image
            at += size + stamp

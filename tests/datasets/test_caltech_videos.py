"""Frames of Caltech Pedestrian: taken out of .seq files of the official form, beside their annotations."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdbench.datasets.caltech_frames import card, prepare, read_frames
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

TEXT = "% bbGt version=3\nperson 100 100 41 100 0 0 0 0 0 0 0\n"


def jpeg(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((480, 640, 3), 20 * number, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def video(frames: list[bytes], stamp: int = 8, kind: int = 201) -> bytes:
    """A .seq file: header, and length, JPEG and time stamp of each frame."""
    header = bytearray(1024)
    header[:4], header[568:572] = b"\xed\xfe\0\0", kind.to_bytes(4, "little")
    padding = b"\x11" * 8 + bytes(stamp - 8)
    return bytes(header) + b"".join((len(one) + 4).to_bytes(4, "little") + one + padding for one in frames)


@pytest.mark.parametrize("stamp", [8, 16])
def test_frames_are_those_of_their_numbers(tmp_path: Path, stamp: int) -> None:
    frames = [jpeg(number) for number in range(5)]
    (tmp_path / "V000.seq").write_bytes(video(frames, stamp))
    assert dict(read_frames(tmp_path / "V000.seq", {0, 2, 4, 9})) == {
        0: frames[0],
        2: frames[2],
        4: frames[4],
    }
    assert list(read_frames(tmp_path / "V000.seq", ())) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no .seq file"),
        (video([jpeg(0)], kind=100), "no .seq file with JPEG frames"),
        (video([jpeg(0)])[:1500], "damaged at frame 0"),
        (video([b"no JPEG at all"]), "damaged at frame 0"),
    ],
)
def test_a_damaged_video_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "V000.seq").write_bytes(content)
    with pytest.raises(UserError, match=told):
        list(read_frames(tmp_path / "V000.seq", {0}))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two videos and their annotations, named as they are published."""
    folder = tmp_path / "source"
    annotations = {
        "anno_train10x_alignedby_RotatedFilters/set00_V000_I00002.txt": 4,
        "anno_test_1xnew/set06_V001_I00001.jpg.txt": 3,
    }
    for name, count in annotations.items():
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_text(TEXT)
        set_, number, _ = path.name.split("_")
        (folder / "Train" / set_).mkdir(parents=True)
        (folder / "Train" / set_ / f"{number}.seq").write_bytes(video([jpeg(n) for n in range(count)]))
    return folder


def test_annotated_frames_become_a_dataset(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "caltech"
    prepare(folder, source)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {
        "annotations/test/set06_V001_I00001.jpg.txt",
        "annotations/train/set00_V000_I00002.jpg.txt",
        "images/test/set06_V001_I00001.jpg",
        "images/train/set00_V000_I00002.jpg",
    }
    assert (folder / "images/train/set00_V000_I00002.jpg").read_bytes() == jpeg(2)
    report = verify(card, folder, pixels=True)
    assert (report.errors, report.splits["test"].boxes) == ([], 1)
    prepare(folder, source)
    prepare(tmp_path / "linked", folder)
    assert (tmp_path / "linked").resolve() == folder


def test_what_is_missing_or_there_twice_is_told(source: Path, tmp_path: Path) -> None:
    folder, training = tmp_path / "caltech", source / "anno_train10x_alignedby_RotatedFilters"
    (training / "set00_V000_I00009.txt").write_text(TEXT)
    with pytest.raises(UserError, match=r"ends before frame 9, which .*set00_V000_I00009\.txt annotates"):
        prepare(folder, source)
    (training / "set00_V001_I00009.txt").write_text(TEXT)
    (training / "set00_V000_I00009.txt").unlink()
    with pytest.raises(UserError, match=r"annotations of set00/V001\.seq, but not the video"):
        prepare(folder, source)
    (source / "set00_V001_I00009.txt").write_text(TEXT)
    with pytest.raises(UserError, match="annotate one frame"):
        prepare(folder, source)
    with pytest.raises(UserError, match=r"get set00 to set10 and .* from https"):
        prepare(folder, None)
    assert not folder.exists()

import os
import shutil
import time
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from kdbench.dataset_cards import Dataset
from kdbench.datasets import camvid, hashed
from kdbench.datasets.fingerprint import fingerprint
from kdbench.errors import UserError
from kdbench.specs import file_digest

Small = tuple[Dataset, Path]


def test_it_does_not_depend_on_the_place(boxes: Small, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(boxes[1], copy)
    assert fingerprint(boxes[0], copy) == fingerprint(*boxes)


def test_it_depends_on_lists_annotations_and_images(boxes: Small) -> None:
    dataset, folder = boxes
    seen = {fingerprint(dataset, folder)}
    (folder / "labels" / "a.xml").write_text((folder / "labels" / "a.xml").read_text().replace(">9<", ">8<"))
    seen.add(fingerprint(dataset, folder))
    Image.new("RGB", (20, 16)).save(folder / "images" / "a.png")
    seen.add(fingerprint(dataset, folder))
    (folder / "train.txt").write_text("a\nc\nb\n")
    seen.add(fingerprint(dataset, folder))
    (folder / "train.txt").write_text("a\nc\n")
    seen.add(fingerprint(dataset, folder))
    assert len(seen) == 5


@pytest.mark.parametrize("suffix", [".bmp", ".png"])
def test_an_image_of_the_same_size_in_bytes_is_another(masks: Small, suffix: str) -> None:
    dataset, folder = replace(masks[0], image_suffix=suffix), masks[1]
    for path in list((folder / "images").iterdir()):
        Image.open(path).save(path.with_suffix(suffix), compress_level=zlib.Z_NO_COMPRESSION)
    before, path = fingerprint(dataset, folder), folder / "images" / f"a{suffix}"
    size, content = path.stat().st_size, path.read_bytes()
    path.write_bytes(content[:-20] + bytes(255 - value for value in content[-20:]))
    assert path.stat().st_size == size
    assert fingerprint(dataset, folder) != before
    path.write_bytes(content)
    assert fingerprint(dataset, folder) == before


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"title": "other", "name": "other", "license": "other", "link": "other"}, True),
        ({"folder": "other", "prepare": "other:one", "citation": "other"}, True),
        ({"classes": ("other",)}, False),
        ({"metric": "AP50_11point"}, False),
        ({"ignore_index": 7}, False),
    ],
)
def test_what_changes_numbers_of_a_card_counts(boxes: Small, changes: dict[str, Any], same: bool) -> None:
    dataset, folder = boxes
    assert (fingerprint(replace(dataset, **changes), folder) == fingerprint(dataset, folder)) == same


def test_the_splits_of_a_card_count(boxes: Small) -> None:
    dataset, folder = boxes
    swapped = {"train": dataset.splits["test"], "test": dataset.splits["train"]}
    assert fingerprint(replace(dataset, splits=swapped), folder) != fingerprint(dataset, folder)


def test_a_file_is_read_again_when_it_may_have_changed(
    boxes: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: list[str] = []

    def counted(path: Path) -> str:
        read.append(path.name)
        return file_digest(path)

    monkeypatch.setattr(hashed, "SETTLED", -60.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("kdbench.datasets.fingerprint.file_digest", counted)
    dataset, folder = boxes
    before = fingerprint(dataset, folder)
    every = set(read)
    assert {"a.png", "a.xml"} <= every
    read.clear()
    assert (fingerprint(dataset, folder), read) == (before, [])
    found = (folder / "images" / "a.png").stat()
    os.utime(folder / "images" / "a.png", ns=(found.st_atime_ns, found.st_mtime_ns))  # changes st_ctime alone
    assert (fingerprint(dataset, folder), read) == (before, ["a.png"])
    read.clear()
    assert fingerprint(dataset, folder, rehash=True) == before
    assert set(read) == every


def test_a_file_that_was_just_written_is_not_in_the_index(
    boxes: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another write within one tick of the file system's clock would not show."""
    monkeypatch.setattr(hashed, "SETTLED", 1e9)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fingerprint(*boxes)
    assert not list((tmp_path / "cache").rglob("*.json"))


@pytest.mark.parametrize("index", ["no JSON", "[]", '{"a": 1}'])
def test_an_index_that_is_broken_or_cannot_be_written_costs_time_only(
    boxes: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, index: str
) -> None:
    before = fingerprint(*boxes)
    monkeypatch.setattr(hashed, "SETTLED", -60.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fingerprint(*boxes)
    (file,) = tmp_path.rglob("*.json")
    file.write_text(index)
    assert fingerprint(*boxes) == before
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    assert fingerprint(*boxes) == before


def test_other_files_do_not_count(masks: Small) -> None:
    before = fingerprint(*masks)
    (masks[1] / "notes.txt").write_text("mine")
    assert fingerprint(*masks) == before


def test_embedded_pixels_count_and_not_their_compression(masks: Small) -> None:
    dataset, folder = replace(masks[0], embedded=True), masks[1]
    Image.new("RGB", (20, 16)).save(folder / "images" / "a.png")
    before = fingerprint(dataset, folder)
    for part in ("images", "labels"):
        path = folder / part / "a.png"
        size = path.stat().st_size
        image = Image.open(path)
        image.load()
        image.save(path, compress_level=zlib.Z_NO_COMPRESSION)
        assert path.stat().st_size != size
    assert fingerprint(dataset, folder) == before
    image.putpixel((3, 3), 1)
    image.save(folder / "labels" / "a.png")
    assert fingerprint(dataset, folder) != before


@pytest.mark.parametrize("file", ["images/b.png", "labels/b.png", "test.txt"])
def test_a_missing_file_is_the_users_error(masks: Small, file: str) -> None:
    (masks[1] / file).unlink()
    with pytest.raises(UserError, match=file.rpartition("/")[2]):
        fingerprint(*masks)


def test_camvid_takes_no_time(published_camvid: Path) -> None:
    start = time.process_time()
    assert len(fingerprint(camvid.card, published_camvid)) == 64
    assert time.process_time() - start < 2

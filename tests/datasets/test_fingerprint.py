import shutil
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from kdbench.cards import Dataset
from kdbench.datasets import camvid
from kdbench.datasets.fingerprint import fingerprint
from kdbench.errors import UserError

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

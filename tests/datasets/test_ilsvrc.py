"""ILSVRC's detection data: names of WordNet ids, and the lists of annotated images."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_support import SIZE, annotation
from PIL import Image

from kdbench.datasets import ilsvrc_det
from kdbench.datasets.checked import stamp_of
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.ilsvrc import annotation_of
from kdbench.datasets.layout import items
from kdbench.datasets.locate import prepare
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

IMAGES = {
    "train": ("ILSVRC2013_train/n1/n1_1", "ILSVRC2014_train_0000/a"),
    "val": ("ILSVRC2012_val_00000001",),
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder as both archives unpack to, with one image more, which has no annotation."""
    folder = tmp_path / "source" / "ILSVRC"
    for split, names in IMAGES.items():
        for name in (*names, f"extra/{split}"):
            image = folder / "Data" / "DET" / split / f"{name}.JPEG"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", SIZE).save(image)
        for name in names:
            truth = folder / "Annotations" / "DET" / split / f"{name}.xml"
            truth.parent.mkdir(parents=True, exist_ok=True)
            truth.write_text(annotation(("n1", (0, 0, *SIZE)), ("n2", (2, 3, 9, 9))))
    (folder / "devkit" / "data").mkdir(parents=True)
    (folder / "devkit" / "data" / "map_det.txt").write_text("n1 1 accordion\n\nn2 12 baby bed\n")
    return folder.parent


@pytest.mark.parametrize("inside", ["", "ILSVRC"])
def test_annotated_images_are_listed_and_their_classes_named(
    source: Path, tmp_path: Path, inside: str
) -> None:
    folder = prepare(ilsvrc_det.card, tmp_path, source / inside)
    assert [item.name for item in items(ilsvrc_det.card, "train", folder)] == list(IMAGES["train"])
    report = verify(ilsvrc_det.card, folder, pixels=True)
    assert report.errors == []
    found = {name: count for name, count in report.splits["train"].classes.items() if count}
    assert found == {"accordion": 2, "baby_bed": 2}
    assert prepare(ilsvrc_det.card, tmp_path, source) == prepare(ilsvrc_det.card, tmp_path, None) == folder
    assert (len(set(ilsvrc_det.CLASSES)), ilsvrc_det.CLASSES[-1]) == (200, "zebra")


def test_the_table_of_the_classes_is_part_of_the_content(source: Path, tmp_path: Path) -> None:
    folder = prepare(ilsvrc_det.card, tmp_path, source)
    before, stamp = fingerprint(ilsvrc_det.card, folder), stamp_of(ilsvrc_det.card, folder)
    (source / "ILSVRC/devkit/data/map_det.txt").write_text("n2 1 accordion\nn1 12 baby bed\n")
    after = stamp_of(ilsvrc_det.card, folder)
    assert fingerprint(ilsvrc_det.card, folder) != before
    assert stamp is not None
    assert after is not None
    assert stamp.value != after.value


def test_boxes_count_from_0(source: Path) -> None:
    path = source / "ILSVRC/Annotations/DET/val" / f"{IMAGES['val'][0]}.xml"
    found = annotation_of(path, "")
    assert (found.first, [one.name for one in found.objects]) == (0, ["accordion", "baby_bed"])


def test_what_is_missing_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"ILSVRC2017_DET\.tar\.gz and ILSVRC2017_devkit\.tar\.gz from https"):
        prepare(ilsvrc_det.card, tmp_path, None)
    (source / "ILSVRC/Data/DET/val" / f"{IMAGES['val'][0]}.JPEG").unlink()
    with pytest.raises(UserError, match=r"not a complete ilsvrc-det: .*val_00000001\.JPEG: missing"):
        prepare(ilsvrc_det.card, tmp_path, source)
    (source / "ILSVRC/devkit/data/map_det.txt").unlink()
    with pytest.raises(UserError, match=r"devkit/data/map_det\.txt"):
        prepare(ilsvrc_det.card, tmp_path, source)


def test_a_table_that_is_missing_or_malformed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(annotation(("n1", (0, 0, 5, 5))))
    with pytest.raises(ValueError, match=r"no map_det\.txt of ILSVRC's development kit"):
        annotation_of(path, "a")
    deeper = tmp_path / "deeper"
    deeper.mkdir()
    (tmp_path / "map_det.txt").write_text("n1 accordion\n")
    path.rename(deeper / "a.xml")
    with pytest.raises(ValueError, match=r"map_det\.txt, line 1: give an id, a number and a name"):
        annotation_of(deeper / "a.xml", "a")

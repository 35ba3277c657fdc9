"""Checkpoints by address and by OpenMMLab's names: found, fetched only where that is allowed, and checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.errors import UserError
from kdbench.openmmlab.weights import zoo
from kdbench.openmmlab.weights.zoo import checkpoint_file, published
from kdbench.pairs import detectors, segmentors

GFL = "mmdet::gfl_r101_fpn_ms-2x_coco"
SEVERAL = "deeplabv3plus_r101-d8_4xb4-160k_ade20k-512x512"
"""A name that mmseg's metafile gives to the weights of 80,000 iterations as well."""


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """What would be fetched: address and first digits of the hash."""
    asked = []

    def download(address, folder, expected):
        folder.mkdir(parents=True)
        return arrived(address, folder / address.rpartition("/")[2], expected)

    def arrived(address, target, expected=""):
        asked.append((address, expected))
        target.write_bytes(b"weights")
        return target

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(zoo.downloads, "download", download)
    monkeypatch.setattr(zoo.downloads, "arrived", arrived)
    return asked


def test_a_name_is_looked_up_in_the_zoo_of_its_library():
    assert published(GFL).endswith("/gfl_r101_fpn_mstrain_2x_coco_20200629_200126-dd12f847.pth")
    assert published("mmseg::pspnet_r101-d8_4xb2-40k_cityscapes-512x1024").endswith("-467e7cf4.pth")


def test_teachers_of_the_full_size_pairs_are_published_under_their_configs_names():
    for pair in (*detectors.PAIRS, *segmentors.PAIRS):
        library, _, config = pair.teacher.config.partition("::")
        name = Path(config).stem
        if name != SEVERAL:
            assert published(f"{library}::{name}").startswith("https://")


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("mmdet::gfl_r101_fpn_ms2x_coco", f"mmdet's model zoo .* Did you mean '{GFL.partition('::')[2]}'"),
        ("mmpose::hrnet", "write mmdet::NAME or mmseg::NAME, an address, or a file"),
        (f"mmseg::{SEVERAL}", "has several weights .* give one of https://"),
    ],
)
def test_a_name_that_means_no_single_file(reference, told):
    with pytest.raises(UserError, match=told):
        published(reference)


def test_nothing_is_fetched_unasked(fetched):
    for reference in (GFL, "https://example.org/own.pth"):
        with pytest.raises(
            UserError, match=r"is not on this machine: `download=True` fetches it from https://"
        ):
            checkpoint_file(reference, download=False)
    assert not fetched


def test_it_is_fetched_once_and_its_hash_is_checked_where_its_name_has_one(fetched):
    own = "https://example.org/a/best.pth"
    for reference in (GFL, own, "https://example.org/b/best.pth"):
        file = checkpoint_file(reference, download=True)
        assert checkpoint_file(reference, download=False) == file
    assert fetched == [(published(GFL), "dd12f847"), (own, ""), ("https://example.org/b/best.pth", "")]
    assert checkpoint_file(own, download=False) != file, "two files of one name are two"


def test_a_file_stays_a_file(tmp_path):
    assert checkpoint_file(str(tmp_path / "x.pth"), download=True) == tmp_path / "x.pth"

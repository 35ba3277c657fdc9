"""`kdbench run --method mimic --dataset voc` on real photos of PASCAL VOC, laid out as VOC 2007 and 2012."""

from __future__ import annotations

import json

import lacking
import pytest

PARTS = {("VOC2007", "trainval"): 30, ("VOC2007", "test"): 6, ("VOC2012", "trainval"): 64}
"""Year and list -> number of its photos: a few to judge by, as each takes seconds."""


@pytest.fixture
def devkit(shared_data, tmp_path):
    """A VOCdevkit with a hundred photos of 2012."""
    source = shared_data / "voc2012-100" / "VOC2012"
    if not source.is_dir():
        lacking.skip("data", "no voc2012-100 in the folder that KDBENCH_TEST_DATA names")
    names = (source / "ImageSets" / "Main" / "trainval.txt").read_text().split()
    for (year, part), count in PARTS.items():
        lists = tmp_path / "VOCdevkit" / year / "ImageSets" / "Main"
        lists.mkdir(parents=True, exist_ok=True)
        (lists / f"{part}.txt").write_text("".join(f"{name}\n" for name in names[:count]))
        names = names[count:]
        for folder in ("Annotations", "JPEGImages"):
            if not (lists.parents[1] / folder).exists():
                (lists.parents[1] / folder).symlink_to(source / folder)
    return tmp_path / "VOCdevkit"


@pytest.fixture
def root(devkit, tmp_path, monkeypatch, kdbench):
    """A data root with the devkit as ``voc``."""
    monkeypatch.chdir(tmp_path)
    done = kdbench("data", "prepare", "voc", "--root", "data", "--from", str(devkit.parent))
    assert (done.code, done.out.strip()) == (0, "voc is ready in data/voc."), done.err
    return "data"


def test_the_photos_are_without_errors(root, kdbench):
    done = kdbench("data", "verify", "voc", "--root", root, "--json")
    report = json.loads(done.out)
    assert (done.code, report["errors"]) == (0, [])
    assert {name: split["images"] for name, split in report["splits"].items()} == {"train": 94, "test": 6}
    assert report["splits"]["test"]["boxes"] > 6


@pytest.mark.release
@pytest.mark.timeout(3600)
def test_the_headline_command(root, kdbench):
    command = ("run", "--method", "mimic", "--dataset", "voc", "--root", root, "--schedule", "smoke")
    done = kdbench(*command, "--from-scratch", "--device", "cpu", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert (record["status"], record["metric"]) == ("done", "AP50_11point")
    assert 0 <= record["metrics"]["last"]["AP50_11point"] <= 1

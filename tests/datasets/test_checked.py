"""What was found of a dataset is taken again while none of its files has changed, and only then."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets import checked
from kdbench.datasets.checked import Checked, keep, known, stamp_of

Small = tuple[Dataset, Path]
FOUND = Checked("f" * 64, ["a warning"])


@pytest.fixture
def kept(boxes: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Small:
    """A dataset that was checked a while ago."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "SETTLED", -60.0)
    keep(*boxes, stamp_of(*boxes), FOUND)
    return boxes


def test_it_is_known_of_the_same_files_and_card(kept: Small) -> None:
    assert known(*kept) == FOUND
    assert known(replace(kept[0], classes=("cat", "dog", "cow")), kept[1]) is None


@pytest.mark.parametrize("file", ["images/d.png", "labels/a.xml", "test.txt"])
def test_a_file_that_changed_or_went_is_noticed(kept: Small, file: str) -> None:
    path = kept[1] / file
    path.write_bytes(path.read_bytes())  # the same content, written again
    assert known(*kept) is None
    path.unlink()
    assert known(*kept) is None
    assert stamp_of(*kept) is None


def test_a_file_that_is_new_in_a_folder_is_noticed(kept: Small) -> None:
    (kept[1] / "images" / "z.png").touch()
    assert known(*kept) is None


def test_results_beside_a_json_of_all_annotations_change_nothing(
    boxes: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "SETTLED", -60.0)
    folder = boxes[1]
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": []}
    (folder / "all.json").write_text(json.dumps(content))
    splits = {name: (Split("", "images", "all.json"),) for name in boxes[0].splits}
    dataset = replace(boxes[0], format="coco", metric="mAP", image_suffix="", splits=splits)
    keep(dataset, folder, stamp_of(dataset, folder), FOUND)
    (folder / "results").mkdir()
    assert known(dataset, folder) == FOUND
    (folder / "all.json").touch()
    assert known(dataset, folder) is None


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"files": []}', '{"files": 3, "stamp": ""}'])
def test_a_broken_cache_is_nothing(kept: Small, text: str) -> None:
    checked.file_of(*kept).write_text(text)
    assert known(*kept) is None


def test_nothing_is_kept_of_files_that_changed_a_moment_ago(
    kept: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "SETTLED", 1e9)
    os.utime(kept[1] / "images" / "a.png")
    keep(*kept, stamp_of(*kept), FOUND)
    assert known(*kept) is None


def test_a_run_looks_at_the_files_once(kept: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.runs import plan

    looks: list[str] = []

    def check_files(dataset: Dataset, *_: object, **__: object) -> list[str]:
        looks.append(dataset.name)
        return FOUND.warnings

    monkeypatch.setattr(plan, "check_files", check_files)
    monkeypatch.setattr(plan, "fingerprint", lambda *_, **__: FOUND.fingerprint)
    root = kept[1].parent
    for expected in (0, 0):
        assert plan.data_of(kept[0], root) == (kept[1], FOUND.fingerprint)
        assert len(looks) == expected
    plan.data_of(kept[0], root, rehash=True)
    assert len(looks) == 1
    os.utime(kept[1] / "labels" / "a.xml")
    for _ in range(2):
        plan.data_of(kept[0], root)
        assert len(looks) == 2

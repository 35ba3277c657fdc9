"""A folder of images and boxes becomes a benchmark file that is planned as it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdbench.benchmarks import load
from kdbench.datasets.recognize import recognize
from kdbench.errors import UserError
from kdbench.plugins import registry


@pytest.fixture
def belt(tmp_path, monkeypatch):
    """Images of the same names in two folders, with a COCO json each in a third; and a json of something else."""
    monkeypatch.chdir(tmp_path)
    registry.cache_clear()
    Path("belt/annotations").mkdir(parents=True)
    Path("belt/settings.json").write_text("{}")
    for split, count in (("train2026", 3), ("val2026", 2)):
        Path("belt", split).mkdir()
        for number in range(count):
            pixels = np.full((300, 400, 3), 40 * number + count, np.uint8)
            Image.fromarray(pixels).save(f"belt/{split}/{number}.png")
        content = {
            "images": [{"id": n, "file_name": f"{n}.png", "width": 400, "height": 300} for n in range(count)],
            "categories": [{"id": 1, "name": "ok"}, {"id": 2, "name": "bent"}],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [9, 9, 50, 50], "iscrowd": 0}
                for n in range(count)
            ],
        }
        Path(f"belt/annotations/instances_{split}.json").write_text(json.dumps(content))
    yield Path("belt")
    registry.cache_clear()


def test_it_is_planned_as_it_is_written(belt, kdbench):
    done = kdbench("new-benchmark", "belt", "--output", "screws.yaml", "--device", "cpu")
    assert done.code == 0, done.err
    assert "train: 3 images, 3 boxes (coco, belt/annotations/instances_train2026.json)\n" in done.out
    assert "kdbench sweep screws.yaml\n" in done.out
    text = Path("screws.yaml").read_text()
    assert text.startswith("# 3 images to train on, 2 to judge by, 5 boxes of 2 classes.\n")
    assert "from scratch in minutes on a CPU" in text
    planned = kdbench("sweep", "screws.yaml", "--device", "cpu", "--dry-run")
    assert planned.code == 0, planned.err
    assert planned.out.startswith("12 cells: 12 to run\n")
    schedule = registry().pair("screws-gfl").value.schedule
    assert (schedule.scale, schedule.keep_ratio) == ((256, 192), True)


def test_its_paths_are_relative_to_it(belt, kdbench):
    Path("files").mkdir()
    assert kdbench("new-benchmark", "belt", "--output", "files/screws.yaml", "--device", "cpu").code == 0
    assert "images: ../belt/val2026" in Path("files/screws.yaml").read_text()
    assert load(Path("files/screws.yaml")).dataset == "screws"


def test_with_a_gpu_the_pair_is_of_full_size(belt):
    from kdbench.cli.new_benchmark import text_of

    Path("big.yaml").write_text(text_of(recognize(belt), Path("big.yaml"), small=False))
    load(Path("big.yaml"))
    pair = registry().pair("big-gfl").value
    assert pair.pretrained
    assert (pair.schedule.iterations, pair.schedule.scale) == (2000, (400, 300))
    assert pair.teacher.config == "mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py"


def test_voc_layout_is_recognised(tmp_path, shared_data):
    found = recognize(shared_data / "cards")
    assert (found.format, found.suffix, len(found.classes)) == ("voc", ".jpg", 6)
    assert (found.parts["train"].count, found.parts["test"].count) == (296, 67)


def test_what_is_not_recognised_is_refused_in_one_line(belt, kdbench):
    Path("empty").mkdir()
    done = kdbench("new-benchmark", "empty", "--output", "x.yaml")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "empty has neither a COCO json nor VOC's" in done.err
    assert "nowhere is no folder" in kdbench("new-benchmark", "nowhere", "--output", "x.yaml").err
    Path("there.yaml").touch()
    assert "there.yaml already exists" in kdbench("new-benchmark", "belt", "--output", "there.yaml").err
    shutil.rmtree("belt/train2026")
    with pytest.raises(UserError, match=r"no folder in belt has the images of train, such as 0\.png"):
        recognize(Path("belt"))
    Path("belt/annotations/instances_val2026.json").unlink()
    with pytest.raises(UserError, match=r"none of instances_train2026\.json is named after test or val"):
        recognize(belt)
    assert not Path("x.yaml").exists()

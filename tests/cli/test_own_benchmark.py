"""A benchmark in one YAML file: its own dataset and pair are planned, run, ranked and refused like others."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import lacking
import numpy as np
import pytest
import yaml
from PIL import Image

from kdbench.benchmarks import load
from kdbench.errors import UserError
from kdbench.pairs.small import gfl
from kdbench.plugins import registry
from kdbench.results.store import Store
from kdbench.runs.plan import plan
from kdbench.runs.provenance import record_of
from kdbench.runs.request import Request

SCREWS = """\
title: Screws on the belt
dataset:
  name: screws
  format: coco
  train: {images: photos/train, annotations: train.json}
  test: {images: photos/val, annotations: val.json}
  metric: mAP
pairs:
  - name: screws-gfl
    teacher: {config: mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py, checkpoint: r101.pth}
    student: {config: my_student.py, edits: {backbone.depth: 18}}
    schedule: {iterations: 12000, batch_size: 16, lr: 0.01, scale: [1333, 800], keep_ratio: true}
methods: [none, pkd, "cwd[weight=2]"]
seeds: 0..2
"""


@pytest.fixture
def screws(tmp_path, monkeypatch):
    """The file with what it names, in the current folder; the definitions are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    registry.cache_clear()
    for split, count in (("train", 4), ("val", 2)):
        Path("photos", split).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(np.full((48, 64, 3), 9 * number, np.uint8)).save(f"photos/{split}/{number}.png")
        Path(f"{split}.json").write_text(json.dumps(annotations(count)))
    mmdet = Path(importlib.util.find_spec("mmdet").origin).parent
    Path("my_student.py").write_text(f"_base_ = '{mmdet}/.mim/configs/gfl/gfl_r50_fpn_1x_coco.py'\n")
    Path("r101.pth").write_bytes(b"weights")
    Path("screws.yaml").write_text(SCREWS)
    yield tmp_path
    registry.cache_clear()


def annotations(count):
    boxes = [
        {"id": n + 1, "image_id": n, "category_id": 1 + n % 2, "bbox": [4, 4, 20, 20], "area": 400}
        for n in range(count)
    ]
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in range(count)],
        "categories": [{"id": 1, "name": "ok"}, {"id": 2, "name": "bent"}],
        "annotations": boxes,
    }


def test_it_is_planned_word_for_word(screws, kdbench):
    done = kdbench("sweep", "screws.yaml", "--device", "cpu", "--dry-run")
    assert done.code == 0, done.err
    assert done.out.startswith("9 cells: 9 to run\n")
    for method in ("none", "pkd", "cwd[weight=2]"):
        assert f"  screws-gfl  {method}: 3 to run\n" in done.out


def test_a_cell_is_ranked_under_the_files_recipe_and_found_again_by_its_command(screws, kdbench):
    found = plan(Request("pkd", "", benchmark=Path("screws.yaml")))
    assert (found.cell.schedule, found.cell.dataset, found.cell.pair.name) == (
        "default",
        "screws",
        "screws-gfl",
    )
    assert found.cell.pair.schedule == found.cell.pair.teacher_schedule
    assert found.dataset.classes == ("ok", "bent")
    assert list(found.checkpoints.values()) == [Path("r101.pth")]
    assert plan(Request("none", "", benchmark=Path("screws.yaml"))).cell == found.plain
    registry.cache_clear()
    asked = kdbench("run", "--method", "pkd", "--benchmark", "screws.yaml", "--dataset", "other")
    assert (asked.code, asked.err.strip()) == (
        2,
        "error: --benchmark screws.yaml: it is for dataset 'screws'.",
    )
    assert "--dataset: name one, or a benchmark file." in kdbench("run", "--method", "pkd").err


def test_the_identity_is_of_the_content(screws, monkeypatch):
    def identity():
        registry.cache_clear()
        return plan(Request("pkd", "", benchmark=Path("screws.yaml"))).cell.identity()

    before = identity()
    moved = screws.with_name("moved")
    screws.rename(moved)
    monkeypatch.chdir(moved)
    assert identity() == before
    Path("screws.yaml").write_text(SCREWS.replace("lr: 0.01", "lr: 0.02"))
    assert identity() != before
    Path("screws.yaml").write_text(SCREWS)
    Path("train.json").write_text(
        json.dumps({**annotations(4), "annotations": annotations(3)["annotations"]})
    )
    assert identity() != before


def test_its_results_are_shown(screws, kdbench):
    for method, score in (("none", 0.5), ("pkd", 0.625)):
        cell = plan(Request(method, "", benchmark=Path("screws.yaml"))).cell
        Store(Path("results")).write(record_of(cell, "mAP", screws, curve=[{"iteration": 1, "mAP": score}]))
    registry.cache_clear()
    done = kdbench("leaderboard", "screws.yaml", "--format", "csv")
    assert done.code == 0, done.err
    rows = {row["method"]: row for row in csv.DictReader(done.out.splitlines())}
    assert (rows["pkd"]["mean"], rows["pkd"]["difference"]) == ("0.625", "0.125")
    assert (rows["pkd"]["missing"], rows["cwd[weight=2]"]["missing"]) == ("2", "3")
    expected = (
        "for seed in 0 1 2; do kdbench run --method 'cwd[weight=2]' --benchmark screws.yaml --pair screws-gfl"
    )
    assert rows["cwd[weight=2]"]["command"].startswith(expected)


OWN = yaml.safe_load(SCREWS)


def taught_by(**changes):
    """The pair, with another teacher."""
    pair = OWN["pairs"][0]
    return {**pair, "teacher": {**pair["teacher"], **changes}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"dataset": {**OWN["dataset"], "format": "yolo"}},
            "dataset: the format of 'screws' is 'yolo': give voc or",
        ),
        (
            {"dataset": {**OWN["dataset"], "metric": "mIoU"}},
            "dataset: the metric of 'screws' is 'mIoU': give AP50 or",
        ),
        (
            {"dataset": {**OWN["dataset"], "format": "voc"}},
            "dataset: 'screws' names no classes: give them as a list",
        ),
        ({"dataset": {**OWN["dataset"], "name": "digits"}}, "dataset: dataset 'digits' of kdbench 0"),
        ({"dataset": {**OWN["dataset"], "name": "My screws"}}, "dataset.name: String should match pattern"),
        ({"dataset": {**OWN["dataset"], "trian": {}}}, "dataset.trian: Extra inputs are not permitted"),
        (
            {"dataset": {**OWN["dataset"], "train": {"images": "x"}}},
            "dataset.train.0.annotations: Field required",
        ),
        (
            {"dataset": {**OWN["dataset"], "train": {"images": "x", "annotations": "y"}}},
            "dataset: cannot read y: No ",
        ),
        ({"pairs": [{**OWN["pairs"][0], "schedule": {}}]}, "pairs.0.schedule.iterations: Field required"),
        ({"dataset": "digits", "pairs": [{"name": "a"}]}, "pairs.0.teacher: Field required"),
        (
            {"pairs": [taught_by(classes={"ok": "person"})]},
            "dataset: pair 'screws-gfl': the teacher's classes must map each class of the dataset: ok, bent.",
        ),
        (
            {"pairs": [taught_by(checkpoint=None, classes={"ok": "person", "bent": "tie"})]},
            "dataset: pair 'screws-gfl': the teacher's classes are those of a checkpoint: give one.",
        ),
    ],
)
def test_a_mistake_in_it_is_one_line(screws, kdbench, changes, told):
    Path("screws.yaml").write_text(yaml.safe_dump({**OWN, **changes}))
    done = kdbench("sweep", "screws.yaml", "--dry-run")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert f"screws.yaml: {told}" in done.err


def test_a_checkpoint_that_is_not_there_is_named(screws):
    Path("r101.pth").unlink()
    with pytest.raises(UserError, match=r"cannot read r101\.pth: No such file"):
        plan(Request("pkd", "", benchmark=Path("screws.yaml")))


def test_a_checkpoint_of_openmmlab_is_fetched_where_that_is_allowed(screws, kdbench, monkeypatch):
    from kdbench.openmmlab.weights import zoo

    monkeypatch.setenv("XDG_CACHE_HOME", str(screws / "cache"))
    monkeypatch.setattr(zoo.downloads, "download", lambda *_: Path("r101.pth"))
    changed = {**OWN, "pairs": [taught_by(checkpoint="mmdet::gfl_r101_fpn_ms-2x_coco")]}
    Path("screws.yaml").write_text(yaml.safe_dump(changed))
    sweep = ("sweep", "screws.yaml", "--device", "cpu", "--dry-run")
    asked = kdbench(*sweep)
    assert (asked.code, asked.err.count("\n")) == (2, 1)
    assert "gfl_r101_fpn_ms-2x_coco is not on this machine: --download fetches it from https://" in asked.err
    assert kdbench(*sweep, "--download").out.startswith("9 cells: 9 to run\n")


def test_classes_of_a_checkpoint_stand_for_the_datasets(screws):
    classes = {"ok": "person", "bent": "tie"}
    Path("screws.yaml").write_text(yaml.safe_dump({**OWN, "pairs": [taught_by(classes=classes)]}))
    mapped = plan(Request("pkd", "", benchmark=Path("screws.yaml"))).teacher
    assert mapped.classes == classes
    registry.cache_clear()
    Path("screws.yaml").write_text(SCREWS)
    plain = plan(Request("pkd", "", benchmark=Path("screws.yaml"))).teacher
    assert plain.model_copy(update={"classes": classes}) == mapped
    assert "classes" not in plain.model_dump(mode="json")
    assert plain.identity() != mapped.identity()


def test_a_narrow_student_stays_narrow(screws):
    student = {"config": "mmdet::gfl/gfl_r50_fpn_1x_coco.py", "width": 16}
    Path("screws.yaml").write_text(
        yaml.safe_dump({**OWN, "pairs": [{**OWN["pairs"][0], "student": student}]})
    )
    assert plan(Request("pkd", "", benchmark=Path("screws.yaml"))).cell.pair.student.width == 16


def test_a_row_is_reproduced_with_the_file(screws, kdbench, monkeypatch):
    cell = plan(Request("pkd", "", benchmark=Path("screws.yaml"))).cell
    then = record_of(cell, "mAP", screws, curve=[{"iteration": 12_000, "mAP": 0.5}])
    Store(Path("results")).write(then)
    ran = []
    monkeypatch.setattr("kdbench.runs.reproduce.start", lambda *_: "cpu")
    monkeypatch.setattr("kdbench.runs.reproduce._run", lambda planned, *_: ran.append(planned.cell) or then)
    row = ("reproduce", "pkd", "--dataset", "screws", "--device", "cpu")
    registry.cache_clear()
    assert "unknown dataset 'screws'" in kdbench(*row).err
    done = kdbench(*row, "--benchmark", "screws.yaml")
    assert (done.code, ran) == (0, [cell]), done.err
    assert done.out.endswith("agrees: identical in every metric\n")


def test_what_is_wrong_with_its_files_is_listed(screws, kdbench):
    assert kdbench("data", "verify", "screws.yaml").code == 0
    Path("photos/val/0.png").unlink()
    planned = kdbench("sweep", "screws.yaml", "--dry-run")
    assert planned.code == 2
    assert "(photos/val/0.png: missing): `kdbench data verify screws.yaml` lists everything." in planned.err
    listed = kdbench("data", "verify", "screws.yaml")
    assert (listed.code, "error: photos/val/0.png: missing\n" in listed.err) == (2, True)


def test_a_model_may_be_narrow(screws):
    Path("screws.yaml").write_text(SCREWS.replace("my_student.py,", "my_student.py, width: 16,"))
    load(Path("screws.yaml"))
    assert registry().pair("screws-gfl").value.student.width == 16


def test_an_installed_dataset_may_have_own_pairs(screws, small_digits, monkeypatch):
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    Path("screws.yaml").write_text(yaml.safe_dump({**OWN, "dataset": "digits"}))
    assert load(Path("screws.yaml")).pairs == ("screws-gfl",)
    found = plan(Request("pkd", "", benchmark=Path("screws.yaml")))
    assert (found.dataset.name, found.cell.pair.dataset) == ("digits", "digits")


@pytest.mark.slow
def test_real_photos_are_run_from_a_given_teacher(shared_data, tmp_path, monkeypatch, kdbench):
    """Narrow models on thirty photos of COCO with crowds, 4 iterations each."""
    import torch

    from kdbench.openmmlab.setup import prepare_libraries

    prepare_libraries("mmdet")
    from kdbench.openmmlab.students import Subject

    folder = shared_data / "tiny_coco"
    if not folder.is_dir():
        lacking.skip("data", "no tiny_coco in the folder that KDBENCH_TEST_DATA names")
    monkeypatch.chdir(tmp_path)
    registry.cache_clear()
    for name in ("annotations", "train2017", "val2017"):
        Path(name).symlink_to(folder / name)
    model = gfl(18, 8, 16, first=1, norm="neck").model_dump(include={"config", "edits"})
    recipe = {"iterations": 8, "batch_size": 2, "lr": 0.01, "scale": [96, 96], "keep_ratio": True}
    values = {
        "title": "Thirty photos",
        "dataset": {
            "name": "photos",
            "format": "coco",
            "train": {"images": "train2017", "annotations": "annotations/instances_train2017.json"},
            "test": {"images": "val2017", "annotations": "annotations/instances_val2017.json"},
        },
        "pairs": [{"name": "photos-gfl", "teacher": {**model, "checkpoint": "t.pth"}, "student": model}],
        "methods": ["none", "pkd"],
        "seeds": [0],
    }
    values["pairs"][0]["schedule"] = recipe
    Path("photos.yaml").write_text(yaml.safe_dump(values))
    planned = plan(Request("none", "", benchmark=Path("photos.yaml")))
    teacher = Subject(
        "teacher", planned.cell.pair.teacher, planned.cell.pair.schedule, planned.dataset, 0, False
    )
    torch.save({"state_dict": teacher.build().state_dict()}, "t.pth")
    run = ("run", "--benchmark", "photos.yaml", "--method", "pkd", "--schedule", "smoke", "--device", "cpu")
    done = kdbench(*run, "--force")
    assert done.code == 0, done.err
    (file,) = Path("results/records").rglob("pkd-seed0-*.json")
    record = json.loads(file.read_text())
    assert record["metric"] == "mAP"
    assert {"mAP", "AP50", "AP75", "AR100"} <= set(record["metrics"]["last"])
    registry.cache_clear()

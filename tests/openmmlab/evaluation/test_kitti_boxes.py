"""KITTI in training and evaluation: DontCare is no background, and the metric is the development kit's."""

from __future__ import annotations

import tarfile

import lacking
import numpy as np
import pytest
import torch

from kdbench.dataset_cards import Dataset, Split
from kdbench.metrics.kitti import kitti_ap, read_objects
from kdbench.specs import Schedule

CLASSES = ("Car", "Pedestrian", "Cyclist")


def test_the_metric_is_that_of_the_files(bench, shared_data, tmp_path):
    from kdbench.openmmlab.evaluation.boxes import KittiBoxes

    archive = shared_data / "oracles" / "kitti" / "gt_det.tar.gz"
    if not archive.is_file():
        lacking.skip("data", "no oracles in the folder that KDBENCH_TEST_DATA names")
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    judge = KittiBoxes()
    judge.dataset_meta = {"classes": CLASSES}
    places = {name.lower(): place for place, name in enumerate(CLASSES)}
    for path in (tmp_path / "gt").glob("*.txt"):
        found = read_objects(tmp_path / "res" / "data" / path.name, scored=True)
        predicted = {
            "bboxes": torch.from_numpy(found.boxes),
            "labels": torch.tensor([places[kind] for kind in found.types], dtype=torch.long),
            "scores": torch.from_numpy(found.scores),
        }
        sample = {"img_id": path.stem, "truth": read_objects(path, scored=False)}
        judge.process({}, [{**sample, "pred_instances": predicted}])
    values = judge.evaluate(200)
    expected = {name: kitti_ap(tmp_path / "gt", tmp_path / "res" / "data", name) for name in CLASSES}
    for key in ("AP11/easy", "AP40/moderate", "AP40/hard"):
        mean = np.mean([expected[name][key] for name in CLASSES])
        assert values[key.replace("/", "_")] == pytest.approx(mean, abs=1e-15)
    assert values["AP40_moderate/Car"] == expected["Car"]["AP40/moderate"]


def test_dont_care_is_an_ignored_instance(bench, shared_data, tmp_path):
    from kdbench.openmmlab.data.loaders import evaluation_pipeline, images_of

    folder = shared_data / "kitti-3"
    if not folder.is_dir():
        lacking.skip("data", "no kitti-3 in the folder that KDBENCH_TEST_DATA names")
    (tmp_path / "training").symlink_to(folder / "training")
    (tmp_path / "all.txt").write_text("000001\n")
    part = (Split("all.txt", "training/image_2", "training/label_2"),)
    dataset = Dataset(
        name="kitti",
        title="",
        task="detection",
        classes=CLASSES,
        metric="AP40_moderate",
        splits={"train": part, "test": part},
        image_suffix=".jpg",
        prepare="nowhere:prepare",
        folder="kitti",
        license="",
        link="",
        citation="",
        format="kitti",
    )
    pipeline = evaluation_pipeline(dataset, Schedule(iterations=1, batch_size=1, lr=0.1, scale=(320, 96)))
    sample = images_of(dataset, tmp_path, "test", pipeline)[0]["data_samples"]
    labels = (folder / "training" / "label_2" / "000001.txt").read_text().splitlines()
    kinds = [line.split()[0] for line in labels]
    assert kinds.count("DontCare") == len(sample.ignored_instances) > 0
    assert sum(kind in CLASSES for kind in kinds) == len(sample.gt_instances)
    assert sample.truth.types == [kind.lower() for kind in kinds]

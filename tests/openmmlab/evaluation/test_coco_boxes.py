"""COCO json in training and evaluation: crowds are neither targets nor background, and the metric is COCO's own."""

from __future__ import annotations

import dataclasses
import json

import lacking
import numpy as np
import pytest
import torch

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets import coco
from kdbench.metrics.coco import coco_ap
from kdbench.specs import Schedule

SCHEDULE = Schedule(iterations=4, batch_size=2, lr=0.01, scale=(64, 48))


@pytest.fixture(scope="module")
def tiny(shared_data):
    """The folder of real photos with crowds, and its card."""
    folder = shared_data / "tiny_coco"
    if not folder.is_dir():
        lacking.skip("data", "no tiny_coco in the folder that KDBENCH_TEST_DATA names")
    parts = {
        name: (Split("", f"{kind}2017", f"annotations/instances_{kind}2017.json"),)
        for name, kind in (("train", "train"), ("test", "val"))
    }
    classes = coco.classes_of(folder / parts["test"][0].annotations)
    return folder, Dataset(
        name="tiny",
        title="Thirty photos",
        task="detection",
        classes=classes,
        metric="mAP",
        splits=parts,
        image_suffix="",
        prepare="nowhere:prepare",
        folder="tiny_coco",
        license="",
        link="",
        citation="",
        format="coco",
    )


def images(tiny, split):
    from kdbench.openmmlab.data.loaders import evaluation_pipeline, images_of, training_pipeline

    folder, dataset = tiny
    pipeline = training_pipeline if split == "train" else evaluation_pipeline
    return images_of(dataset, folder, split, pipeline(dataset, SCHEDULE))


def test_crowds_are_ignored_instances(bench, tiny):
    found = images(tiny, "train")
    entries = [found.get_data_info(index)["instances"] for index in range(len(found))]
    assert sum(one["ignore_flag"] for entry in entries for one in entry) == 5
    sample = next(
        found[i]["data_samples"] for i, one in enumerate(entries) if any(e["ignore_flag"] for e in one)
    )
    assert len(sample.ignored_instances) >= 1


def test_an_image_without_objects_is_judged_and_not_trained_on(bench, tiny, tmp_path):
    folder, dataset = tiny
    for split in ("train", "test"):
        part = dataset.splits[split][0]
        content = json.loads((folder / part.annotations).read_text())
        first = content["images"][0]["id"]
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] != first]
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    parts = {
        name: (Split("", str(folder / dataset.splits[name][0].images), f"{name}.json"),)
        for name in ("train", "test")
    }
    fewer = tmp_path, dataclasses.replace(dataset, splits=parts)
    assert (len(images(fewer, "train")), len(images(fewer, "test"))) == (14, 15)


def test_the_metric_is_cocos_of_the_json_itself(bench, tiny):
    """Noisy copies of the truth, judged as the evaluation does and by the json as it is."""
    from kdbench.openmmlab.evaluation.boxes import CocoBoxes

    folder, dataset = tiny
    path = folder / dataset.splits["test"][0].annotations
    content = json.loads(path.read_text())
    ids, rng = {one["name"]: one["id"] for one in content["categories"]}, np.random.default_rng(0)
    numbers = {one["file_name"]: one["id"] for one in content["images"]}
    found, judge, results = images(tiny, "test"), CocoBoxes(), []
    judge.dataset_meta = {"classes": dataset.classes}
    for index in range(len(found)):
        sample = found[index]["data_samples"]
        truth = torch.tensor([[x, y, x + w, y + h] for x, y, w, h in (one["bbox"] for one in sample.truth)])
        boxes = truth + torch.from_numpy(rng.normal(0, 6, truth.shape)).float()
        labels = torch.tensor([one["category_id"] for one in sample.truth])
        scores = torch.from_numpy(rng.random(len(boxes))).float()
        judge.process(
            {},
            [
                {
                    "img_id": sample.img_id,
                    "truth": sample.truth,
                    "pred_instances": {"bboxes": boxes, "labels": labels, "scores": scores},
                }
            ],
        )
        results += [
            {
                "image_id": numbers[sample.img_id],
                "category_id": ids[dataset.classes[label]],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": score,
            }
            for (x1, y1, x2, y2), label, score in zip(
                boxes.tolist(), labels.tolist(), scores.tolist(), strict=True
            )
        ]
    values, expected = judge.evaluate(len(found)), coco_ap(path, results)
    assert {"AP": values["mAP"]} | {name: values[name] for name in expected if name != "AP"} == expected
    assert 0.2 < values["mAP"] < 0.9
    per_class = [value for name, value in values.items() if name.startswith("mAP/")]
    assert len(per_class) == len({one["category_id"] for one in content["annotations"] if not one["iscrowd"]})
    assert values["mAP"] == pytest.approx(np.mean(per_class))


def test_nothing_found_is_zero(bench, tiny):
    from kdbench.openmmlab.evaluation.boxes import CocoBoxes

    judge = CocoBoxes()
    judge.dataset_meta = {"classes": ("a", "b")}
    nothing = {"bboxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=int), "scores": torch.zeros(0)}
    truth = [{"bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0, "category_id": 1}]
    judge.process({}, [{"img_id": "a", "truth": truth, "pred_instances": nothing}])
    values = judge.evaluate(1)
    assert (values["mAP"], values["AP50"], values["mAP/b"]) == (0, 0, 0)
    assert "mAP/a" not in values
    judge.process({}, [{"img_id": "b", "truth": [], "pred_instances": nothing}])
    assert judge.evaluate(1) == {"mAP": 0.0}


@pytest.mark.parametrize(
    "config", ["faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", "gfl/gfl_r50_fpn_1x_coco.py"]
)
def test_the_assigners_leave_crowds_alone(bench, tiny, config):
    from kdbench.openmmlab.models.configs import model_config, walk
    from kdbench.specs import Model

    def thresholds(dataset):
        model = model_config(Model(config=f"mmdet::{config}"), dataset, pretrained=False)
        return [part.get("ignore_iof_thr", -1) for part in walk(model) if "Assigner" in part.get("type", "")]

    _, dataset = tiny
    assert set(thresholds(dataset)) == {0.5}
    assert set(thresholds(dataclasses.replace(dataset, format="", metric="AP50"))) == {-1}

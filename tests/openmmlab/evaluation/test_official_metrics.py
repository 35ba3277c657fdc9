"""Caltech's and WIDER FACE's metrics of a detector are those of the arrays and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import savemat

from kdbench.metrics.caltech import log_average_miss_rate


def found(*rows):
    """An image's detections from rows x, y, width, height, score."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5)
    boxes = torch.hstack([table[:, :2], table[:, :2] + table[:, 2:4]])
    return {"bboxes": boxes, "scores": table[:, 4], "labels": torch.zeros(len(table), dtype=torch.long)}


def test_the_miss_rate_of_frames(bench):
    from kdbench.openmmlab.evaluation.boxes import CaltechBoxes

    tall, far = (10, 10, 20, 50), (200, 10, 20, 50)
    frames = [
        ([(*tall, 0), (*far, 1)], [(*far, 0.9), (*tall, 0.8)]),
        ([(*tall, 0)], []),
        ([], [(*tall, 0.7)]),
    ]
    judge = CaltechBoxes()
    samples = [{"img_id": str(n), "truth": t, "pred_instances": found(*d)} for n, (t, d) in enumerate(frames)]
    judge.process({}, samples)
    truth = [(n, *row) for n, (rows, _) in enumerate(frames) for row in rows]
    detections = [(n, *row) for n, (_, rows) in enumerate(frames) for row in rows]
    rate = judge.evaluate(3)["MR"]
    assert rate == pytest.approx(log_average_miss_rate(truth, detections, frames=3))
    assert 0 < rate < 1
    judge.process({}, [{"img_id": "a", "truth": [], "pred_instances": found()}])
    assert judge.evaluate(1) == {"MR": 1.0}


def test_the_average_precision_of_faces(bench, tmp_path):
    from kdbench.openmmlab.evaluation.boxes import WiderFaceBoxes

    def cells(*values):
        made = np.empty((len(values), 1), object)
        for index, value in enumerate(values):
            made[index, 0] = value
        return made

    face = (10, 10, 20, 20)
    sample = {"img_id": "0--Parade/a.jpg", "truth": str(tmp_path), "pred_instances": found((*face, 0.9))}
    judge = WiderFaceBoxes()
    boxes = cells(cells(np.array([face, (60, 60, 20, 20)], float)))
    savemat(
        tmp_path / "wider_face_val.mat",
        {"event_list": cells("0--Parade"), "file_list": cells(cells("a")), "face_bbx_list": boxes},
    )
    for subset, faces in (("easy", [1]), ("medium", [1, 2]), ("hard", [2])):
        savemat(tmp_path / f"wider_{subset}_val.mat", {"gt_list": cells(cells(np.array([faces]).T))})
    judge.process({}, [sample])
    assert judge.evaluate(1) == {"AP_easy": 1.0, "AP_medium": 0.5, "AP_hard": 0.0}


def test_every_format_has_an_evaluation(bench):
    from kdbench.datasets.formats import FORMATS
    from kdbench.openmmlab.evaluation import METRICS

    assert set(METRICS) == set(FORMATS)

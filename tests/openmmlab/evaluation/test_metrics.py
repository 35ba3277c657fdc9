"""The metrics against hand-made cases, mmdet's own loop and plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch


class Pool:
    """In place of a pool of processes: mmdet's loop over images in this one."""

    def __init__(self, _count):
        pass

    def starmap(self, function, arguments):
        return [function(*values) for values in arguments]

    def close(self):
        pass


def metric(*classes):
    from kdbench.openmmlab.evaluation.boxes import BoxMetric

    made = BoxMetric()
    made.dataset_meta = {"classes": classes}
    return made


def image(truths, predictions, ignored=()):
    """A sample as a detector gives it: (label, box) and (label, score, box)."""

    def boxes(rows):
        return torch.tensor([row[-1] for row in rows], dtype=torch.float32).reshape(-1, 4)

    def labels(rows):
        return torch.tensor([row[0] for row in rows], dtype=torch.long)

    return {
        "gt_instances": {"bboxes": boxes(truths), "labels": labels(truths)},
        "ignored_instances": {"bboxes": boxes(ignored), "labels": labels(ignored)},
        "pred_instances": {
            "bboxes": boxes(predictions),
            "labels": labels(predictions),
            "scores": torch.tensor([row[1] for row in predictions], dtype=torch.float32),
        },
    }


def measured(judge, *images):
    judge.process({}, list(images))
    return judge.evaluate(len(images))


BOX, SAME, FAR = (0, 0, 9, 9), (0, 0, 9, 9), (40, 40, 49, 49)


def test_average_precision_by_hand(bench):
    """Hit, miss, hit of three: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    first = image([(0, BOX), (0, FAR)], [(0, 0.9, SAME), (0, 0.8, (20, 20, 29, 29)), (0, 0.7, FAR)])
    second = image([(0, BOX)], [])
    found = measured(metric("a"), first, second)
    assert found["AP50"] == found["AP50/a"] == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    eleven = (4 * 1 + 3 * 2 / 3 + 4 * 0) / 11  # recalls 0 to 0.3, 0.4 to 0.6, 0.7 to 1
    assert found["AP50_11point"] == pytest.approx(eleven)


def test_the_overlap_counts_pixels_as_voc_does(bench):
    """Boxes of 10 x 10 pixels, 10 x 5 of them shared: 50 / 150 without, with 5 x 10 of one only: 50 / 100."""
    half = (0, 0, 9, 4)
    found = measured(metric("a"), image([(0, BOX)], [(0, 0.9, half)]))
    assert found["AP50"] == 1.0
    assert found["AP75"] == 0.0
    smaller = (0, 0, 9, 3)
    assert measured(metric("a"), image([(0, BOX)], [(0, 0.9, smaller)]))["AP50"] == 0.0


def test_a_second_hit_of_the_same_box_is_wrong(bench):
    found = measured(
        metric("a"), image([(0, BOX), (0, FAR)], [(0, 0.9, SAME), (0, 0.8, SAME), (0, 0.7, FAR)])
    )
    assert found["AP50"] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_difficult_boxes_neither_count_nor_harm(bench):
    sample = image([(0, BOX)], [(0, 0.9, FAR), (0, 0.8, SAME)], ignored=[(0, FAR)])
    assert measured(metric("a"), sample)["AP50"] == 1.0


def test_a_class_without_truth_does_not_count(bench):
    found = measured(metric("a", "b"), image([(0, BOX)], [(0, 0.9, SAME), (1, 0.9, FAR)]))
    assert found["AP50"] == 1.0
    assert "AP50/b" not in found


def test_classes_weigh_the_same(bench):
    sample = image([(0, BOX), (0, FAR), (1, BOX)], [(0, 0.9, SAME), (0, 0.8, FAR)])
    found = measured(metric("a", "b"), sample)
    assert (found["AP50/a"], found["AP50/b"], found["AP50"]) == (1.0, 0.0, 0.5)


@pytest.mark.parametrize("truths", [[], [(0, BOX)]])
def test_nothing_found_is_a_number(bench, truths):
    found = measured(metric("a"), image(truths, []))
    assert (found["AP50"], found["AP75"], found["AP50_11point"]) == (0.0, 0.0, 0.0)
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_mmdets_own_loop(bench, monkeypatch, seed):
    from mmdet.evaluation.functional import mean_ap

    monkeypatch.setattr(mean_ap, "Pool", Pool)
    rng = np.random.default_rng(seed)
    classes, images = 4, []
    for _ in range(6):
        corners = rng.integers(0, 60, (8, 2)).astype(float)
        boxes = np.hstack([corners, corners + rng.integers(8, 30, (8, 2))])
        labels = rng.integers(0, classes - 1, 8)
        noisy = np.vstack([boxes + rng.normal(0, 2, boxes.shape), boxes[:3] + 15])
        wrong = rng.random(len(noisy)) < 0.2
        guesses = np.where(wrong, rng.integers(0, classes, len(noisy)), np.append(labels, labels[:3]))
        scores = rng.permutation(len(noisy)) / len(noisy) + rng.random()
        truths = [(int(label), tuple(box)) for label, box in zip(labels, boxes, strict=True)]
        found = [(int(g), float(s), tuple(b)) for g, s, b in zip(guesses, scores, noisy, strict=True)]
        images.append(image(truths[:6], found, ignored=truths[6:]))
    judge = metric(*"abcd")
    judge.process({}, images)
    annotations, predictions = map(list, zip(*judge.results, strict=True))
    ours = judge.compute_metrics(judge.results)
    for name, threshold, mode in (
        ("AP50", 0.5, "area"),
        ("AP75", 0.75, "area"),
        ("AP50_11point", 0.5, "11points"),
    ):
        theirs, each = mean_ap.eval_map(
            predictions,
            annotations,
            iou_thr=threshold,
            eval_mode=mode,
            use_legacy_coordinate=True,
            logger="silent",
            nproc=2,
        )
        assert ours[name] == pytest.approx(float(theirs), abs=1e-6)
        if name == "AP50":
            aps = {"abcd"[i]: float(found["ap"]) for i, found in enumerate(each) if found["num_gts"]}
            assert {n: ours[f"AP50/{n}"] for n in aps} == pytest.approx(aps, abs=1e-6)
    assert 0.1 < ours["AP75"] < ours["AP50"] < 1


def masks(ignore_index, classes, truths, predictions):
    from mmengine.structures import PixelData

    from kdbench.openmmlab.evaluation.masks import MaskMetric

    judge = MaskMetric(ignore_index=ignore_index)
    judge.dataset_meta = {"classes": [f"c{i}" for i in range(classes)]}
    samples = [
        {
            "gt_sem_seg": {"data": PixelData(data=torch.from_numpy(truth)[None]).data},
            "pred_sem_seg": {"data": torch.from_numpy(found)[None]},
        }
        for truth, found in zip(truths, predictions, strict=True)
    ]
    judge.process({}, samples)
    return judge.evaluate(len(samples))


@pytest.mark.parametrize("ignore_index", [255, 5])
def test_masks_agree_with_a_confusion_matrix(bench, ignore_index):
    rng = np.random.default_rng(0)
    classes = 5
    truths = [rng.integers(0, classes - 1, (13, 17)) for _ in range(3)]
    predictions = [
        np.where(rng.random(t.shape) < 0.7, t, rng.integers(0, classes - 1, t.shape)) for t in truths
    ]
    for truth in truths:
        truth[rng.random(truth.shape) < 0.1] = ignore_index
    matrix = np.zeros((classes, classes))
    for truth, found in zip(truths, predictions, strict=True):
        judged = truth != ignore_index
        np.add.at(matrix, (truth[judged], found[judged]), 1)
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    expected = np.diag(matrix)[:4] / union[:4]
    found = masks(ignore_index, classes, truths, predictions)
    assert [found[f"IoU/c{i}"] for i in range(4)] == pytest.approx(expected.tolist())
    assert found["mIoU"] == pytest.approx(expected.mean())
    assert found["pixel_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    assert "IoU/c4" not in found  # neither in a truth nor in a prediction
    assert all(type(value) is float for value in found.values())


def test_a_class_that_is_only_predicted_counts_as_zero(bench):
    truth = np.zeros((2, 2), dtype=np.int64)
    found = masks(255, 3, [truth], [np.array([[0, 0], [0, 1]])])
    assert found == pytest.approx({"mIoU": 0.375, "pixel_accuracy": 0.75, "IoU/c0": 0.75, "IoU/c1": 0.0})


def test_one_wrong_pixel_by_hand(bench):
    truth = np.array([[0, 0, 1, 1, 255]])
    found = masks(255, 2, [truth], [np.array([[0, 1, 1, 1, 0]])])
    expected = {"mIoU": (1 / 2 + 2 / 3) / 2, "pixel_accuracy": 0.75, "IoU/c0": 1 / 2, "IoU/c1": 2 / 3}
    assert found == pytest.approx(expected)

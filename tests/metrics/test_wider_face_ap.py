"""WIDER FACE's average precision: the official evaluation's value, and a loop that follows it line by line."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.io import savemat

from kdbench.metrics.widerface import wider_face_ap

FACE, FAR = (10, 10, 20, 20), (100, 10, 20, 20)


def test_the_value_of_the_official_evaluation(oracles):
    with np.load(oracles / "widerface" / "dets.npz") as archive:
        found = {key: archive[key] for key in archive.files}
    scores = wider_face_ap(oracles / "widerface", found)
    assert scores["easy"] == pytest.approx(0.7234359637593267, abs=1e-15)
    assert scores["easy"] > scores["medium"] > scores["hard"] > 0.5


def cells(values):
    made = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        made[index, 0] = value
    return made


@pytest.fixture
def write(tmp_path):
    """Write the official files of one event: image -> (faces, zero-based indices for each subset)."""

    def written(images):
        def per_image(values):
            return cells([cells(values)])

        common = {"event_list": cells(["0--Parade"]), "file_list": per_image(list(images))}
        faces = [np.array(rows, float).reshape(-1, 4) for rows, *_ in images.values()]
        savemat(tmp_path / "wider_face_val.mat", {**common, "face_bbx_list": per_image(faces)})
        for place, subset in enumerate(("easy", "medium", "hard"), 1):
            chosen = [np.array(entry[place], int).reshape(-1, 1) + 1 for entry in images.values()]
            savemat(tmp_path / f"wider_{subset}_val.mat", {**common, "gt_list": per_image(chosen)})
        return tmp_path

    return written


def official(images, found, place):
    """Follow the official evaluation line by line; scores must span [0, 1]."""
    counted, recalled, faces = np.zeros(1000), np.zeros(1000), 0
    for name, (boxes, *subsets) in images.items():
        faces += len(subsets[place])
        rows = sorted(found.get(name, []), key=lambda row: -row[4])
        if not boxes or not rows:
            continue
        state, counts, hits = [0] * len(boxes), [], []
        for x, y, w, h, _ in rows:
            shares = []
            for bx, by, bw, bh in boxes:
                width = max(0, min(x + w, bx + bw) - max(x, bx) + 1)
                height = max(0, min(y + h, by + bh) - max(y, by) + 1)
                union = (w + 1) * (h + 1) + (bw + 1) * (bh + 1) - width * height
                shares.append(width * height / union)
            best = int(np.argmax(shares))
            ignored = shares[best] >= 0.5 and best not in subsets[place]
            if shares[best] >= 0.5:
                state[best] = -1 if ignored else 1
            counts.append(not ignored)
            hits.append(state.count(1))
        for index in range(1000):
            above = [row for row in rows if row[4] >= 1 - (index + 1) / 1000]
            if above:
                counted[index] += sum(counts[: len(above)])
                recalled[index] += hits[len(above) - 1]
    precision = [r / c if c else 0 for r, c in zip(recalled, counted, strict=True)]
    recall, precision = [0, *(recalled / faces), 1], [0, *precision, 0]
    return sum((recall[i] - recall[i - 1]) * max(precision[i:]) for i in range(1, len(recall)))


@pytest.mark.parametrize("seed", range(2))
def test_it_follows_the_official_evaluation(write, seed):
    rng = np.random.default_rng(seed)
    images, found = {}, {}
    for index in range(6):
        corners = rng.integers(0, 60, (6, 2))
        boxes = np.hstack([corners, rng.integers(5, 20, (6, 2))])
        easy, medium = rng.permutation(6)[:2], rng.permutation(6)[:4]
        images[f"i{index}"] = (boxes.tolist(), easy.tolist(), medium.tolist(), list(range(6)))
        noisy = boxes[rng.integers(0, 6, 12)] + rng.integers(-2, 3, (12, 4))
        found[f"i{index}"] = np.column_stack([noisy, rng.integers(0, 40, 12) / 40]).tolist()
    images["none"] = ([], [], [], [])
    found["none"] = [(*FACE, 0.0), (*FACE, 1.0)]
    scores = wider_face_ap(write(images), {f"0--Parade|{name}": rows for name, rows in found.items()})
    for place, subset in enumerate(("easy", "medium", "hard")):
        assert scores[subset] == pytest.approx(official(images, found, place), abs=1e-12)
    assert 0 < scores["easy"] < 1


def test_a_face_of_another_subset_is_ignored_and_an_image_without_one_still_judged(write):
    folder = write({"a": ([FACE, FAR], [0], [0, 1], [0, 1]), "b": ([FACE], [], [], [0])})
    found = {
        "0--Parade|a": [(*FAR, 0.9), (*FACE, 0.5)],
        "0--Parade|b": [(60, 60, 5, 5, 0.8), (*FACE, 0.7), (60, 60, 5, 5, 0.1)],
    }
    assert wider_face_ap(folder, found) == pytest.approx(
        {"easy": 1 / 2, "medium": 1 / 2 + 1 / 2 * 2 / 3, "hard": 1 / 3 + 2 / 3 * 3 / 4}
    )


def test_scores_of_any_scale_are_scaled_and_equal_ones_are_all_of_them(write):
    folder = write({"a": ([FACE, FAR], [0, 1], [0, 1], [])})
    some = {"0--Parade|a": np.array([(*FACE, 7.0), (60, 60, 5, 5, -3.0), (*FAR, 2.0)])}
    assert wider_face_ap(folder, some)["easy"] == 1.0
    equal = {"0--Parade|a": np.array([(*FACE, 0.5), (60, 60, 5, 5, 0.5)])}
    assert wider_face_ap(folder, equal)["easy"] == pytest.approx(0.5 * 0.5)
    assert math.isnan(wider_face_ap(folder, equal)["hard"])
    assert wider_face_ap(folder, {})["easy"] == 0.0


def test_an_unknown_image_is_refused(write):
    folder = write({"a": ([FACE], [0], [0], [0])})
    with pytest.raises(ValueError, match=r"'a\.jpg' is no image"):
        wider_face_ap(folder, {"a.jpg": []})

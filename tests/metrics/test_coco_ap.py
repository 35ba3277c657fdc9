"""COCO's average precision: reference values for real detections, and edge cases by hand."""

from __future__ import annotations

import json

import lacking
import numpy as np
import pytest

from kdbench.metrics.coco import coco_ap

BOX = [10, 10, 40, 40]
OF_THE_PHOTOS = {
    "AP": 0.3469581862666092,
    "AP50": 0.6100296805315172,
    "AP75": 0.3537144792046059,
    "APs": 0.07518118519140897,
    "APm": 0.33948209410671315,
    "APl": 0.4978809260735697,
    "AR1": 0.3735049117549118,
    "AR10": 0.5206472000222001,
    "AR100": 0.522570276945277,
}
"""Complete output of pycocotools 2.0 for these detections."""


def test_a_models_detections_on_a_hundred_photos(shared_data, tmp_path):
    folder = shared_data / "voc2012-100" / "results"
    if not folder.is_dir():
        lacking.skip("data", "no voc2012-100 in the folder that KDBENCH_TEST_DATA names")
    truth = folder / "gts_coco_format_v2_instances_v2.json"
    expected, found = (json.loads(path.read_text()) for path in (truth, next(folder.glob("dets*.json"))))
    images, classes = (
        {
            theirs["id"]: ours["id"]
            for theirs in found[part]
            for ours in expected[part]
            if theirs[key] == ours[key]
        }
        for part, key in (("images", "file_name"), ("categories", "name"))
    )
    for entry in found["annotations"]:
        entry["image_id"], entry["category_id"] = images[entry["image_id"]], classes[entry["category_id"]]
    results = tmp_path / "results.json"
    results.write_text(json.dumps(found["annotations"]))
    assert coco_ap(truth, results) == pytest.approx(OF_THE_PHOTOS, abs=1e-12)
    assert coco_ap(expected, found["annotations"]) == coco_ap(truth, results)


LEVELS = np.linspace(0.5, 0.95, 10)


def overlap(box, other, crowd):
    width = min(box[0] + box[2], other[0] + other[2]) - max(box[0], other[0])
    height = min(box[1] + box[3], other[1] + other[3]) - max(box[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (box[2] * box[3] + (0 if crowd else other[2] * other[3] - shared))


def matched(boxes, found, level, least, most):
    """Yield (score, correct) of the detections of one class in one image that count."""
    ignored = [box["iscrowd"] or not least <= box["area"] <= most for box in boxes]
    free = set(range(len(boxes)))
    for one in found:
        shares = [overlap(one["bbox"], box["bbox"], box["iscrowd"]) for box in boxes]
        near = [
            at for at in range(len(boxes)) if shares[at] >= level and (at in free or boxes[at]["iscrowd"])
        ]
        near = [at for at in near if not ignored[at]] or near
        if near:
            best = max(near, key=lambda at: (shares[at], at))  # of equal ones the last
            free.discard(best)
            if not ignored[best]:
                yield one["score"], True
        elif least <= one["bbox"][2] * one["bbox"][3] <= most:
            yield one["score"], False


def by_the_book(truth, results, level, least=0, most=1e10, detections=100):
    """Mean over the classes of the average precision and of the recall at one overlap, step by step."""
    averages, recalls = [], []
    for category in truth["categories"]:
        pooled, total = [], 0
        for image in truth["images"]:
            boxes, found = (
                [
                    one
                    for one in entries
                    if (one["image_id"], one["category_id"]) == (image["id"], category["id"])
                ]
                for entries in (truth["annotations"], results)
            )
            total += sum(not box["iscrowd"] and least <= box["area"] <= most for box in boxes)
            found = sorted(found, key=lambda one: -one["score"])[:detections]
            pooled += matched(boxes, found, level, least, most)
        if total == 0:
            continue
        pooled.sort(key=lambda pair: -pair[0])
        hits = np.cumsum([correct for _, correct in pooled])
        curve = [(hit / total, hit / number) for number, hit in enumerate(hits, 1)]
        steps = [max([p for r, p in curve if r >= step], default=0) for step in np.linspace(0, 1, 101)]
        averages.append(np.mean(steps))
        recalls.append(curve[-1][0] if curve else 0)
    return np.mean(averages or [-1]), np.mean(recalls or [-1])


@pytest.mark.parametrize("seed", range(6))
def test_it_follows_the_published_steps(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.choice([16.0, 32.0, 60.0, 96.0, 120.0], (60, 2))
    boxes = np.hstack([rng.integers(0, 8, (60, 2)) * 25.0, sizes])
    annotations = [
        {
            "id": 10**15 + at,
            "image_id": 10**12 + at % 3,
            "category_id": int(rng.integers(1, 3)),
            "bbox": box.tolist(),
            "area": float(box[2] * box[3]),
            "iscrowd": int(rng.random() < 0.15),
        }
        for at, box in enumerate(boxes)
    ]
    results = [
        {key: one[key] for key in ("image_id", "category_id")}
        | {"bbox": [*(left + rng.integers(-4, 5, 2)), *sides], "score": int(rng.integers(0, 20)) / 20}
        for one in annotations * 2
        for left, sides in [(np.array(one["bbox"][:2]), one["bbox"][2:])]
    ]
    expected = {
        "images": [{"id": 10**12 + at} for at in range(4)],
        "annotations": annotations,
        "categories": [{"id": at, "name": str(at)} for at in (1, 2, 3)],
    }
    results = [results[at] for at in rng.permutation(len(results))]
    by_level = [by_the_book(expected, results, level) for level in LEVELS]
    parts = {"APs": (0, 32**2), "APm": (32**2, 96**2), "APl": (96**2, 1e10)}
    means = {
        "AP": np.mean([average for average, _ in by_level]),
        "AP50": by_level[0][0],
        "AP75": by_level[5][0],
        "AR100": np.mean([recall for _, recall in by_level]),
    }
    for name, sizes in parts.items():
        means[name] = np.mean([by_the_book(expected, results, level, *sizes)[0] for level in LEVELS])
    for most in (1, 10):
        few = [by_the_book(expected, results, level, detections=most)[1] for level in LEVELS]
        means[f"AR{most}"] = np.mean(few)
    assert coco_ap(expected, results) == pytest.approx(means, abs=1e-9)
    assert 0.05 < means["AP"] < means["AP50"] < 0.95


def truth(*annotations):
    """Return a truth with one image and class 3; an annotation is a box and whether it is a crowd."""
    entries = [
        {
            "id": number,
            "image_id": 7,
            "category_id": 3,
            "bbox": box,
            "iscrowd": crowd,
            "area": box[2] * box[3],
        }
        for number, (box, crowd) in enumerate(annotations, 1)
    ]
    categories = [{"id": 3, "name": "a"}, {"id": 90, "name": "b"}]
    return {"images": [{"id": 7}], "annotations": entries, "categories": categories}


def result(box, score, **changes):
    return {"image_id": 7, "category_id": 3, "bbox": box, "score": score} | changes


def test_a_medium_box_found_has_no_small_and_no_large_average():
    found = coco_ap(truth((BOX, 0)), [result(BOX, 0.9)])
    assert {name for name, value in found.items() if value == -1} == {"APs", "APl"}
    assert [value for value in found.values() if value != -1] == pytest.approx([1.0] * 7)


def test_an_overlap_of_0_775_is_enough_for_six_of_ten_thresholds():
    found = coco_ap(truth((BOX, 0)), [result([10, 10, 40, 31], 0.9)])
    assert (found["AP50"], found["AP75"]) == pytest.approx((1, 1))
    assert found["AP"] == pytest.approx(0.6)


def test_detections_in_a_crowd_count_nowhere():
    crowd = truth((BOX, 0), ([100, 100, 200, 200], 1))
    inside = [result([110, 110, 30, 30], 0.95), result([150, 150, 30, 30], 0.94)]
    assert coco_ap(crowd, [*inside, result(BOX, 0.9)])["AP"] == pytest.approx(1)


def test_nothing_found_is_zero_and_nothing_to_find_is_minus_one():
    assert coco_ap(truth((BOX, 0)), [])["AP"] == 0.0
    assert set(coco_ap(truth(), [result(BOX, 0.9)]).values()) == {-1.0}


def test_what_was_read_is_left_as_it_is_and_a_missing_area_is_the_boxs():
    expected, found = truth((BOX, 0)), [result(BOX, 0.9)]
    del expected["annotations"][0]["area"], expected["annotations"][0]["iscrowd"]
    before = json.dumps([expected, found])
    assert coco_ap(expected, found)["APm"] == pytest.approx(1)
    assert json.dumps([expected, found]) == before


def test_a_box_of_id_0_and_ids_that_are_there_twice_are_found_all_the_same():
    expected = truth((BOX, 0), ([100, 100, 40, 40], 0))
    for entry in expected["annotations"]:
        entry["id"] = 0
    assert coco_ap(expected, [result(BOX, 0.9), result([100, 100, 40, 40], 0.8)])["AP"] == pytest.approx(1)


def test_numbers_of_numpy_are_numbers():
    found = [result(np.array(BOX, np.float32), np.float32(0.9))]
    assert coco_ap(truth((BOX, 0)), found)["AP"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("expected", "found", "why"),
    [
        (
            truth((BOX, 0)),
            [result(BOX, float("nan"))],
            "the score of a detection is .*: give 1 finite number$",
        ),
        (truth((BOX, 0)), [result([0, 0, 1], 0.9)], "the bbox of a detection is .*: give 4 finite numbers"),
        (truth((BOX, 0)), [result("box", 0.9)], "the bbox of a detection is box"),
        (truth(([0, 0, 4, float("inf")], 0)), [], "the bbox of an annotation is"),
        (truth(), [result(BOX, 0.9, image_id=8)], "image 8, which the truth lacks"),
        (truth(), [{"image_id": 7}], "a detection lacks bbox"),
        (truth(), {"annotations": []}, "no list"),
        ({"images": []}, [], "no list of annotations"),
        ({**truth(), "annotations": [{"id": 1}]}, [], "an annotation lacks bbox"),
    ],
)
def test_what_is_no_coco_content_is_refused(expected, found, why):
    with pytest.raises(ValueError, match=why):
        coco_ap(expected, found)

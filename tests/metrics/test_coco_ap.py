"""COCO's average precision: reference values for real detections, and edge cases by hand."""

from __future__ import annotations

import json

import lacking
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


@pytest.mark.parametrize(
    ("expected", "found", "why"),
    [
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

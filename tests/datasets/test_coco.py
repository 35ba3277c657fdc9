"""COCO json: what is read, what is refused, and what `verify` finds."""

from __future__ import annotations

import json

import lacking
import numpy as np
import pytest
from datasets_support import card
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from kdbench.dataset_cards import Split
from kdbench.datasets import coco, hashed, linked
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.layout import items, missing
from kdbench.datasets.locate import prepare
from kdbench.datasets.verify import verify
from kdbench.errors import UserError
from kdbench.inline import InlineDataset

SIZE = (40, 30)
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": " cat "}]


def entry(number, image, box, category=3, **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, **more}


CONTENT = {
    "images": [
        {"id": 5, "file_name": "deep/er/a photo.png", "width": SIZE[0], "height": SIZE[1]},
        {"id": 2, "file_name": "b.png"},
        {"id": 9, "file_name": "Zoë.png", "width": SIZE[0], "height": SIZE[1]},
    ],
    "categories": CATEGORIES,
    "annotations": [
        entry(1, 5, [0, 0, 40, 30], area=700.5),
        entry(2, 5, [1.5, 2, 10, 0.5], 7),
        entry(3, 2, [4, 4, 20, 20], 7, iscrowd=1, segmentation={"counts": "", "size": [1, 1]}),
    ],
}
DATASET = card(
    "detection",
    metric="mAP",
    format="coco",
    image_suffix="",
    splits={name: (Split("", "images", f"{name}.json"),) for name in ("train", "test")},
)


@pytest.fixture
def folder(tmp_path):
    for image in CONTENT["images"]:
        path = tmp_path / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((SIZE[1], SIZE[0], 3), np.uint8)).save(path)
    write(tmp_path, CONTENT)
    (tmp_path / "train.json").write_text(
        json.dumps({**CONTENT, "images": CONTENT["images"][:1], "annotations": []})
    )
    return tmp_path


def write(folder, content):
    (folder / "test.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_classes_are_the_categories_by_id(folder):
    assert coco.classes_of(folder / "test.json") == ("cat", "dog")


def test_names_keep_their_folders_and_their_order(folder):
    found = items(DATASET, "test", folder)
    assert [item.name for item in found] == ["deep/er/a photo.png", "b.png", "Zoë.png"]
    assert found[0].image == folder / "images" / "deep" / "er" / "a photo.png"
    assert all(item.annotation == folder / "test.json" for item in found)
    assert missing(DATASET, folder) == []


def test_boxes_count_from_zero_crowds_are_ignored_and_thin_ones_skipped(folder):
    first = coco.annotation_of(folder / "test.json", "deep/er/a photo.png")
    assert (first.size, first.first) == (SIZE, 0)
    assert [(one.name, one.box, one.ignored, one.skipped) for one in first.objects] == [
        ("cat", (0, 0, 40, 30), False, False),
        ("dog", (1.5, 2, 11.5, 2.5), False, True),
    ]
    second = coco.annotation_of(folder / "test.json", "b.png")
    assert second.size is None
    assert second.objects[0].ignored
    assert coco.annotation_of(folder / "test.json", "Zoë.png").objects == ()


def test_the_truth_keeps_the_areas_and_the_positions_of_the_classes(folder):
    path = folder / "test.json"
    assert coco.truth_of(path, "deep/er/a photo.png", ("dog", "cat")) == [
        {"bbox": [0, 0, 40, 30], "area": 700.5, "iscrowd": 0, "category_id": 1},
        {"bbox": [1.5, 2, 10, 0.5], "area": 5.0, "iscrowd": 0, "category_id": 0},
    ]
    assert coco.truth_of(path, "b.png", ("cat",)) == []


def test_a_file_that_changed_is_read_again(folder):
    assert len(coco.names_of(folder / "test.json")) == 3
    write(folder, {**CONTENT, "images": CONTENT["images"][:2]})
    assert len(coco.names_of(folder / "test.json")) == 2


def test_the_classes_of_a_benchmark_file_are_read_again_only_where_the_json_has_changed(
    folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashed, "SETTLED", -60.0)
    part = {"images": "images", "annotations": "test.json"}
    declared = InlineDataset(name="own", format="coco", train=part, test=part)
    assert declared.card(folder).classes == ("cat", "dog")
    with monkeypatch.context() as reading:
        reading.setattr(coco, "read", None)
        assert declared.card(folder).classes == ("cat", "dog")
    write(folder, changed("categories", name="wolf"))
    assert declared.card(folder).classes == ("cat", "wolf")


def changed(part, **changes):
    """The content with one entry of a part changed."""
    first, *others = CONTENT[part]
    return {**CONTENT, part: [{**first, **changes}, *others]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"images": [', "no COCO json (Expecting value"),
        ("[]", "it has no list 'images'"),
        ({**CONTENT, "annotations": {"1": {}}}, "it has no list 'annotations'"),
        (changed("images", id="5"), "the id of an image is '5'"),
        (changed("images", file_name="../b.png"), "leaves the folder of images: '../b.png'"),
        (changed("images", file_name="b.png"), "two of its image entries have the same id or name"),
        (changed("categories", name=""), "the category 7 has no name"),
        (changed("annotations", image_id=99), "the image_id of annotation 1 is 99, which is not in the file"),
        (changed("annotations", category_id=1), "the category_id of annotation 1 is 1"),
        (
            changed("annotations", bbox=[0, 0, 5]),
            "the bbox of annotation 1 is [0, 0, 5]: give x, y, width and",
        ),
        (changed("annotations", bbox=[0, 0, None, 5]), "the bbox of annotation 1"),
        (changed("annotations", bbox=[0, 0, 5, 5, None]), "give x, y, width and height"),
        (changed("annotations", bbox=[0, float("nan"), 5, 5]), "the bbox of annotation 1"),
        (changed("annotations", area=-(10**400)), "the area of annotation 1"),
        (changed("annotations", bbox=[0, 0, 10**400, 5]), "the bbox of annotation 1"),
        (changed("annotations", bbox=[0, 0, float("inf"), 5]), "the bbox of annotation 1"),
        (changed("annotations", iscrowd="0"), "the iscrowd of annotation 1 is '0': give 0 or 1"),
        (changed("annotations", iscrowd=2), "the iscrowd of annotation 1 is 2: give 0 or 1"),
        (changed("annotations", area="large"), "the area of annotation 1 is 'large', no number"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name(folder, content, told):
    write(folder, content)
    with pytest.raises(UserError) as refused:
        items(DATASET, "test", folder)
    assert str(refused.value).startswith(f"the list of images {folder / 'test.json'} cannot be used: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [(problem.file, told in problem.what) for problem in missing(DATASET, folder)] == [
        ("test.json", True)
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 700), junk=st.text('0-5{}[],:"eE.x', max_size=3))
def test_a_truncated_or_garbled_file_is_read_or_refused_in_one_line(folder, cut, junk):
    text = json.dumps(CONTENT)
    write(folder, text[:cut] + junk + text[cut + 1 :] if junk else text[:cut])
    found = missing(DATASET, folder)
    assert all("\n" not in str(problem) for problem in found)
    if not found:
        assert len(items(DATASET, "test", folder)) >= 1


def test_verify_counts_and_names_the_image(folder):
    write(folder, {**CONTENT, "annotations": [*CONTENT["annotations"], entry(4, 9, [30, 20, 20, 5], 7)]})
    report = verify(DATASET, folder, pixels=False)
    assert (report.splits["test"].images, report.splits["test"].boxes) == (3, 4)
    assert report.splits["test"].classes == {"cat": 1, "dog": 2}
    assert "test.json: Zoë.png: object 1 (dog): box (30, 20, 50, 25) is outside the image of 40 x 30" in map(
        str, report.errors
    )


def test_boxes_without_area_are_nothing_to_learn(folder):
    """As some converters write them: the official tools leave them out, whatever the box is."""
    boxes = [{**one, "area": 0, "iscrowd": 0, "bbox": [1, 1, 9, 9]} for one in CONTENT["annotations"]]
    write(folder, {**CONTENT, "annotations": boxes})
    report = verify(DATASET, folder, pixels=False)
    why = "it has no area, or is under a pixel wide or high, and is skipped"
    assert str(report.warnings[0]) == f"test.json: deep/er/a photo.png: object 1 (cat): {why}"
    assert "test.json and all others of test: no image has a box" in map(str, report.errors)


def test_verify_names_an_image_that_is_missing_or_of_another_class(folder):
    (folder / "images" / "b.png").unlink()
    write(folder, changed("categories", name="wolf"))
    found = [str(problem) for problem in verify(DATASET, folder, pixels=False).errors]
    assert "images/b.png: missing" in found
    assert "test.json: deep/er/a photo.png: object 2 (wolf): unknown class 'wolf'" in found


def test_the_fingerprint_is_of_the_json_and_of_the_images(folder):
    before = fingerprint(DATASET, folder)
    assert fingerprint(DATASET, folder) == before
    write(folder, changed("annotations", iscrowd=1))
    assert fingerprint(DATASET, folder) != before


def test_the_published_layout_is_linked_and_without_errors(shared_data, tmp_path):
    """Thirty of the photos, under COCO's own names."""
    source = shared_data / "tiny_coco"
    if not source.is_dir():
        lacking.skip("data", "no tiny_coco in the folder that KDBENCH_TEST_DATA names")
    folder = prepare(linked.coco, tmp_path, source)
    report = verify(linked.coco, folder, pixels=False)
    assert report.errors == []
    assert (report.splits["train"].boxes, report.splits["test"].boxes) == (237, 181)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": "yolo"}, "the format of 'boxes' is 'yolo': give voc or coco"),
        ({"metric": "AP50_11point"}, "the metric of 'boxes' is 'AP50_11point': give AP50 or mAP"),
        ({"format": "voc"}, "the metric of 'boxes' is 'mAP': give AP50 or AP50_11point"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(changes, told):
    fields = {"metric": "mAP", "format": "coco"} | changes
    with pytest.raises(ValueError, match=told):
        card("detection", **fields)

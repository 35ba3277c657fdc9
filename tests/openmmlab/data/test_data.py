"""Boxes, masks and pipelines as they reach a model, and what is refused before a run starts."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from kdbench.datasets import camvid, digits
from kdbench.datasets.digits_files import STAMP
from kdbench.datasets.pictures import image_size
from kdbench.errors import UserError
from kdbench.specs import Schedule

CLASSES = digits.DIGITS
SCHEDULE = Schedule(iterations=4, batch_size=2, lr=0.01, scale=(40, 20))


def node(name, box, difficult="0"):
    keys = ("xmin", "ymin", "xmax", "ymax")
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def scene(folder, xml, size=(20, 10)):
    """A dataset folder with one image in both splits."""
    for part in (
        "Annotations",
        "JPEGImages",
        "SegmentationClass",
        "ImageSets/Main",
        "ImageSets/Segmentation",
    ):
        (folder / part).mkdir(parents=True)
    for split in ("train", "test"):
        for part in ("Main", "Segmentation"):
            (folder / "ImageSets" / part / f"{split}.txt").write_text("only\n")
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "JPEGImages" / "only.png")
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    mask[2:5, 3:9], mask[0] = 4, 255
    Image.fromarray(mask).save(folder / "SegmentationClass" / "only.png")
    (folder / "Annotations" / "only.xml").write_text(f"<annotation>{xml}</annotation>")
    return pixels, mask


def loaded(dataset, folder, split, schedule=SCHEDULE):
    from kdbench.openmmlab.data.loaders import evaluation_pipeline, images_of, training_pipeline

    pipeline = (training_pipeline if split == "train" else evaluation_pipeline)(dataset, schedule)
    return images_of(dataset, folder, split, pipeline)


XML = node("3", (1, 1, 20, 10)) + node(" 7 ", (5, 2, 9, 8), "1") + node("1", (4, 4, 4, 9))


def test_boxes_count_from_zero_and_are_resized_with_the_image(bench, tmp_path):
    scene(tmp_path / "d", XML)
    packed = loaded(digits.detection, tmp_path / "d", "train")[0]
    assert packed["inputs"].shape == (3, 20, 40)
    sample = packed["data_samples"]
    assert sample.gt_instances.bboxes.tensor.tolist() == [[0.0, 0.0, 38.0, 18.0]]
    assert sample.gt_instances.labels.tolist() == [3]
    assert sample.ignored_instances.bboxes.tensor.tolist() == [[8.0, 2.0, 16.0, 14.0]]
    assert sample.ignored_instances.labels.tolist() == [7]


def test_the_truth_of_an_evaluation_keeps_its_own_size(bench, tmp_path):
    scene(tmp_path / "d", XML)
    sample = loaded(digits.detection, tmp_path / "d", "test")[0]["data_samples"]
    assert sample.gt_instances.bboxes.tensor.tolist() == [[0.0, 0.0, 19.0, 9.0]]
    assert sample.scale_factor == (2.0, 2.0)
    assert sample.ori_shape == (10, 20)


def test_masks_are_resized_without_mixing_classes(bench, tmp_path):
    _, mask = scene(tmp_path / "d", "")
    trained = loaded(digits.segmentation, tmp_path / "d", "train")[0]
    seen = trained["data_samples"].gt_sem_seg.data[0]
    assert seen.shape == (20, 40)
    assert torch.equal(seen[::2, ::2], torch.from_numpy(mask).long())
    judged = loaded(digits.segmentation, tmp_path / "d", "test")[0]
    assert torch.equal(judged["data_samples"].gt_sem_seg.data[0], torch.from_numpy(mask).long())
    assert judged["inputs"].shape == (3, 20, 40)


def test_a_mask_is_mapped_and_a_bad_one_is_named_as_it_is_loaded(bench, tmp_path):
    _, mask = scene(tmp_path / "d", "")
    table = dict(enumerate(digits.segmentation.classes, 1)) | {0: None, 4: digits.segmentation.classes[0]}
    table[0] = digits.segmentation.classes[3]
    card = replace(digits.segmentation, mask_values=table)
    seen = loaded(card, tmp_path / "d", "test")[0]["data_samples"].gt_sem_seg.data[0].numpy()
    assert np.array_equal(seen, np.select([mask == 0, mask == 4], [3, 0], 255))
    Image.fromarray(np.full((10, 20), 99, np.uint8)).save(tmp_path / "d" / "SegmentationClass" / "only.png")
    with pytest.raises(
        UserError, match=r"only\.png: has the value 99, which is no class\. `kdbench data verify`"
    ):
        loaded(card, tmp_path / "d", "test")[0]


def test_annotations_are_the_same_whether_they_are_packed_or_not(bench, tmp_path, monkeypatch):
    scene(tmp_path / "d", XML)
    plain = loaded(digits.detection, tmp_path / "d", "test")
    monkeypatch.setattr("kdbench.openmmlab.data.packed.LARGE", 1)
    packed = loaded(digits.detection, tmp_path / "d", "test")
    assert (len(plain), plain.serialize_data, len(packed), packed.serialize_data) == (1, False, 1, True)
    assert plain.get_data_info(0) == packed.get_data_info(0)
    assert torch.equal(plain[0]["inputs"], packed[0]["inputs"])


@pytest.mark.parametrize("card", [digits.detection, digits.segmentation], ids=["boxes", "masks"])
def test_packed_annotations_are_kept_while_no_file_changes(bench, tmp_path, monkeypatch, card):
    from kdbench.datasets import checked
    from kdbench.openmmlab.data.sampling import sizes_of

    folder, schedule = tmp_path / "d", SCHEDULE.model_copy(update={"scale": (40, 40), "keep_ratio": True})
    scene(folder, XML)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "SETTLED", -60.0)
    monkeypatch.setattr("kdbench.openmmlab.data.packed.LARGE", 1)
    checked.keep(card, folder, checked.stamp_of(card, folder), checked.Checked("f" * 64, []))
    first = loaded(card, folder, "train", schedule)
    with monkeypatch.context() as reading:
        reading.setattr("kdbench.openmmlab.data.loaders.items", None)
        second = loaded(card, folder, "train", schedule)
    assert (len(second), second.get_data_info(0)) == (1, first.get_data_info(0))
    assert sizes_of(first, schedule) == sizes_of(second, schedule) == [(40, 20)]
    assert torch.equal(first[0]["inputs"], second[0]["inputs"])
    annotation = (
        folder / "Annotations" / "only.xml" if card.task == "detection" else folder / "SegmentationClass"
    )
    annotation.touch()
    monkeypatch.setattr("kdbench.openmmlab.data.loaders.items", None)
    with pytest.raises(TypeError):
        loaded(card, folder, "train", schedule)


def test_without_resizing_pixels_are_those_of_the_file(bench, tmp_path):
    pixels, _ = scene(tmp_path / "d", XML)
    schedule = SCHEDULE.model_copy(update={"scale": (20, 10)})
    packed = loaded(digits.detection, tmp_path / "d", "train", schedule)[0]
    assert torch.equal(packed["inputs"], torch.from_numpy(pixels[:, :, ::-1].copy()).permute(2, 0, 1))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        *((mode, "PNG") for mode in ("1", "L", "LA", "P", "RGBA", "I;16")),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
    ],
)
def test_images_of_any_mode_are_loaded_in_colour(bench, tmp_path, mode, kind):
    """As Pillow shows them, but for 16 bits, of which the upper 8 are kept."""
    pixels, _ = scene(tmp_path / "d", XML)
    if mode == "I;16":
        image = Image.fromarray((pixels[..., 0].astype(np.uint16) << 8) + 77)
        shown = np.repeat(pixels[..., :1], 3, axis=2)
    else:
        smooth = np.add.outer(np.arange(10) * 9, np.arange(20) * 4).astype(np.uint8)
        image = Image.fromarray(np.stack([smooth, smooth // 2, 255 - smooth], 2)).convert(mode)
        shown = None
    image.save(tmp_path / "d" / "JPEGImages" / "only.png", kind)
    if shown is None:
        shown = np.asarray(Image.open(tmp_path / "d" / "JPEGImages" / "only.png").convert("RGB"))
    schedule = SCHEDULE.model_copy(update={"scale": (20, 10)})
    packed = loaded(digits.detection, tmp_path / "d", "train", schedule)[0]["inputs"]
    difference = packed.numpy()[::-1].transpose(1, 2, 0).astype(int) - shown
    assert abs(difference).max() <= (0 if kind == "PNG" else 6)
    assert image_size(tmp_path / "d" / "JPEGImages" / "only.png", pixels=True) == (20, 10)


def test_the_ratio_is_kept_where_the_schedule_says_so(bench, tmp_path):
    scene(tmp_path / "d", XML)
    schedule = SCHEDULE.model_copy(update={"scale": (40, 40), "keep_ratio": True})
    assert loaded(digits.detection, tmp_path / "d", "train", schedule)[0]["inputs"].shape == (3, 20, 40)


def test_an_image_without_objects_is_trained_on_and_judged(bench, tmp_path):
    scene(tmp_path / "d", "")
    for split in ("train", "test"):
        images = loaded(digits.detection, tmp_path / "d", split)
        assert len(images) == 1
        assert len(images[0]["data_samples"].gt_instances) == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["LoadImageFromFile", "LoadAnnotations", "Resize", "Pack"]),
        ({"flip": 0.5}, ["LoadImageFromFile", "LoadAnnotations", "Resize", "RandomFlip", "Pack"]),
        (
            {"resize_range": (0.5, 2.0), "crop": (8, 8), "flip": 0.5},
            ["LoadImageFromFile", "LoadAnnotations", "RandomResize", "RandomCrop", "RandomFlip", "Pack"],
        ),
    ],
)
def test_the_training_pipeline_is_the_schedules(changes, expected):
    from kdbench.openmmlab.data.loaders import training_pipeline

    schedule = SCHEDULE.model_copy(update=changes)
    for dataset, pack in ((digits.detection, "PackDetInputs"), (camvid.card, "PackSegInputs")):
        steps = training_pipeline(dataset, schedule)
        found = [step["type"].replace("KdbenchLoadMask", "LoadAnnotations") for step in steps]
        assert found == [*expected[:-1], pack]
    crops = [step for step in steps if step["type"] == "RandomCrop"]
    assert all(step["ignore_index"] == 11 for step in crops)


def test_a_random_crop_of_masks_is_as_large_as_it_says(bench, tmp_path):
    scene(tmp_path / "d", "", size=(40, 40))
    schedule = Schedule(
        iterations=4, batch_size=2, lr=0.01, scale=(40, 40), resize_range=(0.9, 2.0), crop=(32, 24)
    )
    packed = loaded(digits.segmentation, tmp_path / "d", "train", schedule)[0]
    assert packed["inputs"].shape == (3, 32, 24)
    assert packed["data_samples"].gt_sem_seg.data.shape == (1, 32, 24)


@pytest.fixture
def planned(bench, tmp_path):
    """Plans a run on a copy of the scenes that a test damaged, and gives what it was refused with."""
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request

    folder = tmp_path / "root" / "digits"
    shutil.copytree(bench.folder, folder)
    (folder / "scenes.json").write_text(json.dumps(STAMP))

    def refused(dataset="digits"):
        with pytest.raises(UserError) as caught:
            plan(Request("hinton", dataset, data_root=tmp_path / "root"))
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return folder, refused


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("Annotations/train_0002.xml", "<annotation>", r"Annotations/train_0002.xml: broken XML"),
        (
            "Annotations/test_0001.xml",
            f"<annotation>{node('x', (1, 1, 9, 9))}</annotation>",
            "unknown class 'x'",
        ),
        (
            "Annotations/test_0001.xml",
            f"<annotation>{node('1', (1, 1, 999, 9))}</annotation>",
            "outside the image",
        ),
        ("JPEGImages/train_0000.png", "", "JPEGImages/train_0000.png: unreadable"),
    ],
)
def test_malformed_files_are_refused_before_a_run(planned, file, content, told):
    folder, refused = planned
    (folder / file).write_text(content)
    line = refused()
    assert f"dataset 'digits' in {folder} cannot be used (" in line
    assert told in line
    assert " more)" not in line
    assert f"`kdbench data verify digits --root {folder.parent}` lists everything." in line


def test_the_first_of_several_problems_is_told_and_their_number(planned):
    folder, refused = planned
    for name in ("train_0001", "train_0003", "test_0000"):
        (folder / "SegmentationClass" / f"{name}.png").write_bytes(b"no image")
    line = refused("digits-seg")
    assert "(SegmentationClass/train_0001.png: unreadable" in line
    assert "; and 2 more): correct these files" in line

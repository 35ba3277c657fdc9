"""What a mask's values stand for: numbers, palettes, colours, 8 and 16 bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from datasets_support import SIZE, card, published
from PIL import Image

from kdbench.dataset_cards import Dataset
from kdbench.datasets import ade20k
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.masks import read_indices
from kdbench.datasets.usable import check_files
from kdbench.datasets.verify import verify
from kdbench.errors import UserError
from kdbench.inline import InlineDataset

Small = tuple[Dataset, Path]
NUMBERS = {0: None, 7: "cat", 33: "dog", 40000: "cat"}
COLOURS = {"#804080": "cat", "#F423E8": "dog", "#000000": None}


def drawn(values: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(values, np.uint16 if max(map(max, values)) > 255 else np.uint8))


def painted(*colours: tuple[int, int, int], mode: str = "RGB") -> Image.Image:
    return Image.fromarray(np.array([colours], np.uint8)).convert(mode)


ROAD, WALK, VOID = (0x80, 0x40, 0x80), (0xF4, 0x23, 0xE8), (0, 0, 0)
PALETTE = painted(ROAD, WALK, VOID).quantize(4)


@pytest.mark.parametrize(
    ("image", "values", "expected"),
    [
        (drawn([[0, 1, 255]]), {}, [[0, 1, 255]]),
        (drawn([[0, 7, 33, 255]]), NUMBERS, [[255, 0, 1, 255]]),
        (drawn([[40000, 33, 0, 255]]), NUMBERS, [[0, 1, 255, 255]]),
        (drawn([[0, 255]]), {0: "cat", 255: "dog"}, [[0, 1]]),
        (Image.fromarray(np.array([[False, True]])), {}, [[0, 1]]),
        (painted(ROAD, WALK, VOID), COLOURS, [[0, 1, 255]]),
        (painted(ROAD, WALK, VOID, mode="RGBA"), COLOURS, [[0, 1, 255]]),
        (PALETTE, COLOURS, [[0, 1, 255]]),
        (drawn([[0, 255]]), {"#000000": "cat", "#ffffff": "dog"}, [[0, 1]]),
    ],
)
def test_a_mask_is_read_as_class_indices(
    image: Image.Image, values: dict[int | str, str | None], expected: list[list[int]], tmp_path: Path
) -> None:
    image.save(tmp_path / "mask.png")
    found = read_indices(tmp_path / "mask.png", card("segmentation", mask_values=values))
    assert (found.dtype, found.tolist()) == (np.uint8, expected)


@pytest.mark.parametrize(
    ("image", "values", "told"),
    [
        (drawn([[0, 2]]), {}, "has the value 2, which is no class"),
        (drawn([[0, 256]]), {}, "has the value 256,"),
        (drawn([[1]]), NUMBERS, "has the value 1,"),
        (painted((1, 2, 3)), COLOURS, "has the value #010203, which is no class"),
        (painted((0, 0, 255)), COLOURS, "has the value #0000ff,"),
        (painted(ROAD), NUMBERS, "its pixels are RGB, not one class number: give the classes of its colours"),
        (drawn([[256]]), COLOURS, "is not a mask of 8-bit colours: its pixels are I;16"),
    ],
)
def test_a_value_that_stands_for_nothing_is_refused(
    image: Image.Image, values: dict[int | str, str | None], told: str, tmp_path: Path
) -> None:
    image.save(tmp_path / "mask.png")
    with pytest.raises(ValueError, match=told):
        read_indices(tmp_path / "mask.png", card("segmentation", mask_values=values))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({0: "cat", "#000000": "dog"}, "numbers from 0 to 65535, or colours"),
        ({0: "cat", 65536: "dog"}, "numbers from 0 to 65535"),
        ({"red": "cat", "#00ff00": "dog"}, "colours as '#rrggbb'"),
        ({0: "cat"}, "'dog' must be both a class and the class of a value"),
        ({0: "cat", 1: "dog", 2: "cow"}, "'cow' must be"),
    ],
)
def test_a_table_that_does_not_fit_the_classes_is_refused(
    values: dict[int | str, str | None], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        card("segmentation", mask_values=values)


def recoloured(masks: Small) -> Small:
    """The small dataset with colours for its classes, and for its ignored pixels."""
    for path in (masks[1] / "labels").iterdir():
        table = np.zeros((256, 3), np.uint8)
        table[0], table[1], table[255] = ROAD, WALK, VOID
        Image.fromarray(table[np.asarray(Image.open(path))]).save(path)
    return replace(masks[0], mask_values=COLOURS), masks[1]


def test_coloured_masks_are_counted_like_numbered_ones(masks: Small) -> None:
    before = verify(*masks, pixels=True).splits
    coloured = recoloured(masks)
    report = verify(*coloured, pixels=True)
    assert (report.errors, report.warnings, report.splits) == ([], [], before)
    assert check_files(*coloured, None) == []
    assert next(str(one) for one in verify(*masks, pixels=False).errors).endswith(
        "labels/a.png: is not a mask: its pixels are RGB, not one class number: give the classes of its colours "
        "as mask_values"
    )


def test_each_wrong_file_is_named(masks: Small) -> None:
    coloured = recoloured(masks)
    pixels = np.asarray(Image.open(masks[1] / "labels" / "b.png")).copy()
    pixels[0, :3] = 1, 2, 3
    Image.fromarray(pixels).save(masks[1] / "labels" / "b.png")
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1] * 4, SIZE[0] * 4, 3), np.uint8)
    Image.fromarray(noise).save(masks[1] / "labels" / "e.png")
    assert [str(one) for one in verify(*coloured, pixels=True).errors] == [
        "labels/b.png: #010203 in 3 pixels is not in mask_values",
        "labels/e.png: has 5120 different values: a mask has one for each class (was it a JPEG?)",
    ]


def test_many_unknown_values_are_a_few_lines(masks: Small) -> None:
    Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1])).save(
        masks[1] / "labels" / "a.png"
    )
    found = [str(one) for one in verify(*masks, pixels=True).errors]
    assert (len(found), found[0]) == (7, "labels/a.png: unknown class 2 in 1 pixels")
    assert found[-1] == "labels/a.png: 311 more values that are no class"


def test_the_table_is_part_of_the_identity_where_there_is_one(masks: Small) -> None:
    plain, folder = masks
    tables = [{}, {0: "cat", 1: "dog"}, {1: "cat", 0: "dog"}]
    found = [fingerprint(replace(plain, mask_values=table), folder) for table in tables]
    assert len(set(found)) == 3
    assert found[0] == fingerprint(plain, folder)


PARTS = "train: {images: a, annotations: b}\ntest: {images: c, annotations: d}\nname: own\nformat: masks\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('mask_values: {"#804080": road, "#f423e8": walk, "#000000": null}', ("road", "walk")),
        ("mask_values: {7: road, 0: null, 8: walk, 9: road}", ("road", "walk")),
        ("classes: [walk, road]\nmask_values: {7: road, 8: walk}", ("walk", "road")),
        ("classes: [road, walk]\nreduce_zero_label: true", ("road", "walk")),
    ],
)
def test_a_benchmark_file_maps_values(text: str, expected: tuple[str, ...], tmp_path: Path) -> None:
    content = yaml.safe_load(PARTS + text)
    made = InlineDataset.model_validate(content).card(tmp_path)
    assert made.classes == expected
    given = content.get("mask_values", {0: None, 1: "road", 2: "walk"})
    assert made.mask_values == given


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("reduce_zero_label: true", "'own' has reduce_zero_label: give classes, and no mask_values"),
        ("classes: [a, b]\nreduce_zero_label: true\nmask_values: {0: a, 1: b}", "and no mask_values"),
        (
            "mask_values: {0: road, sky: walk}",
            "mask_values of 'own': give numbers from 0 to 65535, or colours",
        ),
        (
            "classes: [road, walk]\nmask_values: {0: road}",
            "'walk' must be both a class and the class of a value",
        ),
    ],
)
def test_a_benchmark_file_with_a_wrong_table_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=told):
        InlineDataset.model_validate(yaml.safe_load(PARTS + text)).card(tmp_path)


def test_ade20k_as_published(shared_data: Path) -> None:
    folder = published(shared_data / "ade20k-3")
    validation = ade20k.card.splits["test"]
    card = replace(ade20k.card, splits={"train": validation, "test": validation})
    report = verify(card, folder, pixels=True)
    assert [one for one in report.errors if "named in train" not in one.what] == []
    assert report.splits["test"].images == 3
    masks = [np.asarray(Image.open(path)) for path in sorted((folder / "annotations").rglob("*.png"))]
    for name, value in (("wall", 1), ("sky", 3), ("ignored", 0)):
        assert report.splits["test"].classes[name] == sum((mask == value).sum() for mask in masks)

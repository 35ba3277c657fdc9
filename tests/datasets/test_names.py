"""Lists of names as other tools write them: blanks, folders, Unicode forms, other endings, repetitions."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from datasets_support import annotation

from kdbench.dataset_cards import Dataset
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.layout import items, missing
from kdbench.datasets.verify import verify

Small = tuple[Dataset, Path]


def renamed(small: Small, name: str, line: str | None = None) -> Path:
    """The small dataset with another name for its image ``b``, which the list calls ``line``."""
    folder = small[1]
    for part, suffix in (("images", ".png"), ("labels", ".xml")):
        target = folder / part / f"{name}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        (folder / part / f"b{suffix}").rename(target)
    (folder / "train.txt").write_text(f"a\n{name if line is None else line}\nc\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("line 3 (8)", "line 3 (8)"),
        ("line 3 (8)", "line 3 (8).png"),
        ("line 3 (8)", "some/where/line 3 (8).png"),
        ("b", "b 1"),
        ("b", "/data/set/images/b.png /data/set/labels/b.png"),
        ("aachen/b_000019", "aachen/b_000019"),
        ("aachen/b_000019", "/cityscapes/train/aachen/b_000019.png 1"),
        ("aachen/b 19", "train\\aachen\\b 19.png"),
        ("b", "../images/b.png"),
    ],
)
def test_a_line_means_the_image_that_is_there(boxes: Small, name: str, line: str) -> None:
    folder = renamed(boxes, name, line)
    assert [item.name for item in items(boxes[0], "train", folder)] == ["a", name, "c"]
    assert verify(boxes[0], folder, pixels=True).errors == []


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_unicode_forms_are_the_same_name(boxes: Small, listed: str, stored: str) -> None:
    name = "Prüfung_é"
    folder = renamed(boxes, unicodedata.normalize(stored, name), unicodedata.normalize(listed, name))
    assert verify(boxes[0], folder, pixels=True).errors == []
    assert len(fingerprint(boxes[0], folder)) == 64


@pytest.mark.parametrize(
    ("present", "told"),
    [
        ("b.PNG", "images/b.png: missing, but there is b.PNG: the ending must be .png"),
        ("b.jpeg", "images/b.png: missing, but there is b.jpeg: the ending must be .png"),
        ("b.png.jpg", "images/b.png: missing, but there is b.png.jpg: the ending must be .png"),
        ("bb.jpg", "images/b.png: missing"),
    ],
)
def test_a_missing_image_with_another_ending_is_named(boxes: Small, present: str, told: str) -> None:
    (boxes[1] / "images" / "b.png").rename(boxes[1] / "images" / present)
    assert [str(problem) for problem in missing(*boxes)] == [told]


def test_endings_longer_than_a_suffix(masks: Small) -> None:
    dataset = replace(masks[0], image_suffix="_left.png", mask_suffix="_ids.png")
    for part, suffix in (("images", "_left.png"), ("labels", "_ids.png")):
        for path in (masks[1] / part).iterdir():
            path.rename(path.with_name(path.stem + suffix))
    assert missing(dataset, masks[1]) == []
    (masks[1] / "images" / "b_left.png").rename(masks[1] / "images" / "b_left.jpg")
    told = "images/b_left.png: missing, but there is b_left.jpg: the ending must be _left.png"
    assert [str(problem) for problem in missing(dataset, masks[1])] == [told]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
def test_a_list_in_another_encoding_is_told_once(boxes: Small, encoding: str) -> None:
    (boxes[1] / "train.txt").write_bytes("a\nb\nä\n".encode(encoding))
    (problem,) = missing(*boxes)
    if encoding == "utf-16-be":
        assert str(problem).startswith("train.txt: ")
    else:
        assert str(problem) == "train.txt: is not a list of names in UTF-8: save it as UTF-8"


def test_an_image_may_be_repeated_in_training_alone(boxes: Small) -> None:
    (boxes[1] / "train.txt").write_text("a\nb\nb\nc\n")
    report = verify(*boxes, pixels=True)
    assert report.errors == []
    assert list(map(str, report.warnings)) == [
        "images/b.png: named twice in train, which learns it twice as often"
    ]
    assert report.splits["train"].images == 4


def test_splits_share_no_image(boxes: Small) -> None:
    dataset = replace(boxes[0], splits={**boxes[0].splits, "val": boxes[0].splits["test"]})
    told = [str(problem) for problem in verify(dataset, boxes[1], pixels=True).errors]
    assert told == [f"images/{name}.png: named in test and in val: splits share no image" for name in "de"]


@pytest.mark.parametrize(
    ("word", "difficult", "warned"),
    [
        ("Unspecified", False, "object 1 (cat): difficult is 'Unspecified', which counts as 0"),
        ("-1", False, "object 1 (cat): difficult is '-1', which counts as 0"),
        ("True", True, None),
        ("no", False, None),
        (" 1 ", True, None),
        ("2", True, None),
        ("", False, None),
    ],
)
def test_words_for_difficult(boxes: Small, word: str, difficult: bool, warned: str | None) -> None:
    from kdbench.datasets.boxes import read_annotation

    text = annotation(("cat", (1, 1, 9, 9)), ("dog", (2, 2, 6, 6)))
    text = text.replace("</name>", f"</name><difficult>{word}</difficult>", 1)
    (boxes[1] / "labels" / "b.xml").write_text(text)
    report = verify(*boxes, pixels=True)
    assert report.errors == []
    assert [problem.what for problem in report.warnings] == ([] if warned is None else [warned])
    assert [entry.ignored for entry in read_annotation(text.encode()).objects] == [difficult, False]

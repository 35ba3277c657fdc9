"""Which images options are tuned on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from datasets_support import card, write_images
from hypothesis import given
from hypothesis import strategies as st

from kdbench.dataset_cards import Dataset
from kdbench.datasets import camvid, digits, small
from kdbench.datasets.digits_files import COUNTS
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.holdout import described, for_tuning, held_out
from kdbench.datasets.layout import items
from kdbench.datasets.verify import verify
from kdbench.errors import UserError


def images(dataset: Dataset, split: str, folder: Path) -> set[Path]:
    return {item.image for item in items(dataset, split, folder)}


def disjoint(sets: Iterable[set[Path]]) -> bool:
    parts = list(sets)
    return len(set().union(*parts)) == sum(map(len, parts))


def published(dataset: Dataset, data: Path) -> Path:
    return data / {"bccd": "BCCD", "camvid": "CamVid"}[dataset.name]


@pytest.mark.parametrize(
    ("dataset", "counts"),
    [(camvid.card, (367, 101, 233)), (small.bccd, (205, 87, 72))],
    ids=["camvid", "bccd"],
)
def test_a_published_validation_split_is_taken(dataset, counts, shared_data):
    folder, tuning = published(dataset, shared_data), for_tuning(dataset)
    parts = images(tuning, "train", folder), images(tuning, "test", folder), images(dataset, "test", folder)
    assert tuple(map(len, parts)) == counts
    assert disjoint(parts)
    assert parts[:2] == (images(dataset, "train", folder), images(dataset, "val", folder))
    assert described(dataset) == "its split val"


@pytest.fixture
def digits_lists(tmp_path):
    """The lists of the digits' scenes, without the scenes."""
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for split, count in COUNTS.items():
        lines = "".join(f"{split}_{number:04d}\n" for number in range(count))
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text(lines)
    return tmp_path


def test_without_one_a_fifth_of_the_training_images_is_held_out(digits_lists):
    dataset, tuning = digits.detection, for_tuning(digits.detection)
    train, validation = (images(tuning, split, digits_lists) for split in ("train", "test"))
    assert (len(train), len(validation)) == (960, 240)
    assert train | validation == images(dataset, "train", digits_lists)
    assert disjoint([train, validation, images(dataset, "test", digits_lists)])
    assert sorted(path.stem for path in validation)[:6] == [
        f"train_{number:04d}" for number in (5, 11, 12, 13, 14, 16)
    ], "as sha256sum says"


def test_the_tuning_split_is_another_dataset(tmp_path):
    write_images(tmp_path)
    dataset = card("segmentation")
    tuning = for_tuning(dataset)
    assert tuning.name == "masks-tuning"
    assert set(tuning.splits) == {"train", "test"}
    names = [item.name for split in ("train", "test") for item in items(tuning, split, tmp_path)]
    assert sorted(names) == ["a", "b", "c"], "the test images d and e are in no split of it"


def test_its_content_is_known_by_its_splits(boxes):
    dataset, folder = boxes
    assert fingerprint(for_tuning(dataset), folder) != fingerprint(dataset, folder)
    assert not verify(for_tuning(dataset), folder, pixels=True).errors


NAMES = st.lists(st.text("abc01_", min_size=1), min_size=1, unique=True)


@given(NAMES, st.randoms(use_true_random=False))
def test_held_out_images_depend_on_the_names_alone(names, shuffle):
    held = held_out(names)
    again = [*names, names[0]]
    shuffle.shuffle(again)
    assert held_out(again) == held
    assert len(held) == -(-len(names) // 5)
    assert held <= set(names)


def test_too_few_images_to_hold_some_out(boxes):
    dataset, folder = boxes
    (folder / "train.txt").write_text("a\n")
    with pytest.raises(UserError, match=r"train\.txt names too few images"):
        items(for_tuning(dataset), "train", folder)

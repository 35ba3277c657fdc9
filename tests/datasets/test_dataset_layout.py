from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.dataset_cards import Dataset
from kdbench.datasets.layout import items, missing, names_of, read_names
from kdbench.errors import UserError

NAMES = st.text("abcXYZ019_-.", min_size=1).filter(lambda name: name.strip(".") and not name.endswith(".png"))
FOLDERS = st.sampled_from(["", "/SegNet/CamVid/train/", "a/b/", "C:\\data\\", "../"])


@given(st.lists(st.tuples(FOLDERS, NAMES, st.booleans(), st.sampled_from(["", " 1", "\t-1", " x/y.png"]))))
def test_names_come_back_from_every_form_of_line(lines: list[tuple[str, str, bool, str]]) -> None:
    text = "\r\n\n".join(f"{path}{name}{'.png' * suffix}{rest}" for path, name, suffix, rest in lines)
    assert names_of(text, ".png") == [name for _, name, _, _ in lines]


@given(st.text())
def test_any_text_gives_plain_names_or_a_value_error(text: str) -> None:
    try:
        names = names_of(text, ".png")
    except ValueError:
        return
    for name in names:
        assert name not in ("", ".", "..")
        assert not set(name) & set("/\\\0 \n")


def test_forms_of_the_published_lists() -> None:
    camvid = "/SegNet/CamVid/train/0001TP_006690.png /SegNet/CamVid/trainannot/0001TP_006690.png\n"
    assert names_of(camvid, ".png") == ["0001TP_006690"]
    assert names_of("\ufeff000012 -1\n2007.v2\n", ".jpg") == ["000012", "2007.v2"]


@pytest.mark.parametrize("line", ["folder/", "..", ".png", "a/.."])
def test_a_line_that_names_nothing_is_told_by_its_number(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        names_of(f"good\n{line}\n", ".png")


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe\x00", b"folder/\n"])
def test_a_list_without_names_is_the_users_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train\.txt"):
        read_names(path, ".png")


def test_items_name_the_files_in_order(boxes: tuple[Dataset, Path]) -> None:
    dataset, folder = boxes
    found = items(dataset, "train", folder)
    assert [item.name for item in found] == ["a", "b", "c"]
    assert found[1].image == folder / "images" / "b.png"
    assert found[1].annotation == folder / "labels" / "b.xml"


def test_missing_names_each_file_once(boxes: tuple[Dataset, Path]) -> None:
    dataset, folder = boxes
    assert missing(dataset, folder) == []
    (folder / "images" / "b.png").unlink()
    (folder / "labels" / "d.xml").unlink()
    assert sorted(map(str, missing(dataset, folder))) == ["images/b.png: missing", "labels/d.xml: missing"]
    (folder / "train.txt").unlink()
    assert sorted(map(str, missing(dataset, folder))) == ["labels/d.xml: missing", "train.txt: missing"]


def test_missing_names_a_folder_once(masks: tuple[Dataset, Path]) -> None:
    dataset, folder = masks
    (folder / "labels").rename(folder / "labels_old")
    assert list(map(str, missing(dataset, folder))) == ["labels: missing folder"]

from pathlib import Path

import pytest

from kdbench.dataset_cards import Dataset
from kdbench.datasets import camvid, kdbench_datasets, small
from kdbench.datasets.link import link
from kdbench.datasets.locate import data_root, folder_of, prepare, require
from kdbench.errors import UserError

Small = tuple[Dataset, Path]


def test_the_root_is_the_argument_else_the_variable_else_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDBENCH_DATA", raising=False)
    assert data_root() == Path("data")
    monkeypatch.setenv("KDBENCH_DATA", "/somewhere")
    assert data_root() == Path("/somewhere")
    assert folder_of(small.bccd, Path("mine")) == Path("mine/bccd")
    monkeypatch.setenv("KDBENCH_DATA", "")
    assert data_root() == Path("data")


def test_require_gives_the_folder(boxes: Small) -> None:
    assert require(boxes[0], boxes[1].parent) == boxes[1]


def test_require_says_the_command_that_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    for card in kdbench_datasets():
        with pytest.raises(UserError, match=f"run `kdbench data prepare {card.name}`"):
            require(card)
        with pytest.raises(UserError, match=f"run `kdbench data prepare {card.name} --root {tmp_path}`"):
            require(card, tmp_path)
    (tmp_path / "bccd").mkdir()
    with pytest.raises(UserError, match="is not in"):
        require(small.bccd)


def test_require_names_what_a_half_copy_lacks(boxes: Small) -> None:
    (boxes[1] / "images" / "a.png").unlink()
    (boxes[1] / "images" / "b.png").unlink()
    with pytest.raises(UserError, match=r"incomplete \(images/a\.png: missing; and 1 more\)"):
        require(boxes[0], boxes[1].parent)


def test_a_link_is_made_and_made_again(
    boxes: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    folder = tmp_path / "root2" / "small"
    link(boxes[0], folder, boxes[1])
    assert folder.resolve() == boxes[1].resolve()
    link(boxes[0], folder, boxes[1])
    assert "already" in caplog.messages[-1]
    assert require(boxes[0], tmp_path / "root2") == folder


def test_a_dead_link_or_an_empty_folder_is_replaced(boxes: Small, tmp_path: Path) -> None:
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    for name in ("dead", "empty"):
        link(boxes[0], tmp_path / name, boxes[1])
        assert (tmp_path / name).resolve() == boxes[1].resolve()


def test_the_users_files_are_kept(boxes: Small, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    for folder in (full, full / "mine"):
        with pytest.raises(UserError, match="has files already"):
            link(boxes[0], folder, boxes[1])
    assert (full / "mine").read_text() == "mine"


def test_the_usual_package_is_looked_into(boxes: Small, tmp_path: Path) -> None:
    link(boxes[0], tmp_path / "x", boxes[1].parent, inside=("small",))
    assert (tmp_path / "x").resolve() == boxes[1].resolve()


def test_a_wrong_source_says_what_it_lacks(boxes: Small, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        link(boxes[0], tmp_path / "x", tmp_path / "nowhere")
    (boxes[1] / "labels" / "a.xml").unlink()
    with pytest.raises(UserError, match=r"is not a complete boxes: labels/a\.xml: missing"):
        link(boxes[0], tmp_path / "x", boxes[1])
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("card", [small.bccd, camvid.card])
def test_what_is_not_downloaded_says_where_to_get_it(card: Dataset, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=f"{card.link}, then run `kdbench data prepare {card.name} --from DIR`"
    ):
        prepare(card, tmp_path, None)


def test_a_root_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    digits = kdbench_datasets()[0]
    with pytest.raises(UserError, match="cannot prepare dataset 'digits' of kdbench"):
        prepare(digits, tmp_path / "file", None)


def test_bccd_and_camvid_as_published_are_linked(
    published_bccd: Path, published_camvid: Path, tmp_path: Path
) -> None:
    assert prepare(small.bccd, tmp_path, published_bccd).resolve() == published_bccd.resolve()
    assert prepare(small.bccd, tmp_path, None) == tmp_path / "bccd"
    assert prepare(camvid.card, tmp_path, published_camvid.parent).resolve() == published_camvid.resolve()

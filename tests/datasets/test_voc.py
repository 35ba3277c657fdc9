"""The way of VOC from archives to a folder, with small archives of the same form."""

import hashlib
import tarfile
from pathlib import Path

import pytest
from datasets_support import SIZE, annotation
from PIL import Image

from kdbench.datasets import download, voc
from kdbench.datasets.layout import items
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

LISTS = {"trainval": ("000005", "000007"), "test": ("000001",)}


def write_year(devkit: Path, year: str, lists: dict[str, tuple[str, ...]]) -> None:
    """The files of one year."""
    base = devkit / year
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (base / part).mkdir(parents=True, exist_ok=True)
    for name, stems in lists.items():
        (base / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in stems))
        for stem in stems:
            Image.new("RGB", SIZE).save(base / "JPEGImages" / f"{stem}.jpg")
            (base / "Annotations" / f"{stem}.xml").write_text(annotation(("person", (1, 1, 9, 9))))


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """A VOCdevkit of both years, in a folder of that name."""
    made = tmp_path / "elsewhere" / "VOCdevkit"
    write_year(made, "VOC2007", LISTS)
    write_year(made, "VOC2012", {"trainval": ("2008_000002",)})
    return made


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Makes ``download`` give small archives of the same names; returns the addresses asked for."""
    asked: list[str] = []

    def deliver(url: str, folder: Path, sha256: str) -> Path:
        asked.append(url)
        name = url.rpartition("/")[2]
        year = "VOC2012" if "2012" in name else "VOC2007"
        kind = "test" if "test" in name else "trainval"
        made = tmp_path / "made" / name
        stems = ("2008_000002",) if year == "VOC2012" else LISTS[kind]
        write_year(made / "VOCdevkit", year, {kind: stems})
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / name, "w") as file:
            file.add(made / "VOCdevkit", "VOCdevkit")
        return folder / name

    monkeypatch.setattr(download, "download", deliver)
    return asked


def test_download_makes_the_folder_and_leaves_nothing_else(tmp_path: Path, served: list[str]) -> None:
    folder = tmp_path / "root" / "voc"
    voc.prepare07(folder, None)
    assert [url.rpartition("/")[2] for url in served] == [
        "VOCtrainval_06-Nov-2007.tar",
        "VOCtest_06-Nov-2007.tar",
    ]
    assert verify(voc.voc07, folder, pixels=True).errors == []
    voc.prepare(folder, None)
    assert len(served) == 3
    report = verify(voc.voc, folder, pixels=True)
    assert report.errors == []
    assert {name: split.images for name, split in report.splits.items()} == {"train": 3, "test": 1}
    assert sorted(path.name for path in folder.iterdir()) == ["VOC2007", "VOC2012"]
    assert not list((folder.parent / "downloads").iterdir())
    voc.prepare(folder, None)
    assert len(served) == 3


def test_the_hashes_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for has the published hash, which an empty file has not."""
    seen: list[str] = []

    def arrive(url: str, part: Path) -> None:
        seen.append(url)
        part.write_bytes(b"")

    monkeypatch.setattr(download, "_fetch", arrive)
    with pytest.raises(UserError, match=hashlib.sha256(b"").hexdigest()):
        voc.prepare(tmp_path / "voc", None)
    assert len(seen) == 1
    assert not (tmp_path / "voc").exists()


def test_the_parts_are_concatenated(devkit: Path) -> None:
    assert [item.name for item in items(voc.voc, "train", devkit)] == ["000005", "000007", "2008_000002"]


@pytest.mark.parametrize("up", [False, True])
def test_from_takes_the_devkit_or_its_parent(tmp_path: Path, devkit: Path, up: bool) -> None:
    folder = tmp_path / "root" / "voc"
    voc.prepare(folder, devkit.parent if up else devkit)
    assert folder.resolve() == devkit.resolve()
    voc.prepare(folder, None)


def test_a_half_copied_year_is_told(tmp_path: Path, devkit: Path, served: list[str]) -> None:
    (devkit / "VOC2007" / "JPEGImages" / "000007.jpg").unlink()
    with pytest.raises(UserError, match=r"not a complete voc: VOC2007/JPEGImages/000007\.jpg: missing"):
        voc.prepare(tmp_path / "voc", devkit)
    with pytest.raises(UserError, match="half copy"):
        voc.prepare(devkit, None)
    assert not served


def test_nothing_is_written_into_a_linked_folder(tmp_path: Path, devkit: Path, served: list[str]) -> None:
    (devkit / "VOC2012").rename(tmp_path / "VOC2012")
    voc.prepare07(tmp_path / "voc", devkit)
    with pytest.raises(UserError, match=r"links to .* not a complete voc \(VOC2012"):
        voc.prepare(tmp_path / "voc", None)
    assert not served

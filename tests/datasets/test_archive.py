import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.datasets import archive
from kdbench.datasets.archive import extract, target_of
from kdbench.errors import UserError

CONTENT = b"content"


def tarred(path: Path, *members: tarfile.TarInfo, mode: str = "w") -> Path:
    """A tar of one good file and ``members``."""
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for member in (tarfile.TarInfo("good/a.txt"), *members):
            plain = member.isreg()
            member.size = len(CONTENT) if plain else 0
            file.addfile(member, io.BytesIO(CONTENT) if plain else None)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def zipped(path: Path, name: str, attributes: int = 0) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("good/a.txt", CONTENT)
        info = zipfile.ZipInfo(name)
        info.external_attr = attributes << 16
        file.writestr(info, CONTENT)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_plain_files_come_out(tmp_path: Path, mode: str) -> None:
    made = tarred(tmp_path / "a.tar", member("good/deep/b"), member("empty", tarfile.DIRTYPE), mode=mode)
    extract(made, tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert found == {"good", "good/a.txt", "good/deep", "good/deep/b"}
    assert (tmp_path / "out" / "good" / "deep" / "b").read_bytes() == CONTENT


def test_zip_comes_out(tmp_path: Path) -> None:
    extract(zipped(tmp_path / "a.zip", "x/y.txt", 0o100644), tmp_path / "out")
    assert (tmp_path / "out" / "x" / "y.txt").read_bytes() == CONTENT


def test_permissions_are_not_taken_over(tmp_path: Path) -> None:
    bad = member("run")
    bad.mode = 0o6777
    extract(tarred(tmp_path / "a.tar", bad), tmp_path / "out")
    assert (tmp_path / "out" / "run").stat().st_mode & 0o7111 == 0


ATTACKS = {
    "absolute": member("/tmp/kdbench_evil"),
    "parent": member("../evil"),
    "hidden parent": member("good/../../evil"),
    "backslash": member("..\\evil"),
    "drive": member("C:evil"),
    "symlink": member("evil", tarfile.SYMTYPE, "/etc"),
    "inner symlink": member("evil", tarfile.SYMTYPE, "good/a.txt"),
    "hard link": member("evil", tarfile.LNKTYPE, "good/a.txt"),
    "character device": member("evil", tarfile.CHRTYPE),
    "block device": member("evil", tarfile.BLKTYPE),
    "pipe": member("evil", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_harmful_tar_writes_nothing_at_all(tmp_path: Path, name: str) -> None:
    made = tarred(tmp_path / "a.tar", ATTACKS[name])
    with pytest.raises(UserError, match="not unpacked"):
        extract(made, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.tar"]
    assert not Path("/tmp/kdbench_evil").exists()


@pytest.mark.parametrize(
    ("name", "attributes"), [("../evil", 0), ("/evil", 0), ("a/../../evil", 0o100644), ("evil", 0o120777)]
)
def test_a_harmful_zip_writes_nothing_at_all(tmp_path: Path, name: str, attributes: int) -> None:
    made = zipped(tmp_path / "a.zip", name, attributes)
    with pytest.raises(UserError, match="not unpacked"):
        extract(made, tmp_path / "in" / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


@given(st.text("ab./\\:C\0", min_size=1))
def test_every_target_is_inside_or_refused(name: str) -> None:
    into = Path("/nowhere/out")
    try:
        target = target_of(name, into)
    except ValueError:
        return
    assert target.is_relative_to(into)
    assert ".." not in target.parts


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def swap(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut, swap, empty])
@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_damaged_archive_is_told(tmp_path: Path, mode: str, damage: Callable[[Path], None]) -> None:
    made = tarred(tmp_path / "a.tar", *(member(f"file{n}") for n in range(20)), mode=mode)
    damage(made)
    with pytest.raises(UserError, match=r"a\.tar is damaged"):
        extract(made, tmp_path / "out")


def test_a_damaged_zip_is_told(tmp_path: Path) -> None:
    made = zipped(tmp_path / "a.zip", "x")
    made.write_bytes(made.read_bytes().replace(CONTENT, b"CONTENT"))
    with pytest.raises(UserError, match=r"a\.zip is damaged"):
        extract(made, tmp_path / "out")


def test_a_full_disk_is_told_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 10})())
    with pytest.raises(UserError, match="no disk space"):
        extract(tarred(tmp_path / "a.tar"), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []

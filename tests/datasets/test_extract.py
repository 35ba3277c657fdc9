import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.datasets.download import extract
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


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_plain_files_come_out(tmp_path: Path, mode: str) -> None:
    made = tarred(tmp_path / "a.tar", member("good/deep/b"), member("empty", tarfile.DIRTYPE), mode=mode)
    extract(made, tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*")}
    assert found == {"empty", "good", "good/a.txt", "good/deep", "good/deep/b"}
    assert (tmp_path / "out" / "good" / "deep" / "b").read_bytes() == CONTENT


def test_harmful_permissions_are_not_taken_over(tmp_path: Path) -> None:
    bad = member("run")
    bad.mode = 0o6777
    extract(tarred(tmp_path / "a.tar", bad), tmp_path / "out")
    assert (tmp_path / "out" / "run").stat().st_mode & 0o7022 == 0


ATTACKS = {
    "parent": member("../evil"),
    "hidden parent": member("good/../../evil"),
    "absolute link": member("evil", tarfile.SYMTYPE, "/etc"),
    "link that leads out": member("evil", tarfile.SYMTYPE, "../a.tar"),
    "hard link that leads out": member("evil", tarfile.LNKTYPE, "../a.tar"),
    "character device": member("evil", tarfile.CHRTYPE),
    "pipe": member("evil", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_harmful_entry_is_refused(tmp_path: Path, name: str) -> None:
    made = tarred(tmp_path / "a.tar", ATTACKS[name])
    with pytest.raises(UserError, match=r"a\.tar is not safe to unpack"):
        extract(made, tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil"))


def test_an_absolute_name_stays_inside(tmp_path: Path) -> None:
    extract(tarred(tmp_path / "a.tar", member("/kdbench_evil")), tmp_path / "out")
    assert (tmp_path / "out" / "kdbench_evil").read_bytes() == CONTENT
    assert not Path("/kdbench_evil").exists()


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


def test_zip_files_come_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("good/deep/b", CONTENT)
    extract(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "good" / "deep" / "b").read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["../evil", "good/../../evil", "/evil", "..\\evil"])
def test_nothing_of_a_zip_file_leaves_the_folder(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(name, CONTENT)
    with pytest.raises(UserError, match=r"a\.zip is not safe to unpack"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert not list(tmp_path.rglob("*evil*"))


def test_a_damaged_zip_file_is_told(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a", CONTENT * 99)
    content = (tmp_path / "a.zip").read_bytes()
    for damaged in (b"", content[:50], content.replace(CONTENT, b"CONTENT", 1)):
        (tmp_path / "a.zip").write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.zip is damaged"):
            extract(tmp_path / "a.zip", tmp_path / "out")

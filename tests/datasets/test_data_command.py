"""``kdbench data`` as a user meets it: exit codes, stdout and stderr."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from kdbench.cli import main
from kdbench.dataset_cards import Dataset
from kdbench.datasets import digits_files

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``kdbench data`` and gives exit code, stdout and stderr."""
    monkeypatch.setattr(digits_files, "COUNTS", {"train": 3, "test": 2})

    def call(*args: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["data", *map(str, args)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def root(run: Run, tmp_path: Path) -> Path:
    """A data root with (few) digits."""
    assert run("prepare", "digits", "--root", tmp_path)[0] == 0
    return tmp_path


def test_prepare_and_verify(run: Run, tmp_path: Path) -> None:
    code, out, err = run("prepare", "digits-seg", "--root", tmp_path)
    assert (code, out) == (0, f"digits-seg is ready in {tmp_path / 'digits'}.\n")
    assert "Drawing 5 scenes" in err
    code, out, err = run("verify", "digits", "--root", tmp_path)
    assert code == 0
    assert [line.split(": ")[:2] for line in err.splitlines()] == [
        ["warning", f"ImageSets/Main/{split}.txt"] for split in ("train", "test")
    ], "few scenes have not all digits"
    assert "train: 3 images, 3 annotations" in out
    assert out.endswith("good, 2 warnings\n")


def test_the_variable_names_the_root(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDBENCH_DATA", str(root))
    assert run("verify", "digits")[0] == 0


def test_each_problem_is_a_line_and_the_code_is_2(run: Run, root: Path) -> None:
    folder = root / "digits"
    (folder / "Annotations" / "train_0000.xml").write_text("<annotation>")
    (folder / "JPEGImages" / "test_0001.png").unlink()
    (folder / "JPEGImages" / "train_0002.png").write_bytes(b"no image")
    code, out, err = run("verify", "digits", "--root", root)
    assert code == 2
    assert "3 errors" in out
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert [line.split(": ")[:2] for line in lines] == [
        ["error", "JPEGImages/test_0001.png"],
        ["error", "Annotations/train_0000.xml"],
        ["error", "JPEGImages/train_0002.png"],
    ]


def test_an_image_that_is_cut_short_is_found_where_pixels_are_read(run: Run, root: Path) -> None:
    file = root / "digits" / "JPEGImages" / "train_0002.png"
    file.write_bytes(file.read_bytes()[:-40])
    assert run("verify", "digits", "--root", root)[0] == 0
    code, _, err = run("verify", "digits", "--root", root, "--pixels")
    assert (code, "error: JPEGImages/train_0002.png: unreadable" in err) == (2, True)


def test_json(run: Run, root: Path) -> None:
    code, out, _ = run("verify", "digits-seg", "--root", root, "--json")
    found = json.loads(out)
    assert (code, found["ok"], found["errors"]) == (0, True, [])
    assert found["splits"]["train"]["images"] == 3
    Image.new("L", (5, 5)).save(root / "digits" / "SegmentationClass" / "test_0000.png")
    code, out, err = run("verify", "digits-seg", "--root", root, "--json")
    assert (code, err, json.loads(out)["ok"]) == (2, "", False)
    (problem,) = json.loads(out)["errors"]
    assert problem == {
        "file": "SegmentationClass/test_0000.png",
        "what": "mask of 5 x 5 for an image of 96 x 96",
    }


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("verify", "digits"), "run `kdbench data prepare digits --root"),
        (("verify", "digit"), "Did you mean 'digits'?"),
        (("prepare", "bcdc"), "Did you mean 'bccd'?"),
        (("prepare", "camvid"), "--from DIR"),
        (("prepare", "bccd", "--from", "nowhere"), "there is no such folder"),
        (("prepare", "digits", "--from", "."), "leave --from out"),
    ],
)
def test_mistakes_are_one_line_and_code_2(
    run: Run, tmp_path: Path, args: tuple[str, ...], message: str
) -> None:
    code, out, err = run(*args, "--root", tmp_path / "root")
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_an_empty_root_says_the_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    code, _, err = run("verify", "voc", "--root", tmp_path)
    assert code == 2
    assert f"run `kdbench data prepare voc --root {tmp_path}`" in err


def test_link_and_verify_bccd(run: Run, tmp_path: Path, published_bccd: Path) -> None:
    assert run("prepare", "bccd", "--root", tmp_path, "--from", published_bccd)[0] == 0
    code, out, err = run("verify", "bccd", "--root", tmp_path)
    assert code == 0
    assert err.count("has no area and is skipped") == 2
    assert "test: 72 images, 72 annotations, 945 boxes" in out


def test_the_cards_and_the_command_import_nothing_heavy() -> None:
    heavy = ("numpy", "PIL", "sklearn", "scipy", "rich", "torch", "tarfile", "urllib.request")
    code = f"import sys, kdbench.datasets, kdbench.cli.data; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_cards_are_complete() -> None:
    from kdbench.cards import load_object
    from kdbench.datasets import kdbench_datasets

    cards: list[Dataset] = kdbench_datasets()
    assert {card.name: len(card.classes) for card in cards} == {
        "digits": 10,
        "digits-seg": 11,
        "voc": 20,
        "voc07": 20,
        "voc12seg": 21,
        "voc12seg-aug": 21,
        "bccd": 3,
        "deeppcb": 6,
        "cards": 6,
        "camvid": 11,
        "cityscapes": 19,
        "ade20k": 150,
        "coco": 80,
        "kitti": 3,
        "caltech": 1,
        "widerface": 1,
        "ilsvrc-det": 200,
    }
    for card in cards:
        assert callable(load_object(card.prepare))
        assert {"train", "test"} <= set(card.splits)
        assert len(set(card.classes)) == len(card.classes)
    assert [card.name for card in cards if card.embedded] == ["digits", "digits-seg"]

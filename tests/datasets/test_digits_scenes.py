import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kdbench.datasets import digits, digits_files, scenes
from kdbench.datasets.boxes import read_annotation
from kdbench.datasets.glyphs import SHEET, block, glyphs
from kdbench.datasets.scenes import HEIGHTS, Scene, scene
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

SAMPLE = [("train", number) for number in range(25)] + [("test", number) for number in range(15)]

HASH = """
import hashlib
from kdbench.datasets.scenes import scene
digest = hashlib.sha256()
for split in ("train", "test"):
    for number in range(12):
        drawn = scene(split, number, 0)
        digest.update(drawn.image.tobytes() + drawn.mask.tobytes() + repr(drawn.digits).encode())
print(digest.hexdigest())
"""
PINNED = "5855bdc29927e076f405115a38045d7e46532086271d3f1eb2fdcf759f14b9be"


@pytest.fixture(scope="module")
def drawn() -> list[Scene]:
    return [scene(split, number, 0) for split, number in SAMPLE]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits") / "digits"
    digits_files.write(folder, {"train": 6, "test": 4}, 0)
    return folder


def test_the_scenes_are_these_bits_in_any_process() -> None:
    """Pinned: when it changes on purpose, raise ``scenes`` in the STAMP too."""
    run = subprocess.run([sys.executable, "-c", HASH], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == PINNED


def test_a_scene_does_not_depend_on_others_but_on_seed_split_and_number() -> None:
    first = scene("train", 3, 0)
    scene("test", 9, 5)
    again = scene("train", 3, 0)
    assert np.array_equal(first.image, again.image)
    assert first.digits == again.digits
    others = [scene("train", 4, 0), scene("test", 3, 0), scene("train", 3, 1)]
    assert not any(np.array_equal(first.image, other.image) for other in others)


def test_train_and_test_are_different_sheets_of_handwriting() -> None:
    train, test = block("train"), block("test")
    assert len(train) == SHEET
    assert len(test) == 1797 - SHEET
    assert not {glyph.ink.tobytes() for glyph in train} & {glyph.ink.tobytes() for glyph in test}
    assert {glyph.digit for glyph in train} == {glyph.digit for glyph in test} == set(range(10))


def test_the_blocks_part_where_a_sheet_starts() -> None:
    """Each sheet copies the same text, which starts with 0 to 9 three times."""
    text = "".join(str(glyph.digit) for glyph in glyphs())
    assert text[SHEET:].startswith("0123456789" * 3 + "09556509")
    assert text[:SHEET].endswith("490898")


def test_ink_is_the_stored_digit_enlarged() -> None:
    from sklearn.datasets import load_digits

    for index in (0, 777, 1796):
        ink = glyphs()[index].ink.astype(float)
        coarse = ink.reshape(12, 4, 12, 4).mean(axis=(1, 3))[2:-2, 2:-2]
        stored = load_digits().images[index]
        assert np.corrcoef(coarse.ravel(), stored.ravel())[0, 1] > 0.97


def test_boxes_are_tight_around_the_visible_ink(drawn: list[Scene]) -> None:
    for found in drawn:
        for digit, (left, top, right, bottom) in found.digits:
            inside = found.mask[top : bottom + 1, left : right + 1] == digit + 1
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()


def test_masks_are_the_digits_and_nothing_else(drawn: list[Scene]) -> None:
    for found in drawn:
        assert found.image.shape == (96, 96, 3)
        assert found.image.dtype == found.mask.dtype == np.uint8
        assert set(np.unique(found.mask)) == {0, *(digit + 1 for digit, _ in found.digits)}
        outside = found.mask.copy()
        for _, (left, top, right, bottom) in found.digits:
            outside[top : bottom + 1, left : right + 1] = 0
        assert not outside.any()


def test_numbers_and_sizes_of_the_digits(drawn: list[Scene]) -> None:
    numbers = [len(found.digits) for found in drawn]
    assert set(numbers) == {2, 3, 4, 5}
    tall = [bottom - top + 1 for found in drawn for _, (_, top, _, bottom) in found.digits]
    assert min(tall) >= HEIGHTS[0] - 5
    assert max(tall) <= HEIGHTS[1] + 14
    assert max(tall) > 1.9 * min(tall)


def test_digits_stay_mostly_visible(drawn: list[Scene]) -> None:
    """Boxes overlap little when laid, so that no box lies in another."""
    for found in drawn:
        for i, (_, a) in enumerate(found.digits):
            for _, b in found.digits[i + 1 :]:
                wide = max(min(a[2], b[2]) - max(a[0], b[0]) + 1, 0)
                high = max(min(a[3], b[3]) - max(a[1], b[1]) + 1, 0)
                smaller = min((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
                assert wide * high <= 0.45 * smaller


def test_digits_stand_out_from_their_surroundings(drawn: list[Scene]) -> None:
    contrasts = []
    for found in drawn:
        grey = found.image.mean(axis=2)
        for digit, (left, top, right, bottom) in found.digits:
            ink = found.mask[top : bottom + 1, left : right + 1] == digit + 1
            patch = grey[top : bottom + 1, left : right + 1]
            contrasts.append(patch[ink].mean() - patch[~ink].mean())
    assert np.median(np.abs(contrasts)) > 25
    assert min(contrasts) < -20
    assert max(contrasts) > 20


def test_files_hold_the_scenes(written: Path) -> None:
    for split, number in (("train", 5), ("test", 3)):
        made, name = scene(split, number, 0), f"{split}_{number:04d}"
        assert np.array_equal(np.asarray(Image.open(written / "JPEGImages" / f"{name}.png")), made.image)
        mask = Image.open(written / "SegmentationClass" / f"{name}.png")
        assert mask.mode == "L"
        assert np.array_equal(np.asarray(mask), made.mask)
        found = read_annotation((written / "Annotations" / f"{name}.xml").read_bytes())
        assert found.size == (96, 96)
        assert [(int(entry.name), tuple(value - 1 for value in entry.box)) for entry in found.objects] == [
            (digit, box) for digit, box in made.digits
        ]


def test_both_datasets_verify(written: Path) -> None:
    for card in (digits.detection, digits.segmentation):
        report = verify(card, written, pixels=True)
        assert report.errors == []
        assert all(" of class " in problem.what for problem in report.warnings), "few scenes lack some digits"
        assert {name: split.images for name, split in report.splits.items()} == {"train": 6, "test": 4}


def test_prepare_writes_once_and_replaces_older_scenes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(digits_files, "COUNTS", {"train": 2, "test": 1})
    folder = tmp_path / "root" / "digits"
    digits_files.prepare(folder, None)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    told = list(caplog.messages)
    digits_files.prepare(folder, None)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    assert told
    assert caplog.messages == told
    (folder / "scenes.json").write_text(json.dumps(digits_files.STAMP | {"scenes": 0}))
    (folder / "Annotations" / "train_0000.xml").unlink()
    digits_files.prepare(folder, None)
    assert (folder / "Annotations" / "train_0000.xml").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["digits"]


def test_nothing_is_left_of_a_failed_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> Scene:
        raise KeyboardInterrupt

    monkeypatch.setattr("kdbench.datasets.scenes.scene", broken)
    with pytest.raises(KeyboardInterrupt):
        digits_files.prepare(tmp_path / "digits", None)
    assert list(tmp_path.iterdir()) == []


def test_prepare_keeps_the_users_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        digits_files.prepare(tmp_path, None)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    with pytest.raises(UserError, match="leave `source` out"):
        digits_files.prepare(tmp_path / "digits", tmp_path)


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digits_files, "COUNTS", {"train": 1, "test": 1})
    folder = tmp_path / "digits"
    folder.mkdir()
    digits_files.prepare(folder, None)
    assert (folder / "ImageSets" / "Main" / "train.txt").read_text() == "train_0000\n"


def test_a_region_is_the_ink_and_what_lies_between_ink_in_both_directions() -> None:
    ring = np.zeros((9, 9), dtype=bool)
    ring[2:7, 2] = ring[2:7, 6] = ring[6, 2:7] = ring[2, 2:7] = True
    filled = ring.copy()
    filled[2:7, 2:7] = True
    assert np.array_equal(scenes._region(ring), filled)
    cup = ring.copy()
    cup[2, 3:6] = False  # nothing lies above its inside any more
    assert np.array_equal(scenes._region(cup), cup)

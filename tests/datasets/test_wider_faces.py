"""WIDER FACE's text file: its images, and the faces that are learned or ignored."""

from __future__ import annotations

import pytest
from datasets_support import card
from PIL import Image

from kdbench.dataset_cards import Split
from kdbench.datasets.fingerprint import fingerprint
from kdbench.datasets.layout import missing
from kdbench.datasets.verify import verify
from kdbench.datasets.widerface import annotation_of, names_of, truth_of

TEXT = """\
0--Parade/0_Parade_marchingband_1_849.jpg
2
449 330 122 149 0 0 0 0 0 0
10 20 5 0 2 0 0 0 0 0
1--Handshaking/none.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/invalid.jpg
1
1 2 3 4 0 0 0 1 0 0
"""


def test_faces_are_learned_ignored_or_skipped(tmp_path):
    path = tmp_path / "wider_face_train_bbx_gt.txt"
    path.write_text(TEXT)
    first, none, invalid = names_of(path)
    assert first == "0--Parade/0_Parade_marchingband_1_849.jpg"
    assert [(one.box, one.ignored, one.skipped) for one in annotation_of(path, first).objects] == [
        ((449, 330, 571, 479), False, False),
        ((10, 20, 15, 20), False, True),
    ]
    assert annotation_of(path, none).objects == ()
    assert annotation_of(path, invalid).objects[0].ignored
    assert truth_of(path, first, ()) == str(tmp_path)


def test_what_the_evaluation_judges_by_is_asked_for_and_part_of_the_content(tmp_path):
    splits = {name: (Split("", "images", f"{name}.txt"),) for name in ("train", "test")}
    fields = {"format": "widerface", "classes": ("face",), "metric": "AP_hard", "image_suffix": ""}
    dataset = card("detection", splits=splits, **fields)
    for split, image in (("train", "0--Parade/a.jpg"), ("test", "0--Parade/b.jpg")):
        (tmp_path / "images" / "0--Parade").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / image)
        (tmp_path / f"{split}.txt").write_text(f"{image}\n1\n1 2 3 4 0 0 0 0 0 0\n")
    parts = ("face", "easy", "medium", "hard")
    assert [str(one) for one in missing(dataset, tmp_path)] == [
        f"wider_{one}_val.mat: missing" for one in parts
    ]
    for part in parts:
        (tmp_path / f"wider_{part}_val.mat").touch()
    assert verify(dataset, tmp_path, pixels=False).errors == []
    before = fingerprint(dataset, tmp_path)
    (tmp_path / "wider_hard_val.mat").write_bytes(b"others")
    assert fingerprint(dataset, tmp_path) != before


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense\n", "line 1: 'nonsense' is no image"),
        ("../a.jpg\n0\n", r"line 1: '\.\./a\.jpg' is no image"),
        ("a/b.jpg\n", "line 2: '' is no number of faces"),
        ("a/b.jpg\nx\n", "line 2: 'x' is no number of faces"),
        ("a/b.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", "line 4: give 10 whole numbers"),
        ("a/b.jpg\n1\n1 2 3 4\n", "line 3: give 10 whole numbers"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, text, told):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        names_of(path)

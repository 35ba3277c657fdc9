"""WIDER FACE's text file: its images, and the faces that are learned or ignored."""

from __future__ import annotations

import pytest

from kdbench.datasets.widerface import annotation_of, names_of, truth_of
from kdbench.errors import UserError

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
    with pytest.raises(UserError, match=r"wider_face_val\.mat is missing: it is in eval_tools\.zip"):
        truth_of(path, first, ())
    for part in ("face", "easy", "medium", "hard"):
        (tmp_path / f"wider_{part}_val.mat").touch()
    assert truth_of(path, first, ()) == str(tmp_path)


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

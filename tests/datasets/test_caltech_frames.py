"""Caltech Pedestrian's annotations: what the subset Reasonable ignores, rule by rule."""

from __future__ import annotations

import pytest

from kdbench.datasets.caltech import annotation_of, truth_of

TALL = (100, 100, 30, 100)
NARROWED = (94.5, 100, 41, 100)


@pytest.fixture
def rows(tmp_path):
    """Return the rows of a frame that has these lines."""

    def read(*lines):
        path = tmp_path / "set06_V000_I00029.jpg.txt"
        path.write_text("\n".join(["% bbGt version=3", *lines]))
        return truth_of(path, "set06_V000_I00029", ())

    return read


def line(box, label="person", occluded=0, visible=(0, 0, 0, 0), ignore=0):
    return f"{label} {' '.join(map(str, box))} {occluded} {' '.join(map(str, visible))} {ignore} 0"


def test_a_target_has_the_width_of_a_pedestrian_about_its_centre(rows):
    assert rows(line(TALL)) == [pytest.approx((*NARROWED, 0))]


@pytest.mark.parametrize(
    ("text", "ignored"),
    [
        (line(TALL, "people"), False),
        (line(TALL, "ignore"), True),
        (line(TALL, ignore=1), True),
        (line((100, 100, 20, 49.9)), True),
        (line((100, 100, 20, 50)), False),
        (line(TALL, occluded=1, visible=(100, 100, 30, 65)), False),
        (line(TALL, occluded=1, visible=(100, 100, 30, 64)), True),
        (line(TALL, occluded=0, visible=(100, 100, 30, 10)), False),
        (line(TALL, occluded=1), False),
        (line(TALL, occluded=1, visible=TALL), True),
        (line((4.9, 100, 30, 100)), True),
        (line((605, 100, 30, 100)), False),
        (line((605.1, 100, 30, 100)), True),
        (line((100, 375, 30, 100)), False),
        (line((100, 376, 30, 100)), True),
    ],
)
def test_what_is_ignored_keeps_its_box(rows, text, ignored):
    ((*box, flag),) = rows(text)
    assert bool(flag) is ignored
    assert box == pytest.approx([float(word) for word in text.split()[1:5]] if ignored else box)


def test_the_boxes_of_a_training(tmp_path):
    path = tmp_path / "a.jpg.txt"
    path.write_text("\n".join(["% bbGt version=3", line(TALL), "", line((9, 9, 0, 0), ignore=1)]))
    found = annotation_of(path, "a")
    assert [(one.name, one.ignored, one.skipped) for one in found.objects] == [
        ("pedestrian", False, False),
        ("pedestrian", True, True),
    ]
    assert found.objects[0].box == pytest.approx((94.5, 100, 135.5, 200))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "does not begin with '% bbGt"),
        ("% bbGt version=3\nperson 1 2", "line 2: give a label and 11 numbers"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, text, told):
    path = tmp_path / "a.jpg.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=told):
        annotation_of(path, "a")

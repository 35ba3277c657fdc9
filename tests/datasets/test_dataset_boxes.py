import contextlib

import pytest
from datasets_support import SIZE, annotation
from hypothesis import example, given
from hypothesis import strategies as st

from kdbench.datasets.boxes import judge, read_annotation

CLASSES = ("cat", "dog")


def grades(*box: float) -> list[bool]:
    """Whether each finding about a box in an image of 20 x 16 is fatal."""
    found = read_annotation(annotation(("cat", box)).encode())
    return [finding.fatal for finding in judge(found, SIZE, CLASSES)]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cat", "dog", "Trauma & <co>"]),
            st.tuples(*[st.floats(-50, 50, allow_nan=False).map(lambda x: round(x, 3))] * 4),
        )
    )
)
def test_objects_come_back(objects: list[tuple[str, tuple[float, ...]]]) -> None:
    escaped = [(name.replace("&", "&amp;").replace("<", "&lt;"), box) for name, box in objects]
    found = read_annotation(annotation(*escaped).encode())
    assert [(entry.name, entry.box) for entry in found.objects] == objects
    assert found.size == SIZE


@given(st.binary())
@example(b"<annotation><object></annotation>")
@example(b'<?xml version="1.0" encoding="nonsense"?><annotation/>')
@example(b"<annotation/>")
def test_any_bytes_are_read_or_a_value_error(text: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert read_annotation(text).objects == ()


@given(st.integers(0, 400))
def test_every_cut_annotation_is_told(length: int) -> None:
    text = annotation(("cat", (1, 1, 5, 5)), ("dog", (2, 2, 6, 6))).encode()
    with pytest.raises(ValueError, match="broken XML"):
        read_annotation(text[: min(length, len(text) - 1)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<html/>", "starts with <html>"),
        ("<annotation><object/></annotation>", "object 1 has no name"),
        ("<annotation><object><name>cat</name></object></annotation>", "no number for xmin"),
        (annotation(("cat", (1, 2, float("nan"), 4))), "no number for xmax"),
        (annotation(("cat", (1, float("inf"), 3, 4))), "no number for ymin"),
        (annotation(("cat", (1, 2, 3, 4))).replace(">4<", ">four<"), "no number for ymax"),
    ],
)
def test_malformed_annotations_are_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_annotation(text.encode())


def test_parts_of_an_object_are_no_objects() -> None:
    text = annotation(("cat", (1, 1, 5, 5))).replace("</object>", "<part><name>head</name></part></object>")
    assert len(read_annotation(text.encode()).objects) == 1


def test_an_annotation_without_objects_or_size_is_fine() -> None:
    found = read_annotation(b"<annotation/>")
    assert found.size is None
    assert judge(found, SIZE, CLASSES) == []


@pytest.mark.parametrize("box", [(1, 1, 20, 16), (1, 1, 2, 2), (4.5, 3.25, 7.5, 9)])
def test_good_boxes(box: tuple[float, ...]) -> None:
    assert grades(*box) == []


@pytest.mark.parametrize("box", [(0, 0, 19, 15), (1, 1, 21, 17), (5, 5, 5, 5), (5, 5, 9, 5), (0.5, 1, 3, 3)])
def test_oddities_that_are_warned_about(box: tuple[float, ...]) -> None:
    assert grades(*box) == [False]


@pytest.mark.parametrize(
    "box", [(-1, 1, 5, 5), (1, 1, 22, 16), (1, 1, 20, 17.5), (9, 1, 5, 5), (30, 5, 30, 5)]
)
def test_boxes_that_are_errors(box: tuple[float, ...]) -> None:
    assert grades(*box) == [True]


def test_unknown_class_and_stated_size() -> None:
    found = read_annotation(annotation(("cow", (1, 1, 5, 5)), size=(640, 480)).encode())
    assert [(finding.fatal, finding.what) for finding in judge(found, SIZE, CLASSES)] == [
        (False, "says that the image is 640 x 480, it is 20 x 16"),
        (True, "object 1 (cow): unknown class 'cow'"),
    ]

"""Pipes, devices and links to nothing among a dataset's files: told, and never waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets_support import annotation, card, write_images
from special_files import KINDS, make_special

from kdbench.benchmarks import load
from kdbench.datasets.verify import verify
from kdbench.errors import UserError

FILES = ("images/a.png", "labels/a.xml", "train.txt")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_they_are_named_and_not_read(tmp_path, name, kind):
    write_images(tmp_path)
    for image in "abcde":
        (tmp_path / f"labels/{image}.xml").write_text(annotation(("cat", (2, 2, 9, 9))))
    make_special(tmp_path / name, kind)
    problems = verify(card("detection"), tmp_path, pixels=False).errors
    assert problems[0].file == name
    assert all(str(problem).isprintable() for problem in problems)


@pytest.mark.parametrize("letters", [501, 10_000])
def test_a_line_that_is_no_name_is_shown_in_part(tmp_path, letters):
    write_images(tmp_path)
    (tmp_path / "train.txt").write_text("x" * letters)
    problem = str(verify(card("detection"), tmp_path, pixels=False).errors[0])
    assert problem == f"train.txt: is not a list of images: line 1 names no image: '{'x' * 40}'"


def test_a_benchmark_file_that_never_ends_is_not_read():
    with pytest.raises(UserError, match="cannot read benchmark /dev/zero: no regular file"):
        load(Path("/dev/zero"))

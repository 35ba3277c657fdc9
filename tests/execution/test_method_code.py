"""Which code of its method a run was made with."""

from __future__ import annotations

import pytest

from kdbench.execution.method_code import FILE, code_of, outdated


@pytest.mark.parametrize("file", ["their_code/losses/squares.py", "their_module.py"])
def test_the_code_of_a_method_is_all_of_its_package(tmp_path, monkeypatch, file):
    target = f"{file.partition('/')[0].removesuffix('.py')}:Method"
    path = tmp_path / file
    (tmp_path / "their_code" / "losses").mkdir(parents=True)
    (tmp_path / "their_code" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    path.write_text("one = 1")
    hashed = code_of.__wrapped__  # a process takes its code to be what it was at the first look
    first = hashed(target)
    assert hashed(target) == first
    path.write_text("one = 2")
    assert hashed(target) != first
    path.write_text("one = 1")
    assert hashed(target) == first


def test_a_run_is_outdated_where_it_tells_of_other_code(tmp_path):
    target = "kdbench_papers.hinton.method:Hinton"
    folders = {told: tmp_path / told for told in ("nothing", "other", "same")}
    for told, code in (("other", "another"), ("same", code_of(target))):
        folders[told].mkdir()
        (folders[told] / FILE).write_text(code)
    assert [outdated(folder, target) for folder in folders.values()] == [False, True, False]

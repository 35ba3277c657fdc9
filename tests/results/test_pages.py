import pytest

from kdbench.errors import UserError
from kdbench.results.pages import check_leaderboards, write_leaderboards
from kdbench.results.store import Store

from .samples import cell, cells


@pytest.fixture
def root(tmp_path):
    store = Store(tmp_path)
    for record in [
        *cells("none", {0: 0.5, 1: 0.6}),
        *cells("mimic", {0: 0.6, 1: 0.7}),
        cell("none", dataset="bccd"),
    ]:
        store.write(record)
    store.write(cell("none", dataset="voc", schedule="smoke"))
    return tmp_path


def test_writes_what_check_accepts(root):
    assert len(check_leaderboards(root)) == 4
    paths = write_leaderboards(root)
    assert [path.name for path in paths] == ["bccd.csv", "bccd.md", "digits.csv", "digits.md"]
    assert check_leaderboards(root) == []
    text = (root / "leaderboards/digits.md").read_text()
    assert "- mimic, kdbench 0.1.0: `for seed in 0 1; do kdbench run --method mimic --dataset digits" in text


def test_check_finds_each_difference(root):
    write_leaderboards(root)
    boards = root / "leaderboards"
    (boards / "bccd.md").unlink()
    (boards / "ghost.md").write_text("# ghost\n")
    (boards / "digits.csv").write_text((boards / "digits.csv").read_text().replace(",0.6", ",0.9"))
    problems = check_leaderboards(root)
    assert [problem.partition(": ")[2] for problem in problems] == [
        "missing",
        "differs from what the records give",
        "no record gives it",
    ]
    assert len(check_leaderboards(root, "digits")) == 1


def test_a_new_record_makes_them_stale(root):
    write_leaderboards(root)
    Store(root).write(cell("fitnets", 0.4))
    assert len(check_leaderboards(root)) == 2
    assert [path.stem for path in write_leaderboards(root, "digits")] == ["digits", "digits"]
    assert check_leaderboards(root) == []


def test_written_pages_do_not_depend_on_clock_or_path(root):
    before = [path.read_bytes() for path in write_leaderboards(root)]
    made = {"clock": "2030-01-01T00:00:00+00:00", "path": "elsewhere", "command": "other"}
    Store(root).write(cell("none", 0.5, 0, made=made))
    assert [path.read_bytes() for path in write_leaderboards(root)] == before


def test_a_folder_that_cannot_be_written(root):
    (root / "leaderboards").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_leaderboards(root)

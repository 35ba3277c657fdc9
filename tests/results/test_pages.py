import pytest

from kdbench.errors import UserError
from kdbench.results.pages import leaderboard_files, stale_pages, write_pages
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


def write(root, *datasets):
    return write_pages(leaderboard_files(root, Store(root).records()[0], datasets))


def stale(root, *datasets):
    files = leaderboard_files(root, Store(root).records()[0], datasets)
    return stale_pages(files, root / "leaderboards", datasets)


def test_writes_what_check_accepts(root):
    assert len(stale(root)) == 4
    paths = write(root)
    assert [path.name for path in paths] == ["bccd.csv", "bccd.md", "digits.csv", "digits.md"]
    assert stale(root) == []
    text = (root / "leaderboards/digits.md").read_text()
    assert "- mimic, kdbench 0.1.0: `for seed in 0 1; do kdbench run --method mimic --dataset digits" in text


def test_check_finds_each_difference(root):
    write(root)
    boards = root / "leaderboards"
    (boards / "bccd.md").unlink()
    (boards / "ghost.md").write_text("# ghost\n")
    (boards / "digits.csv").write_text((boards / "digits.csv").read_text().replace(",0.6", ",0.9"))
    problems = stale(root)
    assert [problem.partition(": ")[2] for problem in problems] == [
        "missing",
        "differs from what the records give",
        "no record gives it",
    ]
    assert len(stale(root, "digits")) == 1


def test_a_new_record_makes_them_stale(root):
    write(root)
    Store(root).write(cell("fitnets", 0.4))
    assert len(stale(root)) == 2
    assert [path.stem for path in write(root, "digits")] == ["digits", "digits"]
    assert stale(root) == []


def test_written_pages_do_not_depend_on_clock_or_path(root):
    before = [path.read_bytes() for path in write(root)]
    made = {"clock": "2030-01-01T00:00:00+00:00", "path": "elsewhere", "command": "other"}
    Store(root).write(cell("none", 0.5, 0, made=made))
    assert [path.read_bytes() for path in write(root)] == before


def test_a_folder_that_cannot_be_written(root):
    (root / "leaderboards").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write(root)

import errno
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from kdbench.errors import UserError
from kdbench.files import slug, write_atomically
from kdbench.results.record import Record
from kdbench.results.store import Store

from .samples import cell, teacher


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def test_paths(store):
    record = cell("mimic[weight=2]", seed=4)
    expected = store.root / f"records/digits/tiny/mimic-weight-2-seed4-{record.identity[:12]}.json"
    assert store.write(record) == store.path_of(record) == expected
    assert store.path_of(teacher()).name.startswith("teacher-seed0-")


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "/root", "a\\b", "CON|x", "é", "x" * 500, "."])
def test_a_hostile_name_stays_inside(store, name):
    record = cell(name, dataset=name, pair=name)
    path = store.write(record)
    assert path.resolve().is_relative_to((store.root / "records").resolve())
    assert len(path.relative_to(store.root / "records").parts) == 3
    assert store.records(name) == ([record], [])


def test_slug_is_never_empty_or_hidden():
    assert slug("...") == "x"
    assert slug(".hidden") == "hidden"


def test_find_gives_done_records_only(store):
    good, bad = cell(), cell(seed=1, status="failed")
    store.write(good)
    store.write(bad)
    assert store.find(good.identity) == good
    assert store.find(bad.identity) is None
    assert store.find("f" * 64) is None


@pytest.mark.parametrize("status", ["failed", "timed-out", "skipped"])
def test_not_done_is_replaced_by_done_and_never_the_other_way(store, status):
    store.write(cell(status=status))
    assert store.find(cell().identity) is None
    store.write(cell())
    store.write(cell(status=status))
    assert store.find(cell().identity) == cell()


def test_datasets_are_apart(store):
    store.write(cell(dataset="digits"))
    store.write(cell(dataset="digits-seg"))
    assert [r.dataset for r in store.records("digits")[0]] == ["digits"]
    assert len(store.records()[0]) == 2


def test_a_file_cut_in_half_is_reported_skipped_and_kept(store):
    cut, good = store.write(cell(seed=0)), store.write(cell(seed=1))
    half = cut.read_bytes()[: cut.stat().st_size // 2]
    cut.write_bytes(half)
    records, broken = store.records()
    assert [store.path_of(r) for r in records] == [good]
    assert [b.path for b in broken] == [cut]
    assert "\n" not in str(broken[0])
    assert "JSON" in broken[0].why
    assert store.find(cell(seed=0).identity) is None
    assert cut.read_bytes() == half


def test_writing_over_a_broken_file_keeps_it(store):
    path = store.write(cell())
    path.write_text('{"half')
    store.write(cell())
    assert store.records() == ([cell()], [])
    assert [p.read_text() for p in path.parent.glob("*.broken")] == ['{"half']


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"kind": "cell"}']
)
def test_any_nonsense_is_reported(store, content):
    path = store.write(cell())
    path.write_bytes(content)
    records, broken = store.records()
    assert (records, len(broken)) == ([], 1)


@pytest.mark.parametrize(
    "name", ["a\nerror: b.json", "a\x1b[2J.json", "a\u202eb.json", "conflict.json", ".x.json"]
)
def test_foreign_files_are_one_printable_line(store, name):
    path = store.write(cell()).with_name(name)
    path.write_text("<<<<<<< HEAD")
    (told,) = map(str, store.records()[1])
    assert told.isprintable()
    assert told.endswith("(skipped and kept; the cell counts as missing)")


def test_edited_spec_is_reported(store):
    path = store.write(cell())
    path.write_text(path.read_text().replace('"lr": 0.01', '"lr": 0.02'))
    assert "hash" in store.records()[1][0].why


def test_a_copy_does_not_count_twice(store):
    path = store.write(cell())
    path.with_name(f"copy-{path.name}").write_bytes(path.read_bytes())
    records, broken = store.records()
    assert records == [cell()]
    assert "copy" in broken[0].why


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space left"), (errno.EROFS, "cannot write"), (errno.EACCES, "cannot write")],
)
def test_a_write_that_fails_is_a_line_and_leaves_nothing(store, monkeypatch, number, words):
    path = store.write(cell(seed=9))

    def fail(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=words):
        store.write(cell())
    assert list(path.parent.iterdir()) == [path]


def test_a_results_folder_that_is_a_file(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        Store(tmp_path / "results").write(cell())


def _write_many(job):
    root, worker = job
    store = Store(root)
    for turn in range(15):
        store.write(cell(seed=0, notes=[f"{worker} {turn} " + "x" * 20_000]))
        store.write(cell(seed=worker + 1))
        records, broken = store.records()
        assert not broken
        assert records
    return worker


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_writers_at_once(store, pool):
    more = {"mp_context": multiprocessing.get_context("spawn")} if pool is ProcessPoolExecutor else {}
    with pool(3, **more) as workers:
        assert list(workers.map(_write_many, [(store.root, k) for k in range(3)])) == [0, 1, 2]
    records, broken = store.records()
    assert (sorted(r.seed for r in records), broken) == ([0, 1, 2, 3], [])
    assert not list(store.root.rglob("*.tmp"))


def test_readers_see_whole_files_under_the_umask(tmp_path):
    old = os.umask(0o022)
    try:
        write_atomically(tmp_path / "a", "text\n")
    finally:
        os.umask(old)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "a").read_bytes() == b"text\n"


def test_load_is_the_written_record(store):
    assert Record.model_validate_json(store.write(cell()).read_bytes()) == cell()

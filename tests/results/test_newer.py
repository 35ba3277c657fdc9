"""Records of a newer kdbench: told, never replaced, never taken for missing."""

from __future__ import annotations

import json

import pytest

from kdbench.errors import UserError
from kdbench.results.contributed import add
from kdbench.results.store import Store

from .samples import cell

CHANGES = [
    ({"schema_version": 3}, "schema_version 3, known here is 2"),
    ({"schema_version": 4, "metrics": [0.5], "energy": {}}, "schema_version 4, known here is 2"),
    ({"energy": 7}, "field energy is not known here"),
    ({"metrics": {"last": {"AP50": 0.5}, "worst": {}}}, "field metrics.worst is not known here"),
]


@pytest.fixture(params=CHANGES, ids=lambda change: change[1].partition(",")[0])
def newer(request, tmp_path):
    """A store with a newer record in the place of ``cell()``, the record's file, and what is new in it."""
    changes, told = request.param
    store = Store(tmp_path / "results")
    path = store.write(cell())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return store, path, f"written by a newer kdbench ({told}): update kdbench to use it"


def test_it_is_told_in_one_line_among_the_others(newer):
    store, path, why = newer
    store.write(cell(seed=1))
    records, (file,) = store.records()
    assert records == [cell(seed=1)]
    assert file.newer
    assert str(file) == f"record {path}: {why} (left as it is)"


def test_whoever_asks_for_its_cell_is_refused(newer):
    store, path, why = newer
    with pytest.raises(UserError) as refused:
        store.find(cell().identity)
    assert str(refused.value) == f"record {path}: {why} (left as it is), or choose another results folder."
    assert store.find(cell(seed=1).identity) is None


def test_nothing_takes_its_place(newer):
    store, path, _ = newer
    before = path.read_bytes()
    with pytest.raises(UserError, match="newer kdbench"):
        store.write(cell())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_that_of_others_is_not_added_and_says_why(newer, tmp_path):
    _, path, why = newer
    (refusal,) = add([path], Store(tmp_path / "other")).refused
    assert refusal.why == why


@pytest.mark.parametrize(
    "changes", [{"schema_version": 0}, {"schema_version": "2"}, {"energy": 7, "kind": "x"}]
)
def test_what_is_wrong_in_another_way_is_broken(tmp_path, changes):
    store = Store(tmp_path / "results")
    path = store.write(cell())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert not store.records()[1][0].newer
    assert store.find(cell().identity) is None
    store.write(cell())
    assert store.find(cell().identity) == cell()


def test_one_of_an_older_kdbench_says_so_and_counts_as_missing(tmp_path):
    store = Store(tmp_path / "results")
    path = store.write(cell())
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 1}))
    records, (file,) = store.records()
    assert (records, file.newer) == ([], False)
    assert file.why == "written by an older kdbench (schema_version 1, today's is 2): run it again"
    assert store.find(cell().identity) is None

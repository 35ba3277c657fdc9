import json
from pathlib import Path

import pytest

from kdbench.results.store import Store

RECORDS = Path(__file__).parents[2] / "results" / "records"


@pytest.fixture
def batch(tmp_path):
    """Two rows of the committed results and their teacher, whose runs recorded kdbench's version."""
    cells = sorted((RECORDS / "bccd" / "bccd-faster-rcnn").glob("*-seed0-*"))
    cells = [file for file in cells if file.name.startswith(("none-", "mimic-"))]
    identity = json.loads(cells[0].read_text())["spec"]["teacher"]
    files = [*(RECORDS / "bccd" / "teachers").glob(f"*-{identity[:12]}.json"), *cells]
    assert len(files) == 3
    return [str(file) for file in files]


def test_add_then_check(kdbench, batch, tmp_path):
    place = ("--results", str(tmp_path / "results"))
    done = kdbench("records", "add", *batch, *place, "--reported-by", "Ann")
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 3
    assert {record.reported_by for record in Store(tmp_path / "results").records()[0]} == {"Ann"}
    assert kdbench("records", "check", *place).out == "3 records are good\n"
    again = kdbench("records", "add", batch[0], *place)
    assert (again.code, again.out) == (2, "")
    told, last = again.err.splitlines()
    assert told.startswith(f"{batch[0]}: its result is already in the store: ")
    assert last == "error: no file was added: 1 of 1 are refused for the reasons above."


def test_check_names_what_is_broken(kdbench, batch, tmp_path):
    results = tmp_path / "results"
    kdbench("records", "add", *batch, "--results", str(results))
    path = next(results.rglob("*mimic*.json"))
    path.write_text(path.read_text().replace('"reported_by": "others"', '"reported_by": null'))
    done = kdbench("records", "check", "--results", str(results))
    assert done.code == 2
    assert str(path) in done.err
    assert "error: 1 of 3 records break a rule." in done.err


def test_a_folder_without_records(kdbench, tmp_path):
    done = kdbench("records", "check", "--results", str(tmp_path))
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "no records in" in done.err


def test_the_committed_records_are_good(kdbench):
    done = kdbench("records", "check", "--results", str(RECORDS.parent))
    assert done.code == 0, done.err


def test_the_environment_of_a_record(kdbench, batch):
    done = kdbench("records", "environment", batch[1], "--results", str(RECORDS.parent))
    assert (done.code, done.err) == (0, "")
    assert "torch==2.15.0\n" in done.out
    assert done.out.endswith("# The record has no version of numpy, scipy, cv2, PIL.\n")
    identity = json.loads(Path(batch[1]).read_text())["identity"]
    assert kdbench("records", "environment", identity[:12], "--results", str(RECORDS.parent)) == done
    unknown = kdbench("records", "environment", "0123456789", "--results", str(RECORDS.parent))
    assert (unknown.code, unknown.out) == (2, "")
    assert "no record's identity starts with '0123456789'" in unknown.err

"""Rows of compressions: their own size and latency, in columns that only they bring."""

import csv
import io

from kdbench.results.formats import to_csv
from kdbench.results.leaderboard import frame_of, rankings
from kdbench.results.pages import model_notes
from kdbench.results.record import Cost
from kdbench.results.row import COLUMNS

from .samples import cell

SPREAD = {"median": 9.0, "low": 8.0, "high": 10.0}


def rows(*, compressed):
    sizes = {"student_parameters": 2000, "student_flops": 500_000}
    records = [cell(name, seed=seed, cost=sizes) for name in ("none", "mimic") for seed in (0, 1)]
    if compressed:
        cost = {"student_parameters": 8000, "student_flops": 4_000_000, "student_bits": 9100}
        latency = {"student": SPREAD, "teacher": SPREAD}
        records += [cell("binary-weights", seed=seed, cost=cost, latency=latency) for seed in (0, 1)]
    return rankings(records)


def test_the_page_has_its_size_and_latency_beside_the_pairs():
    (ranking,) = rows(compressed=True)
    where = "cpu on x86_64, 2 cores"
    assert model_notes(ranking) == [
        "Student: 2,000 parameters, 500,000 multiply-adds.",
        "binary-weights: 8,000 parameters in 9,100 bits, 4,000,000 multiply-adds.",
        f"Latency of binary-weights on {where}: student 9 ms (8 to 10), teacher 9 ms (8 to 10), in turns, nothing "
        "beside them.",
    ]


def test_the_column_is_there_only_with_such_a_row():
    without, with_it = rows(compressed=False), rows(compressed=True)
    assert "student_bits" not in to_csv(without).splitlines()[0].split(",")
    found = list(csv.DictReader(io.StringIO(to_csv(with_it))))
    assert list(found[0]) == [*COLUMNS, "student_bits"]
    bits = {row["method"]: row["student_bits"] for row in found}
    assert bits == {"teacher": "", "none": "", "mimic": "", "binary-weights": "9100.0"}
    frame = frame_of(with_it).set_index("method")
    assert frame.loc["binary-weights", "student_bits"] == 9100
    assert frame["student_bits"].isna().sum() == len(frame) - 1


def test_records_without_it_keep_their_text():
    assert "student_bits" not in cell().to_json()
    assert '"student_bits": 7' in cell(cost=Cost(student_bits=7).model_dump()).to_json()

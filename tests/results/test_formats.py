import csv
import io

import pytest
from rich.console import Console

from kdbench.results.formats import REPORTED_LEGEND, folded, interval, legend, tables, to_csv
from kdbench.results.leaderboard import rankings
from kdbench.results.table import escape, guard
from kdbench.text import printable

from .samples import cell, cells

BASE = {0: 0.50, 1: 0.52}


def markdown(*records):
    return "\n".join(table.markdown() for table in tables(rankings(records)))


def terminal(width, *records):
    console = Console(width=width, record=True, file=io.StringIO())
    for table in tables(rankings(records)):
        console.print(table.rich())
    return console.export_text()


@pytest.mark.parametrize(
    "text", ["=1+1", "+cmd", "-x", "@SUM(A1)", "\t=1", "\r=1", "-1.0\n=2", "+-1", "-inf", "--1"]
)
def test_formulas_are_disarmed(text):
    assert guard(text) == f"'{printable(text)}"


@pytest.mark.parametrize("text", ["-1.5", "+2.0", "0", "none", "", "a=1", "mimic[weight=-1]"])
def test_numbers_and_words_stay(text):
    assert guard(text) == text


def test_csv():
    records = [*cells("none", BASE), *cells("=HYPERLINK(1)", {0: 0.4, 1: 0.3}), cell("one", 0.6)]
    rows = list(csv.DictReader(io.StringIO(to_csv(rankings(records)))))
    by = {row["method"]: row for row in rows}
    assert list(by) == ["teacher", "none", "one", "'=HYPERLINK(1)"]
    bad = by["'=HYPERLINK(1)"]
    assert (bad["mean"], bad["difference"], bad["seeds"]) == ("0.35", "-0.16", "2")
    assert (by["one"]["std"], by["one"]["low"], by["one"]["verdict"]) == ("", "", "one seed")
    assert by["teacher"]["difference"] == ""
    assert float(by["one"]["gap_closed"]) == pytest.approx(1 / 3)


def test_markdown():
    text = markdown(*cells("none", BASE), *cells("mimic[weight=2]", {0: 0.6, 1: 0.63}))
    lines = text.splitlines()
    assert lines[0].startswith("## digits: tiny (default schedule, cpu fp32, recipe ")
    assert lines[2] == (
        "| method | seeds | AP50 | std | vs plain | 95 % interval | gap closed | time | verdict |"
    )
    assert lines[4] == "| teacher | 1 | 80.0 |  |  |  |  |  |  |"
    assert lines[5] == "| none | 2 | 51.0 | 1.4 |  |  |  |  |  |"
    assert (
        lines[6] == "| mimic[weight=2] | 2 | 61.5 | 2.1 | +10.5 | [+4.1, +16.9] | 36.2 % | 1.00x | better |"
    )


def test_columns_that_say_nothing_are_left_away():
    untimed = {"seconds": None}
    plain = cells("none", BASE, **untimed)
    (table,) = tables(rankings([*plain, *cells("mimic", {0: 0.6, 1: 0.63}, **untimed)]))
    assert {"time", "left out"}.isdisjoint(table.titles)
    assert {len(cells) for cells in table.rows} == {len(table.titles)} == {len(table.align)}
    failed = cell("mimic", 0.6, 7, status="failed", metrics=None, **untimed)
    (table,) = tables(rankings([*plain, *cells("mimic", {0: 0.6, 1: 0.63}, **untimed), failed]))
    assert "time" not in table.titles
    assert [cells[table.titles.index("left out")] for cells in table.rows] == ["", "", "1 failed"]


def test_markdown_escapes_what_would_act():
    assert escape("a|b\n<script>`x`\\|") == "a\\|b &lt;script&gt;\\`x\\`\\\\\\|"
    text = markdown(*cells("none", BASE), *cells("a|b", BASE))
    line = next(line for line in text.splitlines() if "a\\|b" in line)
    assert line.replace("\\|", "").count("|") == 10


def test_seeds_that_are_not_shared_are_told():
    text = markdown(*cells("none", BASE), *cells("mimic", {0: 0.6, 1: 0.63, 2: 0.9}))
    assert "(2 shared)" in text
    assert "| (0 shared)" not in text


def test_no_minus_zero():
    text = markdown(cell("none", 0.5), cell("mimic", 0.4999999))
    assert "+0.0" in text
    assert "-0.0" not in text


def test_failures_are_counts():
    text = markdown(*cells("none", BASE), *cells("mimic", {0: 0.9, 1: 0.9}, status="timed-out"))
    assert "| mimic |  |  |  |  |  |  | 2 failed | no result |" in text


@pytest.mark.parametrize("width", [80, 200])
def test_table_shows_brackets_as_text_and_no_number_cut(width):
    records = [
        *cells("none", BASE),
        *cells("m[red]", {0: 0.6, 1: 0.62}),
        *cells("w", {0: 0.6, 1: 0.63}),
        *cells("x", {0: 0.5, 1: 0.53}),
        cell("y"),
    ]
    shown = terminal(width, *records)
    assert all(len(line) <= width for line in shown.splitlines())
    for text in ("m[red]", "51.0", "1.4", ", +", "36.2 %", "1.00x", "evidence", "seed"):
        assert text in shown
    assert "…" not in shown


def test_a_long_selector_folds_in_a_narrow_terminal_and_no_letter_is_lost():
    long = "fine-grained[variant=imitation+logits]"
    records = [*cells("none", BASE), *cells(long, {0: 0.6, 1: 0.7}), *cells("mimic", {0: 0.6, 1: 0.63})]
    assert long in terminal(130, *records)
    lines = terminal(80, *records).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert long in "".join(line.split("  ")[0].strip() for line in lines)
    assert "[-" in lines[next(place for place, line in enumerate(lines) if "fine" in line)]


@pytest.mark.parametrize(
    ("selector", "width", "lines"),
    [
        ("mimic", 3, ["mimic"]),
        ("mimic[a=1,b=2]", 99, ["mimic[a=1,b=2]"]),
        ("mimic[a=1,b=2]", 6, ["mimic[", "a=1,b=", "2]"]),
        ("a" * 9 + "[b]", 4, ["a" * 9 + "[", "b]"]),
    ],
)
def test_folded(selector, width, lines):
    assert folded(selector, width).split("\n") == lines


def test_seeds_that_others_report_are_told_in_every_format():
    mine, theirs = cells("mimic", BASE), [cell("mimic", 0.6, 2, reported_by="Ann")]
    found = rankings([*cells("none", BASE), *mine, *theirs, cell("hinton", 0.6, 0, reported_by="Ann")])
    (table,) = tables(found)
    assert "| mimic | 3 (1 by others) | " in table.markdown()
    assert "| hinton | 1 (1 by others) | " in table.markdown()
    assert "| none | 2 | " in table.markdown()
    assert "3 (1 by others)" in table.latex()
    assert [row["reported"] for row in csv.DictReader(io.StringIO(to_csv(found)))] == ["0", "0", "1", "1"]
    assert REPORTED_LEGEND in legend(found)
    assert REPORTED_LEGEND not in legend(rankings([*cells("none", BASE), *mine]))


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [
        (-0.00003, 0.211, "[-0.0, +21.1]"),
        (0.00003, 0.211, "[+0.0, +21.1]"),
        (-0.2, -0.00003, "[-20.0, -0.0]"),
        (-0.0, 0.1, "[+0.0, +10.0]"),
    ],
)
def test_an_end_that_rounds_to_zero_keeps_its_sign(low, high, shown):
    """An interval that contains 0 never reads as if it did not, beside "no evidence"."""
    assert interval({"low": low, "high": high, "shared_seeds": 3, "seeds": 3, "interval": ""}) == shown

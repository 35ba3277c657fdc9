import csv
import io

import lacking
import pandas as pd
import pytest

from kdbench.errors import UserError
from kdbench.results import pages
from kdbench.results.across import across
from kdbench.results.leaderboard import frame_of, rankings
from kdbench.results.pages import TEXTS, across_text, details, to_parquet, write_boards
from kdbench.results.row import COLUMNS
from kdbench.results.table import latex

from .samples import MADE, cell, cells

PLAIN = {0: 0.50, 1: 0.52}
GOOD = {0: 0.60, 1: 0.63}


def board(method="mimic", dataset="digits", **more):
    return rankings([*cells("none", PLAIN, dataset=dataset), *cells(method, GOOD, dataset=dataset, **more)])


def changed(**values):
    (one,) = board()
    return [one.with_rows([*one.rows[:2], one.rows[2].but(**values)])]


def test_latex_escapes_what_would_act():
    text = r"a_b & 5 % $x$ #1 {y} ~ ^ \input{z} <s> [1]"
    assert latex(text) == (
        r"a\_b \& 5 \% \$x\$ \#1 \{y\} \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{}input\{z\} \textless{}s\textgreater{} {[}1{]}"
    )
    assert latex("[-1.5, +2.0] l2-b 3-4 -x") == "{[}$-$1.5, +2.0{]} l2-b 3-4 -x"
    shown = TEXTS["latex"](board("m[x=a_b]"))
    assert r"m{[}x=a\_b{]} & 2 & 61.5 & 2.1 & +10.5" in shown
    assert shown.count(r"\begin{tabular}{lrrrrrrrl}") == shown.count(r"\end{table}") == 1
    lines = [line for line in shown.splitlines() if line.endswith(r" \\")]
    assert {line.count(" & ") for line in lines} == {8}


def test_csv_has_every_column_and_no_formula():
    hostile = {"made": {**MADE, "command": "=cmd|' /C calc'!A0"}, "schedule": "custom"}
    found = rankings([*cells("none", PLAIN, schedule="custom"), *cells("@x", GOOD, plugin="+p 1", **hostile)])
    got = list(csv.DictReader(io.StringIO(TEXTS["csv"](found))))
    assert set(got[0]) == set(COLUMNS)
    assert (got[2]["method"], got[2]["plugin"]) == ("'@x", "'+p 1")
    assert got[2]["command"].startswith("'=cmd")
    assert not [value for row in got for value in row.values() if value[:1] in "=+@" and value[:1]]
    assert (got[2]["peak_memory_mib"], got[2]["relative_gain"]) == ("300.0", repr(0.105 / 0.51))


def test_small_p_values_stay_numbers():
    assert "1.25e-07" in TEXTS["csv"](changed(p=1.25e-7))


def test_details_have_costs_and_commands_and_nothing_acts():
    text = details(board("a|b`c"))
    assert "| a\\|b\\`c | 1.00x | 300 |" in text
    line = next(line for line in text.splitlines() if line.startswith("- a\\|b"))
    assert line.split(": ", 1)[1].startswith("`` for seed in 0 1; do kdbench run --method 'a|b`c'")
    assert "Beside the paper" not in text


def test_details_say_that_the_papers_setting_is_another():
    text = details(changed(paper_difference=0.047, paper_setting="VOC07 mAP, A to B [P]"))
    assert "It is another setting" in text
    assert "| mimic | VOC07 mAP, A to B [P] | +10.5 | [+4.1, +16.9] | +4.7 |" in text


def test_across_as_text():
    found = across([*board(), *board(dataset="voc")])
    lines = across_text(found, "csv").splitlines()
    assert lines[1].startswith("1,2,digits: tiny; voc: tiny,mimic,1.0,0.20588")
    assert "| mimic | 1.00 | +20.6 % | 0.16 | no evidence |" in across_text(found, "markdown")
    assert r"mimic & 1.00 & +20.6 \%" in across_text(found, "latex")


def test_parquet():
    lacking.extra("pyarrow", "the extra `parquet` is not installed")
    frame = frame_of(board())
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(to_parquet(frame))), frame)


def test_parquet_without_pyarrow(monkeypatch):
    monkeypatch.setattr(pages, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'kdbench\[parquet\]'"):
        to_parquet(frame_of(board()))


def test_files(tmp_path):
    found = {"digits": board(), "My Data": board()}
    paths = write_boards(found, "markdown", tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["digits.md", "my-data.md"]
    assert paths[0].read_text().startswith("# digits\n\nScores are x100")
    with pytest.raises(UserError, match="two leaderboards would be"):
        write_boards({**found, "my-data": board()}, "csv", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_boards(found, "csv", tmp_path / "file")


def test_failed_cells_are_told():
    records = [*cells("none", PLAIN), *cells("x", GOOD), cell("x", seed=2, status="failed")]
    assert "| 1 failed | better |" in TEXTS["markdown"](rankings(records))

"""What the papers of all methods report, in one table."""

from decimal import Decimal

import pytest

from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.results.papers import paper_results
from kdbench.results.reported_table import REPORTED_COLUMNS, entries, label, reported_table

HEAD = "paper,table,dataset,teacher,student,variant,metric,value,source\n"


def results(tmp_path, text):
    file = tmp_path / "reported.csv"
    file.write_text(HEAD + text)
    return paper_results(file)


def test_a_number_stands_beside_plain_student_and_teacher_of_its_table(tmp_path):
    [one, other] = results(
        tmp_path,
        "p,1x,COCO,T,,teacher,mAP,44.9,C\np,1x,COCO,,S,plain,mAP,40.2,C\np,1x,COCO,T,S,both,mAP,43.7,C\n"
        "p,2x,COCO,,S,plain,mAP,41,C\np,2x,COCO,T,S,both,mAP,43,C\n",
    )
    assert (one.value, one.plain, one.teacher) == (Decimal("43.7"), Decimal("40.2"), Decimal("44.9"))
    assert one.difference == Decimal("3.5")
    assert (other.difference, other.teacher) == (Decimal(2), None)


def test_of_errors_less_is_better(tmp_path):
    [one] = results(tmp_path, "p,1,MNIST,,S,plain,error %,1.9,N\np,1,MNIST,,S,two-stage,error %,0.51,N\n")
    assert one.difference == Decimal("1.39")


def test_a_printed_gain_is_the_difference(tmp_path):
    [both, alone] = results(
        tmp_path,
        "p,a,COCO,,S,not told,mAP,41.5,P\np,a,COCO,,S,not told,mAP gain,4.1,P\n"
        "p,a,COCO,,R,not told,mAP gain,3.4,P\n",
    )
    assert (both.value, both.difference) == (Decimal("41.5"), Decimal("4.1"))
    assert (alone.value, alone.difference, alone.row["metric"]) == (None, Decimal("3.4"), "mAP")


def test_rows_that_are_no_numbers_are_passed_over(tmp_path):
    assert results(tmp_path, "p,1,COCO,,S,both,mAP,about 40,P\np,1,COCO,,S,both\n") == ()


@pytest.mark.parametrize(
    ("method", "variant", "told"),
    [
        ("chen", "all", "chen"),
        ("chen", "l2-b", "chen[variant=l2-b]"),
        ("mgd", "cells with cwd on the logits", "mgd: cells with cwd on the logits"),
        ("hinton", "temperature=4", "hinton[temperature=4]"),
        ("hinton", "T=20", "hinton: T=20"),
        ("structured", "pixel+pair+holistic, with unlabelled images",
         "structured: pixel+pair+holistic, with unlabelled images"),
        ("gid", "", "gid"),
    ],
)  # fmt: skip
def test_a_variant_is_called_by_the_selector_that_runs_it(method, variant, told):
    assert label(registry().method(method).value, variant) == told


def test_methods_of_one_setting_stand_together_the_best_first():
    found = [one for one in entries(["cityscapes"]) if one.result.row["student"] == "PSPNet-R18"]
    rows = [(one.result.row["teacher"], one.result.difference) for one in found]
    assert rows == sorted(rows, key=lambda row: (row[0].lower(), row[1] is None, -(row[1] or 0)))
    same = {one.method for one in found if one.result.row["teacher"] == "PSPNet-R101"}
    assert {"structured", "at", "ifvd", "mgd"} <= same


def test_chosen_datasets_methods_and_order():
    found = entries(["voc", "coco"], ["fine-grained", "ld"], sort="vs plain")
    assert {one.method for one in found} == {"fine-grained", "ld"}
    assert {one.result.row["dataset"] for one in found} == {"VOC07", "COCO"}
    gains = [one.result.difference for one in found]
    assert gains == sorted(gains, reverse=True)
    by_name = [one.result.row["student"].lower() for one in entries(["coco"], ["fgd"], sort="student")]
    assert by_name == sorted(by_name)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"datasets": ["coca"]}, "no number on 'coca' is reported here. Did you mean 'coco'?"),
        ({"methods": ["mgb"]}, "Did you mean 'mgd'?"),
        ({"sort": "vs plane"}, "no column 'vs plane' to sort by. Did you mean 'vs plain'?"),
    ],
)
def test_mistakes(asked, told):
    with pytest.raises(UserError, match=r"(?s).*") as raised:
        entries(**asked)
    assert told in str(raised.value)


def test_the_table_leaves_blank_columns_out():
    table = reported_table(entries(methods=["fitnets"]))
    assert list(table.titles) == [
        one.title for one in REPORTED_COLUMNS if one.title not in ("teacher", "teacher score", "note")
    ]
    assert table.rows[0][3:7] == ["fitnets[variant=two-stage]", "0.51", "1.9", "+1.39"]
    assert "D: computed from" in table.note

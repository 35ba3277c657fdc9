"""The pictures: what they show, in numbers and as files."""

import itertools
import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdbench.plugins import registry
from kdbench.results.html.columns import per_class
from kdbench.results.leaderboard import rankings
from kdbench.results.plots import cost, curves, intervals, paper, rank_diagram
from kdbench.results.plots.cost import apart, front
from kdbench.results.plots.curves import average
from kdbench.results.plots.picture import SVG
from kdbench.results.plots.ranks import cliques
from kdbench.text import printable

from .samples import cell, cells, teacher

NUMBER = st.integers(0, 5).map(float)


def ranking(*records):
    (one,) = rankings(records)
    return one


def with_classes(selector, seed, cat, dog):
    score = (cat + dog) / 2
    last = {"AP50": score, "AP50/cat": cat, "AP50/dog": dog, "AP75": 0.1}
    return cell(selector, score, seed, metrics={"last": last})


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=1, max_size=12))
def test_the_front_is_what_no_point_beats(points):
    def beaten(point):
        return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in points)

    found = front(points)
    assert set(found) == {place for place, point in enumerate(points) if not beaten(point)}
    assert [points[place][0] for place in found] == sorted(points[place][0] for place in found)


@given(st.lists(st.floats(1, 9), min_size=2, max_size=10).map(sorted), st.floats(0.1, 5))
def test_cliques_join_exactly_what_lies_within_the_critical_difference(values, critical):
    found = cliques(values, critical)
    for one in range(len(values)):
        for two in range(one + 1, len(values)):
            joined = any(first <= one and two <= last for first, last in found)
            assert joined == (values[two] - values[one] < critical)
    assert not any(a != b and a[0] <= b[0] and b[1] <= a[1] for a in found for b in found)


def test_records_go_to_their_rows():
    records = [
        *cells("none", {0: 0.5, 1: 0.5}),
        *cells("mimic", {0: 0.6, 1: 0.7}),
        *cells("mimic", {0: 0.3}, revision=2),
        *cells("none", {0: 0.1}, iterations=7),
        cell("mimic", seed=5, status="failed", metrics=None),
    ]
    one, other = rankings(records)
    if not one.methods:
        one, other = other, one
    assert other.level("none") == 0.1
    assert sorted(len(row.done) for row in one.rows[1:]) == [1, 2, 2]
    found = sorted(one.differences(row["method"]) for row in one.methods)
    assert found == [pytest.approx([-0.2]), pytest.approx([0.1, 0.2])]
    for row in one.methods:
        assert math.isclose(row["difference"], sum(d := one.differences(row["method"])) / len(d))


def test_intervals_say_what_they_show():
    one = ranking(*cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.6, 1: 0.7}), teacher())
    picture = intervals([one])
    assert picture.text.startswith("Plain student 50.0 AP50, teacher 80.0. mimic: +15.0 [")
    assert intervals([ranking(*cells("none", {0: 0.5}))]) is None


def test_the_marks_stand_where_the_numbers_are():
    one = ranking(*cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.6, 1: 0.7}))
    (axis,) = intervals([one]).figure.axes
    drawn = [list(line.get_xdata()) for line in axis.lines]
    assert [pytest.approx([10, 20]), pytest.approx([15])] == drawn[2:]


def test_an_interval_from_few_own_seeds_does_not_set_the_axis():
    one = ranking(*cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.6, 1: 0.7}))
    rows = [*one.rows[:-1], one.rows[-1].but(interval="own", low=-9.0, high=0.3)]
    (axis,) = intervals([replace(one, rows=rows)]).figure.axes
    left, right = axis.get_xlim()
    assert -5 < left < 0
    assert 20 < right < 30
    arrows = {
        line.get_marker(): line.get_xdata()[0] for line in axis.lines if line.get_marker() in ("<", ">")
    }
    assert arrows == {"<": left, ">": right}


def test_cost_names_what_is_not_beaten():
    one = ranking(
        *cells("none", {0: 0.5}),
        *cells("mimic", {0: 0.6}, seconds=0.2),
        *cells("hinton", {0: 0.55}, seconds=0.3),
    )
    said = cost(one).text
    assert (
        said == "Not beaten in both, from cheap to dear: none (1.00x, +0.0), mimic (2.00x, +10.0). "
        "Beaten: hinton (3.00x, +5.0)."
    )
    assert cost(ranking(*cells("none", {0: 0.5}), *cells("mimic", {0: 0.6}, seconds=None))) is None


def test_marks_stay_on_their_points_where_there_is_room():
    points = [(0.0, 0.0), (30.0, 0.0), (30.0, 13.0)]
    assert apart(points, 12) == points


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=40))
def test_marks_never_cover_each_other(points):
    found = apart(points, 12)
    assert len(found) == len(points)
    assert all(math.dist(one, other) > 11.99 for one, other in itertools.combinations(found, 2))


def test_costs_far_apart_have_a_logarithmic_axis():
    def axis(*seconds):
        rows = [cell(f"m{i}", 0.5 + 0.01 * i, seconds=value) for i, value in enumerate(seconds)]
        return cost(ranking(cell("none", 0.5), *rows)).figure.axes[0]

    assert axis(0.1, 0.2).get_xscale() == "linear"
    assert axis(0.1, 0.11, 3.0).get_xscale() == "log"


def test_a_curve_is_averaged_where_every_seed_was_evaluated():
    assert average({0: {10: 0.2, 20: 0.4}, 1: {10: 0.4}}) == {10: pytest.approx(0.3)}
    one = ranking(*cells("none", {0: 0.5}), *cells("mimic", {0: 0.6}))
    assert "mimic: 60.0 at 100." in curves(one).text
    assert curves(ranking(*cells("none", {0: 0.5}), *cells("mimic", {0: 0.6}, curve=[]))) is None


def test_classes_are_paired_differences():
    one = ranking(
        with_classes("none", 0, 0.5, 0.3),
        with_classes("none", 1, 0.4, 0.3),
        with_classes("mimic", 0, 0.6, 0.3),
        with_classes("mimic", 1, 0.7, 0.2),
        with_classes("mimic", 2, 0.9, 0.9),
    )
    found = per_class(one)
    assert found.classes == ("cat", "dog")
    assert found.differences["mimic"] == (pytest.approx(0.2), pytest.approx(-0.05))
    assert found.colour(found.largest) == "#4393c3"
    assert found.colour(math.nan) == ""
    assert per_class(ranking(*cells("none", {0: 0.5}), *cells("mimic", {0: 0.5}))) is None


def test_the_paper_is_told_with_its_setting():
    described = {"task": "detection"}
    options = {"options": registry().method("mimic").value.options().recorded()}
    one = ranking(
        *cells("none", {0: 0.5}, described=described),
        *cells("mimic", {0: 0.6}, described=described, **options),
        *cells("hinton", {0: 0.6}, described=described),
    )
    assert "paper +0.6 (WIDER FACE easy AP, VGG-1-32 R-FCN [P])" in paper(one).text
    assert "hinton" not in paper(one).text


def test_ranks_say_who_is_not_told_apart():
    picture = rank_diagram({"mimic": 1.2, "<b>": 1.9, "chen": 2.9}, 1.0, 5)
    assert picture.text == (
        "Average ranks over 5 rankings, 1 is best: mimic 1.20, <b> 1.90, chen 2.90. Critical difference 1.00. "
        "Not told apart: mimic to <b>."
    )
    assert "&lt;b&gt;" in picture.svg()
    assert rank_diagram({"mimic": 1.0}, 1.0, 5) is None


def test_files_are_the_same_each_time_and_pictures():
    def made():
        return rank_diagram({"mimic": 1.2, "hinton": 1.9}, 1.0, 5)

    assert made().svg() == made().svg()
    assert made().png() == made().png()
    assert made().png().startswith(b"\x89PNG")
    tree = ElementTree.fromstring(made().svg())
    assert [child.tag for child in tree[:2]] == [f"{{{SVG}}}title", f"{{{SVG}}}desc"]
    assert tree.get("width").endswith("pt")


def test_inline_pictures_follow_the_page():
    inline = rank_diagram({"mimic": 1.2, "hinton": 1.9}, 1.0, 5).inline("here")
    tree = ElementTree.fromstring(inline)
    assert "var(--ink)" in inline
    assert "#1f2329" not in inline
    assert "<style" not in inline
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert all(name.startswith("here-") for name in ids)
    assert len(ids) == len(set(ids))


def test_names_that_break_xml_or_mathtext_are_drawn():
    name = "$\\frac{a$ \x00\ud800 <&>" + "x" * 200
    picture = rank_diagram({name: 1.0, "b": 2.0}, 0.5, 3)
    ElementTree.fromstring(picture.inline("a"))
    assert picture.png()


def test_printable_shortens_and_shows_what_cannot_be_seen():
    assert printable("a\nb\x07c") == "a\ufffdb\ufffdc"
    assert printable("abcdef", 4) == "abc…"
    assert printable("abcd", 4) == "abcd"


def test_intervals_of_several_rankings_are_panels_with_names():
    records = [*cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.6, 1: 0.7})]
    records += [*cells("none", {0: 0.5}, pair="other"), *cells("hinton", {0: 0.6}, pair="other")]
    picture = intervals(rankings(records))
    titles = [axis.get_title(loc="left") for axis in picture.figure.axes]
    assert [title.split("\n")[0] for title in titles] == ["digits, other", "digits, tiny"]

"""The page as text: complete, escaped, the same for the same records."""

import re
from html.parser import HTMLParser

import pytest

from kdbench.benchmarks import options_of
from kdbench.errors import UserError
from kdbench.results.html import write_page
from kdbench.results.html.columns import anchor
from kdbench.results.html.page import breakable, visible, web
from kdbench.results.naming import method_in
from kdbench.results.store import Store

from .samples import cell, cells, teacher

EVIL = "<script>alert(1)</script>"
HOSTILE = [
    EVIL,
    '"><img src=x onerror=alert(1)>',
    "'onmouseover='alert(1)",
    "</style></title><svg onload=alert(1)>",
    "{{ 7 * 7 }}",
    "$\\frac{1}$ %s & \u202e\u0000\u0007",
    "url(#x)",
]


class Tags(HTMLParser):
    """Every tag with its attributes, every id, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attrs for tag, attrs in self.tags if tag == name]


def write(root, *records):
    for record in records:
        Store(root).write(record)
    return write_page(root, root / "page")


def board(*methods, **more):
    """The plain student and methods that gain more and more, two seeds each."""
    made = [*cells("none", {0: 0.5, 1: 0.52}, **more), teacher()]
    for place, name in enumerate(methods, 1):
        made += cells(
            name, {0: 0.5 + 0.02 * place, 1: 0.53 + 0.02 * place}, seconds=0.1 + 0.01 * place, **more
        )
    return made


def read(root, *records):
    return Tags(write(root, *records).read_text(encoding="utf-8"))


def test_the_page_has_every_row_card_and_picture(tmp_path):
    page = read(tmp_path, *board("mimic", "hinton[weight=2]", "unheard-of"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {"method-mimic", "method-hinton", "method-unheard-of", "method-chen", "ranking-1"} <= set(ids)
    assert "hinton[weight=2]" in page.text
    assert "kdbench run --method 'hinton[weight=2]' --dataset digits" in page.text
    assert "No installed plugin has this method" in page.text
    assert "L = lambda_1 L_m + L_task" in page.text
    names = sorted(path.name for path in (tmp_path / "page/figures").iterdir())
    assert names == [f"ranking-1-{kind}.svg" for kind in ("cost", "curves", "intervals")]


def test_every_link_in_the_page_arrives(tmp_path):
    page = read(tmp_path, *board("mimic", *HOSTILE))
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    for attrs in page.all("a"):
        href = attrs["href"]
        if href.startswith("#"):
            assert href[1:] in ids
        elif not href.startswith("https://"):
            assert (tmp_path / "page" / href).is_file()


def test_every_picture_has_words(tmp_path):
    page = read(tmp_path, *board("mimic"))
    pictures = page.all("svg")
    assert len(pictures) == 3
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    for picture in pictures:
        assert picture["role"] == "img"
        assert set(picture["aria-labelledby"].split()) <= ids
    assert "mimic: +2.5" in page.text


def test_whatever_a_record_holds_shows_as_text(tmp_path):
    page = read(tmp_path, *board(*HOSTILE, pair=EVIL, metric=EVIL, dataset='"<b>'))
    assert [set(attrs) for attrs in page.all("script")] == [set()]
    assert not page.all("img")
    assert not page.all("b")
    assert len(page.all("style")) == 1
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]
    assert "{{ 7 * 7 }}" in page.text
    assert page.text.count(EVIL) > 5
    assert "\u202e" not in page.text
    assert "\u0000" not in page.text


def test_whatever_a_record_holds_shows_as_text_in_svg_files(tmp_path):
    write(tmp_path, *board(*HOSTILE, pair=EVIL))
    for file in (tmp_path / "page/figures").iterdir():
        picture = Tags(file.read_text(encoding="utf-8"))
        assert not picture.all("script")
        assert not picture.all("img")
        assert "<script>" in picture.text


def test_whatever_a_card_holds_shows_as_text(tmp_path, add_plugin):
    add_plugin(
        "their-kd",
        f"""
        @hookimpl
        def kdbench_methods():
            yield card("evil", title={EVIL!r}, authors={EVIL!r}, equations={EVIL!r}, bibtex="</pre>" + {EVIL!r},
                       link="javascript:alert(1)", variants={{{EVIL!r}: {EVIL!r}}})
            yield card("good", link="https://example.org/?a=1&b=<2>")
        """,
    )
    page = read(tmp_path, *board("evil"))
    assert len(page.all("script")) == 1
    links = [attrs["href"] for attrs in page.all("a")]
    assert not [link for link in links if "javascript" in link]
    assert "https://example.org/?a=1&b=<2>" in links


@pytest.mark.parametrize(
    "link",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "java\nscript:alert(1)",
        "https:",
        "//x",
        "http://[",
        "",
    ],
)
def test_only_web_links_are_links(link):
    assert web(link) == ""


def test_a_link_keeps_its_address():
    assert web("https://arxiv.org/abs/1503.02531") == "https://arxiv.org/abs/1503.02531"


def test_a_selector_is_broken_between_its_parts_and_stays_text():
    assert breakable("a-b[x=1,y=<i>]") == "a-<wbr>b[<wbr>x=<wbr>1,<wbr>y=<wbr>&lt;i&gt;]"
    assert breakable("\u202eplain") == "\ufffdplain"


def test_visible_keeps_lines_and_drops_what_hides():
    assert visible("a\n\u202eb\u0000\ud800") == "a\n\ufffdb\ufffd\ufffd"


@pytest.mark.parametrize(
    ("label", "name"),
    [("mimic", "mimic"), ("mimic[weight=2]", "mimic"), ("mimic (kdbench 0.1.0, options 12ab)", "mimic")],
)
def test_a_card_is_linked_by_its_name(label, name):
    assert anchor(method_in(label)) == f"method-{name}"


def test_the_anchor_of_a_name_that_no_plugin_could_have():
    assert re.fullmatch(r"method-[0-9a-f]{12}", anchor(EVIL))
    assert anchor(EVIL) != anchor("<script>")


def test_nothing_in_the_page_is_loaded_from_elsewhere(tmp_path):
    page = read(tmp_path, *board("mimic"))
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "srcset" in attrs]
    assert [attrs["href"] for attrs in page.all("link")] == ["data:,"]
    policy = page.all("meta")[2]["content"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_a_method_without_evidence_is_not_recommended(tmp_path):
    page = read(tmp_path, *cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.4, 1: 0.7}))
    assert "No method shows evidence of help here." in page.text
    assert "Try" not in page.text


def test_a_method_with_evidence_says_how_sure_what_it_costs_and_how_to_get_it(tmp_path):
    seeds = range(3)
    plain = cells("none", dict.fromkeys(seeds, 0.5))
    gains = cells("mimic", {seed: 0.6 + 0.001 * seed for seed in seeds}, seconds=0.2)
    page = read(tmp_path, *plain, *gains, *cells("hinton", {seed: 0.59 + 0.02 * seed for seed in seeds}))
    said = " ".join(page.text.split())
    assert "Try hinton first: +11.0 [+3.9, +18.1]† points over 3 seeds, 1.00x the time of" in said
    assert "The seeds do not tell it from the other." in said


def test_what_is_not_ranked_is_counted(tmp_path):
    page = read(
        tmp_path,
        *board("mimic"),
        cell("mimic", seed=7, status="failed", metrics=None),
        cell("chen", schedule="smoke"),
    )
    said = " ".join(page.text.split())
    assert "1 smoke run: never ranked." in said
    assert "1 run that failed, timed out or was skipped: counted in its row, never averaged." in said
    assert "1 failed" in said


def test_the_page_does_not_depend_on_clock_path_or_order(tmp_path):
    records = board("mimic", "hinton")
    one, two = write(tmp_path / "a", *records), write(tmp_path / "b", *reversed(records))
    assert one.read_bytes() == two.read_bytes()
    for file in (tmp_path / "a/page/figures").iterdir():
        assert file.read_bytes() == (tmp_path / "b/page/figures" / file.name).read_bytes()


def test_datasets_are_chosen_in_order(tmp_path):
    write(tmp_path, *board("mimic"), *board("mimic", dataset="bccd"), *board("mimic", dataset="voc"))
    page = Tags(write_page(tmp_path, tmp_path / "page", ["voc", "bccd"]).read_text())
    assert page.text.index("voc: tiny") < page.text.index("bccd: tiny")
    assert "digits: tiny" not in page.text
    assert not list((tmp_path / "page/figures").glob("ranking-3-*"))


BENCHMARK = """
title: A <b>test</b>
dataset: digits
pairs: [digits-gfl, digits-faster-rcnn]
seeds: 0..1
methods: [hinton, fitnets]
"""


@pytest.fixture
def benchmark(tmp_path):
    """A benchmark file, and records of more than it asks for: another seed, another method, another dataset."""

    def own(selector, scores):
        return cells(selector, scores, pair="digits-gfl", options=options_of(selector))

    records = [*own("none", dict.fromkeys(range(3), 0.5)), *own("hinton", {0: 0.61, 2: 0.95})]
    records += [*cells("other", {0: 0.9}, pair="digits-gfl"), *board("mimic", dataset="bccd")]
    records += [cell("fitnets", schedule="smoke", pair="digits-gfl")]
    for record in records:
        Store(tmp_path).write(record)
    file = tmp_path / "mine.yaml"
    file.write_text(BENCHMARK)
    return file


def test_a_benchmark_shows_its_own_cells_and_what_is_missing(tmp_path, benchmark):
    page = Tags(write_page(tmp_path, tmp_path / "page", [str(benchmark)]).read_text())
    said = " ".join(page.text.split())
    rows = {attrs["data-words"] for attrs in page.all("tr") if "data-words" in attrs}
    assert rows & {"hinton", "fitnets", "other", "mimic"} == {"hinton", "fitnets"}
    assert "+11.0" in said
    assert "95.0" not in said
    assert "1 missing" in said
    assert "2 missing" in said
    assert "only what the benchmark 'A <b>test</b>' asks for" in said
    assert "digits: digits-faster-rcnn" in said
    assert "Nothing has been run here." in said
    assert "9 runs that a benchmark asks for and has no record" in said
    assert "bccd" not in page.text


def test_a_benchmark_beside_a_dataset(tmp_path, benchmark):
    page = Tags(write_page(tmp_path, tmp_path / "page", ["bccd", str(benchmark)]).read_text())
    assert page.text.index("bccd: tiny") < page.text.index("digits: digits-gfl")
    with pytest.raises(UserError, match="'mine' and 'digits' both rank digits: digits-gfl"):
        write_page(tmp_path, tmp_path / "page", [str(benchmark), "digits"])
    with pytest.raises(UserError, match="cannot read benchmark"):
        write_page(tmp_path, tmp_path / "page", ["absent.yaml"])


def test_seeds_that_others_report_are_told(tmp_path):
    records = [*board("mimic"), cell("mimic", 0.6, 7, reported_by="Ann")]
    page = Tags(write(tmp_path, *records).read_text())
    assert "3 (1 by others)" in page.text
    assert "By others: seeds whose records others report." in page.text


def test_latency_is_of_the_pair_and_told_once_with_its_range(tmp_path):
    timed = [cell("mimic", 0.6, seed, cost={"latency_ms": ms}) for seed, ms in enumerate((12.34, 5.0, 7.0))]
    page = Tags(write(tmp_path, *cells("none", {0: 0.5}), *timed).read_text())
    said = " ".join(page.text.split())
    machine = "Latency on cpu on x86_64, 2 cores:"
    assert f"{machine} student 7 ms (5 to 12.3) as 3 trainings ended, beside whatever else ran." in said
    spread = {"median": 6, "low": 5.5, "high": 6.25}
    measured = cell("none", 0.5, latency={"student": spread, "teacher": spread})
    said = " ".join(Tags(write(tmp_path, measured, *timed).read_text()).text.split())
    both = "student 6 ms (5.5 to 6.25), teacher 6 ms (5.5 to 6.25), in turns, nothing beside them."
    assert said.count("Latency on") == said.count(f"{machine} {both}") == 1


def test_a_dataset_without_a_ranking(tmp_path):
    write(tmp_path, *board("mimic"))
    with pytest.raises(UserError, match=r"no records of 'coco' in .*run --method mimic --dataset coco"):
        write_page(tmp_path, tmp_path / "page", ["coco"])


def test_nothing_to_rank(tmp_path):
    with pytest.raises(UserError, match="no records in"):
        write_page(tmp_path, tmp_path / "page")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "page").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write(tmp_path, *board("mimic"))


def test_methods_are_compared_across_rankings_where_they_were_run(tmp_path):
    page = read(
        tmp_path, *board("mimic", EVIL), *board("mimic", EVIL, dataset="bccd"), *board("chen", dataset="voc")
    )
    said = " ".join(page.text.split())
    assert "Friedman's test over 2 rankings: p = " in said
    assert "Run in one ranking only, and so not compared here: chen" in said
    assert f"Average ranks over 2 rankings, 1 is best: {EVIL} 1.00, mimic 2.00, none 3.00." in said
    assert (tmp_path / "page/figures/across-1.svg").is_file()
    assert [set(attrs) for attrs in page.all("script")] == [set()]

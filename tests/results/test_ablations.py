import math
from decimal import Decimal
from itertools import combinations, permutations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from kdbench.benchmarks import looked_up, options_of, parsed
from kdbench.reported import Reported
from kdbench.results.ablations import ablation, ablation_files, ablation_page, agreement
from kdbench.results.pages import stale_pages, write_pages
from kdbench.results.store import Store
from kdbench.specs import digest

from .samples import cells, teacher

PAIR = "digits-faster-rcnn"
WHOLE, BOXES, SAMPLED = "mimic[variant=whole-map]", "mimic[variant=gt-boxes]", "mimic"
BASE = {0: 0.50, 1: 0.52, 2: 0.54}
FILE = {
    "title": "Mimic",
    "dataset": "digits",
    "pairs": [PAIR],
    "seeds": "0..2",
    "methods": [
        {"method": WHOLE, "reported": "whole-map"},
        BOXES,
        {"method": SAMPLED, "reported": "proposals"},
    ],
    "paper": {
        "method": "mimic",
        "numbers": [{"where": {"dataset": "COCO"}, "baseline": {"variant": "plain"}}],
    },
}
PAPER = Reported("COCO AP", "mimic, COCO", {WHOLE: Decimal("1.5"), SAMPLED: Decimal("1.8")})


def benchmark(**changes):
    return looked_up(parsed(yaml.safe_dump({**FILE, **changes}), "x"), "x")


def own(selector, scores, **more):
    """Cells of the benchmark, with the options that the selector means."""
    return cells(selector, scores, **{"pair": PAIR, "options": options_of(selector), **more})


def one(records, papers=(PAPER,), **changes):
    [block] = ablation(benchmark(**changes), papers, records)
    return block


def shown(block, method):
    return block.row(method)


def column(block, name):
    return [row[name] for row in block.rows]


def stale(files, root):
    return stale_pages(ablation_files(files, root), root / "ablations")


def above(gain, scores=BASE):
    return {seed: score + gain for seed, score in scores.items()}


def noisy(gain):
    """So much above the plain student, and not the same at every seed."""
    return {0: 0.50 + gain + 0.02, 1: 0.52 + gain - 0.02, 2: 0.54 + gain}


def test_rows_stand_in_the_files_order_with_measured_and_published_differences():
    better = noisy(0.1)
    block = one([*own(SAMPLED, better), *own("none", BASE), teacher(0.8), *own(WHOLE, {0: 0.4})])
    assert column(block, "method") == ["teacher", "none", WHOLE, BOXES, SAMPLED]
    got, expected = shown(block, SAMPLED), ttest_rel(list(better.values()), list(BASE.values()))
    interval = expected.confidence_interval(0.95)
    assert (got["seeds"], got["verdict"], got["paper: COCO AP"]) == (3, "better", "1.8")
    assert (got["mean"], got["difference"]) == pytest.approx((0.62, 0.1))
    assert (got["low"], got["high"]) == pytest.approx((interval.low, interval.high))
    assert (shown(block, WHOLE)["seeds"], shown(block, WHOLE)["verdict"]) == (1, "one seed")
    assert (shown(block, BOXES)["seeds"], shown(block, BOXES)["verdict"]) == (0, "not run")
    assert shown(block, BOXES)["paper: COCO AP"] == shown(block, "none")["paper: COCO AP"] == ""


def test_without_records_every_row_is_not_run():
    block = one([])
    assert block.heading == f"digits: {PAIR} (not run)"
    assert column(block, "method") == ["none", WHOLE, BOXES, SAMPLED]
    assert set(column(block, "verdict")) == {"not run"}
    text = ablation_page(benchmark(), [PAPER], [block], "again")
    assert f"| {SAMPLED} |  |  |  |  |  |  | not run | +1.8 |" in text
    assert "cannot tell" in text


@pytest.mark.parametrize("status", ["failed", "timed-out"])
def test_failed_cells_are_shown_and_never_averaged(status):
    records = [*own("none", BASE), *own(SAMPLED, {0: 0.6, 1: 0.62}), *own(SAMPLED, {2: 0.9}, status=status)]
    block = one([*records, *own(WHOLE, {0: 0.9}, status=status)])
    assert (shown(block, SAMPLED)["seeds"], shown(block, SAMPLED)["failed"]) == (2, 1)
    assert shown(block, SAMPLED)["difference"] == pytest.approx(0.1)
    whole = shown(block, WHOLE)
    assert (whole["seeds"], whole["failed"], whole["verdict"]) == (0, 1, "no result")
    assert "cannot tell from n = 1" in agreement(block, PAPER)


def test_recipes_and_teachers_are_never_mixed():
    ours = [*own("none", BASE), *own(SAMPLED, above(0.1)), *own(WHOLE, above(0.2))]
    longer = {"iterations": 200}
    theirs = [*own("none", above(0.1), **longer), *own(SAMPLED, above(0.4), **longer)]
    other_teacher = own(WHOLE, above(-0.1), asks_for="f" * 64)
    found = ablation(benchmark(), [PAPER], [*ours, *theirs, *other_teacher])
    assert len({block.heading for block in found}) == 3
    gains = [(shown(block, SAMPLED)["difference"], shown(block, WHOLE)["difference"]) for block in found]
    expected = [(0.1, 0.2), (0.3, None), (None, -0.1)]
    assert sorted(str([_round(x) for x in pair]) for pair in gains) == sorted(map(str, map(list, expected)))
    told = [agreement(block, PAPER) for block in found]
    assert sum("tau -1.00" in text for text in told) == 1
    assert sum("cannot tell from n = 1" in text for text in told) == 2


def _round(number):
    return None if math.isnan(number) else round(number, 6)


def test_a_teacher_after_a_stage_counts_as_the_teacher_it_began_with():
    base = teacher(0.8)
    spec = {**base.spec, "base": base.identity}
    staged = teacher(0.7, spec=spec, identity=digest(spec))
    ours = own(WHOLE, above(0.1), asks_for=base.identity)
    theirs = own(SAMPLED, noisy(0.3), asks_for=staged.identity, teacher_value=0.7)
    block = one([base, staged, *own("none", BASE), *ours, *theirs])
    assert shown(block, "teacher")["mean"] == 0.8
    assert shown(block, SAMPLED)["difference"] == pytest.approx(0.3)
    assert "n = 2 variants" in agreement(block, PAPER)
    assert "tell 1 of 1 pairs" in agreement(block, PAPER)


def test_only_cells_of_the_benchmark_count():
    stray = [
        *own(SAMPLED, above(0.3), schedule="smoke"),
        *own(SAMPLED, above(0.3), pair="digits-gfl"),
        *own(SAMPLED, above(0.3), dataset="bccd"),
        *own(SAMPLED, {7: 0.9}),
        *own(SAMPLED, above(0.3), options={**options_of(SAMPLED), "size": 3}),
        *own("hinton", above(0.3)),
    ]
    block = one([*own("none", above(0) | {7: 0.1}), *stray])
    assert shown(block, SAMPLED)["verdict"] == "not run"
    assert shown(block, "none")["seeds"] == 3


def test_of_several_revisions_the_latest_counts():
    old = own(SAMPLED, above(0.3), revision=1)
    new = own(SAMPLED, above(0.1), revision=2)
    for records in ([*old, *new], [*new, *old]):
        got = shown(one([*own("none", BASE), *records]), SAMPLED)
        assert (got["seeds"], got["difference"]) == (3, pytest.approx(0.1))


def test_each_pair_has_its_block():
    pairs = [PAIR, "digits-gfl"]
    methods = [*FILE["methods"][:2], {**FILE["methods"][2], "pairs": [PAIR]}]
    found = ablation(benchmark(pairs=pairs, methods=methods), [PAPER], own("none", BASE, pair="digits-gfl"))
    assert [set(column(block, "pair")) for block in found] == [{PAIR}, {"digits-gfl"}]
    assert column(found[0], "method") == ["none", WHOLE, BOXES, SAMPLED]
    assert column(found[1], "method") == ["none", WHOLE, BOXES]
    assert shown(found[1], "none")["seeds"] == 3


VARIANTS = [f"mimic[weight={place}]" for place in range(2, 7)]


@pytest.mark.parametrize(
    ("order", "word"),
    [([0, 1, 2, 3, 4], "agrees"), ([4, 3, 2, 1, 0], "disagrees"), ([0, 1, 2, 4, 3], "cannot tell")],
)
def test_an_order_agrees_or_disagrees_only_where_chance_would_hardly_give_it(order, word):
    """Of the 120 orders of five, one has tau 1 and one -1 (p = .017); tau .8 has p = .083."""
    paper = Reported("p", "p", {s: Decimal(rank) for s, rank in zip(VARIANTS, order, strict=True)})
    gains = {selector: 0.1 * place for place, selector in enumerate(VARIANTS)}
    records = [*own("none", BASE), *(r for s in VARIANTS for r in own(s, above(gains[s])))]
    methods = [{"method": selector, "reported": str(place)} for place, selector in enumerate(VARIANTS)]
    assert agreement(one(records, [paper], methods=methods), paper).startswith(f"Order against p: {word} (")


def test_noise_is_said():
    records = [*own("none", BASE), *own(WHOLE, noisy(0.1)), *own(SAMPLED, above(0.11))]
    assert "tell 0 of 1 pairs of these variants apart" in agreement(one(records), PAPER)
    records = [*own("none", BASE), *own(WHOLE, noisy(0.1)), *own(SAMPLED, above(0.4))]
    assert "tell 1 of 1 pairs of these variants apart" in agreement(one(records), PAPER)
    records = [*own("none", BASE), *own(WHOLE, {0: 0.6}), *own(SAMPLED, {1: 0.9})]
    assert "tell 0 of 1 pairs of these variants apart" in agreement(one(records), PAPER)


def kendall(order, other):
    """Kendall's tau of two orders without ties, by its definition."""
    signs = [(a < b) == (c < d) for (a, c), (b, d) in combinations(zip(order, other, strict=True), 2)]
    return 2 * sum(signs) / len(signs) - 1


@settings(deadline=None)
@given(st.sampled_from(list(permutations(range(3)))))
def test_tau_is_kendalls(order):
    selectors = [WHOLE, BOXES, SAMPLED]
    gains = dict(zip(selectors, [0.0, 0.1, 0.2], strict=True))
    paper = Reported("p", "p", {s: Decimal(rank) for s, rank in zip(selectors, order, strict=True)})
    records = [*own("none", BASE), *(r for s in selectors for r in own(s, above(gains[s])))]
    told = agreement(one(records, [paper]), paper)
    tau = kendall(range(3), order)
    assert f"tau {tau:+.2f} over n = 3 variants" in told
    assert told.startswith("Order against p: cannot tell")


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "mimic.yaml"
    path.write_text(yaml.safe_dump(FILE))
    store = Store(tmp_path / "results")
    for record in [*own("none", BASE), *own(SAMPLED, above(0.1))]:
        store.write(record)
    return [path]


def test_writes_what_check_accepts(files, tmp_path):
    root = tmp_path / "results"
    assert len(stale(files, root)) == 2
    paths = write_pages(ablation_files(files, root))
    assert paths == [root / "ablations" / "mimic.csv", root / "ablations" / "mimic.md"]
    assert stale(files, root) == []
    text = paths[1].read_text()
    assert text.startswith("# Mimic\n")
    assert "Faster R-CNN-R152 to Faster R-CNN-R50, mAP [C]" in text
    assert "paper: COCO mAP (Faster R-CNN-R50)" in text
    assert "| not run | +1.5 |" in text
    assert f"{SAMPLED},3,0.62,0.02" in paths[0].read_text()


def test_check_finds_each_difference(files, tmp_path):
    root = tmp_path / "results"
    page_of, table = reversed(write_pages(ablation_files(files, root)))
    page_of.write_text(page_of.read_text().replace("not run", "run"))
    table.rename(table.with_stem("ghost"))
    assert [problem.rpartition("/")[2] for problem in stale(files, root)] == [
        "ghost.csv: no record gives it",
        "mimic.csv: missing",
        "mimic.md: differs from what the records give",
    ]


def test_a_new_record_makes_them_stale(files, tmp_path):
    root = tmp_path / "results"
    write_pages(ablation_files(files, root))
    for record in own(WHOLE, above(0.05)):
        Store(root).write(record)
    assert len(stale(files, root)) == 2
    write_pages(ablation_files(files, root))
    assert f"| {WHOLE} | 3 | 57.0 |" in (root / "ablations" / "mimic.md").read_text()


def test_a_file_without_a_paper_has_a_page_without_its_numbers(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump({**FILE, "methods": ["mimic"], "paper": None}))
    write_pages(ablation_files([path], tmp_path))
    text = (tmp_path / "ablations" / "x.md").read_text()
    assert "| mimic |" in text
    assert "The paper's numbers" not in text

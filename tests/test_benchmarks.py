from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kdbench.benchmarks import Benchmark, Cell, load, looked_up, options_of, parsed, seed_range
from kdbench.changes import change
from kdbench.datasets import digits
from kdbench.errors import UserError
from kdbench.inline import InlinePair
from kdbench.reported import reported
from kdbench.specs import Model

ROOT = Path(__file__).parents[1] / "benchmarks"
FILES = sorted(ROOT.rglob("*.yaml"))
ABLATIONS = {
    "chen",
    "chen-box-loss",
    "cirkd",
    "crosskd",
    "cwd",
    "dist",
    "fgd",
    "fine-grained",
    "fitnets",
    "hinton",
    "ld",
    "mgd",
    "mimic",
    "quantization-mimic",
    "structured",
}
GOOD = {
    "title": "Digits",
    "dataset": "digits",
    "pairs": ["digits-faster-rcnn", "digits-gfl"],
    "seeds": "0..2",
    "methods": ["hinton", {"method": "mimic", "pairs": ["digits-faster-rcnn"], "reported": "proposals"}],
    "paper": {
        "method": "mimic",
        "numbers": [{"where": {"dataset": "COCO", "metric": "AP"}, "baseline": {"variant": "plain"}}],
    },
}
PLAIN = {key: GOOD[key] for key in ("title", "dataset", "pairs", "seeds")}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
words = st.text("abcz09-", min_size=1, max_size=6)
selectors = st.builds("{}[x={}]".format, words, words) | words
seed_sets = st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)


@st.composite
def files(draw):
    """Draw the values of a valid file without a paper."""
    pairs = draw(st.lists(words, min_size=1, max_size=3, unique=True))
    names = draw(st.lists(selectors, min_size=1, max_size=4, unique=True))
    narrow = st.lists(st.sampled_from(pairs), min_size=1, unique=True)
    entries = []
    for name in names:
        extra = draw(st.fixed_dictionaries({}, optional={"seeds": seed_sets, "pairs": narrow}))
        entries.append(
            {"method": name, **extra} if extra else draw(st.sampled_from([name, {"method": name}]))
        )
    return {
        "title": draw(words),
        "dataset": draw(words),
        "pairs": pairs,
        "methods": entries,
        "seeds": draw(seed_sets),
    }


def complaint(text) -> str:
    """Return the error about a text, without its source: one line, or an empty string."""
    try:
        assert isinstance(parsed(text, "x.yaml"), Benchmark)
    except UserError as error:
        message = str(error)
    else:
        return ""
    assert message.startswith("x.yaml: ")
    assert "\n" not in message
    return message.removeprefix("x.yaml: ")


def told(values, **changes) -> str:
    """Return the message about an invalid file."""
    with pytest.raises(UserError, match=r"^x.yaml: .*$") as caught:
        looked_up(parsed(yaml.safe_dump({**values, **changes}), "x.yaml"), "x.yaml")
    return str(caught.value).removeprefix("x.yaml: ")


@given(files())
def test_a_file_survives_its_own_dump(values):
    benchmark = parsed(yaml.safe_dump(values), "x")
    again = parsed(json.dumps(benchmark.model_dump(mode="json")), "y")
    assert again == benchmark
    assert again.identity() == benchmark.identity()


@given(files())
def test_cells_are_each_entrys_and_the_plain_students(values):
    cells = parsed(yaml.safe_dump(values), "x").cells()
    expected = set()
    for entry in values["methods"]:
        entry = {"method": entry} if isinstance(entry, str) else entry
        for pair in entry.get("pairs", values["pairs"]):
            for seed in entry.get("seeds", values["seeds"]):
                expected |= {(pair, entry["method"], seed), (pair, "none", seed)}
    assert len(cells) == len(expected)
    assert {tuple(cell) for cell in cells} == expected
    assert [cell.pair for cell in cells] == sorted((c.pair for c in cells), key=values["pairs"].index)
    for before, after in pairwise(cells):
        if before.pair == after.pair:
            assert before.seed <= after.seed
            assert before.seed < after.seed or after.method != "none"


@given(st.text() | json_values.map(yaml.safe_dump))
def test_any_text_is_a_benchmark_or_one_line(text):
    complaint(text)


@example("seeds", "\U00010000")
@example("unknown", {"\U00010000": 1})
@given(st.sampled_from(["title", "dataset", "seeds", "schedule", "unknown"]), json_values)
def test_any_value_of_a_key_is_good_or_one_line_with_the_key(key, value):
    message = complaint(json.dumps({**GOOD, key: value}))
    assert not message or message.startswith((key, "paper: results of the smoke"))


@given(st.integers(0, 10**8), st.integers(0, 999))
def test_ranges_of_seeds(first, more):
    assert seed_range(f"{first}..{first + more}") == tuple(range(first, first + more + 1))


def test_the_plain_student_may_have_more_seeds():
    entries = [{"method": "none", "seeds": "0..4"}, "hinton"]
    cells = looked_up(parsed(yaml.safe_dump({**PLAIN, "methods": entries}), "x"), "x").cells()
    of_pair = [(cell.method, cell.seed) for cell in cells if cell.pair == "digits-gfl"]
    both = [(method, seed) for seed in range(3) for method in ("none", "hinton")]
    assert of_pair == [*both, ("none", 3), ("none", 4)]
    assert cells[0] == Cell("digits-faster-rcnn", "none", 0)


def test_selectors_come_back_canonical():
    entries = ["mimic[ variant=proposals , size=5 ]", "hinton[]"]
    got = looked_up(parsed(yaml.safe_dump({**PLAIN, "methods": entries}), "x"), "x")
    assert [entry.method for entry in got.methods] == ["mimic[size=5]", "hinton"]
    assert options_of("mimic[size=5]")["size"] == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "digit"}, ["dataset:", "Did you mean 'digits'?"]),
        ({"pairs": ["digits-gfl", "bccd-gfl"]}, ["pairs", "'bccd-gfl' is for dataset 'bccd'"]),
        ({"pairs": ["nothing"]}, ["pairs.0:", "unknown pair 'nothing'"]),
        ({"pairs": []}, ["pairs:"]),
        ({"pairs": ["digits-gfl", "digits-gfl"]}, ["pairs: 'digits-gfl'", "more than once"]),
        ({"methods": ["hintn"]}, ["methods.0:", "Did you mean 'hinton'?"]),
        ({"methods": ["mimic[sizes=3]"]}, ["methods.0:", "no option 'sizes'"]),
        (
            {"methods": ["mimic", "mimic[variant=proposals]"]},
            ["methods: 'mimic' stands there more than once"],
        ),
        ({"methods": []}, ["methods:"]),
        ({"methods": [{"method": "mimic", "pairs": ["other"]}]}, ["methods.0.pairs: 'other'"]),
        ({"methods": [{"method": "mimic", "seed": [1]}]}, ["methods.0.seed:"]),
        ({"methods": [{"method": "mimic", "reported": "proposals"}]}, ["methods.0.reported:", "'paper'"]),
        ({"seeds": "2..0"}, ["seeds: '2..0' must run upwards"]),
        ({"seeds": "0..1000"}, ["seeds:", "at most 1000"]),
        ({"dataset": "two\nlines"}, ["dataset: 'two lines': it has characters that cannot be seen"]),
        ({"seeds": "three"}, ["seeds: 'three' is not a range of seeds: write 0..2"]),
        ({"seeds": [True]}, ["seeds.0:"]),
        ({"seeds": [-1]}, ["seeds.0:"]),
        ({"seeds": 3}, ["seeds:"]),
        ({"seeds": [1, 1]}, ["seeds: '1' stands there more than once"]),
        ({"schedule": "long"}, ["schedule:"]),
        ({"sed": 1}, ["sed:"]),
        ({"title": ""}, ["title:"]),
        ({"title": "a\x1b[2Jb"}, ["title: 'a\ufffd[2Jb'", "characters that cannot be seen"]),
        ({"title": "a\u202eb"}, ["title:", "characters that cannot be seen"]),
        ({"title": "x" * 501}, ["title:", "it has 501 letters, more than 500"]),
        ({"seeds": [2**32]}, ["seeds.0: Input should be less than 4294967296"]),
        ({"dataset": "camvid", "pairs": ["camvid-pspnet"]}, ["methods.0:", "'mimic' is for detection"]),
    ],
)
def test_a_bad_file_is_told_by_its_key(changes, words):
    message = told({**PLAIN, "methods": ["mimic"]}, **changes)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "smoke"}, "paper: results of the smoke schedule are never compared"),
        ({"methods": ["mimic"]}, "paper: no method says with 'reported'"),
        ({"paper": {"method": "mimic", "numbers": []}}, "paper.numbers:"),
        ({"paper": {"method": "mimic", "numbers": [{"where": {}, "baseline": {}}]}}, "baseline: it needs"),
        ({"paper": {"method": "mimic", "numbers": [{"where": {"row": "1"}, "baseline": {}}]}}, "where.row"),
    ],
)
def test_a_bad_paper_is_told_by_its_key(changes, words):
    assert words in told(GOOD, **changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: [", "not YAML"),
        ("a: 1\na: 2", "key 'a' is given twice"),
        ("when: 2024-99-99", "not YAML"),
        ("[" * 600, "not YAML"),
        (b"\xff\xfe\xff", "not YAML"),
        ("- a list", "a benchmark is a mapping"),
        ("", "a benchmark is a mapping"),
    ],
)
def test_what_is_not_even_a_mapping(text, words):
    assert words in complaint(text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="cannot read benchmark"):
        load(tmp_path / "x.yaml")
    with pytest.raises(UserError, match="cannot read benchmark"):
        load(tmp_path)


def ablation(where, baseline, variant="proposals"):
    method = {"method": "mimic", "reported": variant}
    paper = {"method": "mimic", "numbers": [{"where": where, "baseline": baseline}]}
    return parsed(json.dumps({**PLAIN, "methods": [method, "hinton"], "paper": paper}), "x")


def test_the_papers_difference_is_computed_with_its_digits():
    [got] = reported(ablation({"dataset": "WIDER FACE medium", "metric": "AP"}, {"variant": "plain"}), "x")
    assert got.differences == {"mimic": Decimal("58.2") - Decimal("55.4")}
    assert str(got.differences["mimic"]) == "2.8"
    assert got.label == "WIDER FACE medium AP (VGG-1-32 R-FCN)"
    assert "as printed by Wei et al. 2018" in got.origin
    assert got.origin.endswith("[P]")


def test_a_benchmark_without_a_paper_has_no_reported_numbers():
    assert reported(parsed(yaml.safe_dump({**PLAIN, "methods": ["mimic"]}), "x"), "x") == []


@pytest.mark.parametrize(
    ("where", "baseline", "variant", "words"),
    [
        (
            {"dataset": "COCO"},
            {"variant": "bare"},
            "proposals",
            "x: paper.numbers.0: .* have 0 rows where dataset is 'COCO'",
        ),
        ({"metric": "AP"}, {"variant": "plain"}, "proposals", "have 3 rows where metric is 'AP'"),
        (
            {"dataset": "COCO"},
            {"variant": "plain"},
            "proposal",
            "x: methods.0.reported: .* no variant 'proposal'. Did you mean 'prop",
        ),
        ({"dataset": "WIDER FACE easy"}, {"variant": "plain"}, "whole-map", "no variant where"),
    ],
)
def test_numbers_that_are_not_there_or_not_one(where, baseline, variant, words):
    with pytest.raises(UserError, match=words):
        reported(ablation(where, baseline, variant), "x")


def test_one_label_for_two_numbers_is_refused():
    twice = ablation({"dataset": "WIDER FACE easy"}, {"variant": "plain"}).model_dump(mode="json")
    twice["paper"]["numbers"].append(
        {"where": {"dataset": "WIDER FACE easy", "metric": "AP"}, "baseline": {"variant": "plain"}}
    )
    with pytest.raises(UserError, match=r"^x: paper.numbers.1: another number is"):
        reported(Benchmark.model_validate(twice), "x")


def test_benchmarks_import_nothing_heavy():
    code = (
        "import sys; from pathlib import Path; from kdbench.benchmarks import load;"
        "from kdbench.reported import reported; reported(load(Path(sys.argv[1])), sys.argv[1]);"
        "print(sorted({'torch', 'pandas', 'numpy', 'scipy', 'mmengine'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(ROOT / "ablations" / "mimic.yaml")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_committed_files_resolve(path):
    benchmark = load(path)
    written = [entry.method for entry in parsed(path.read_bytes(), str(path)).methods]
    assert written == [entry.method for entry in benchmark.methods]
    assert benchmark.paper is None or path.parent.name == "ablations"
    asked = {entry.method for entry in benchmark.methods if entry.reported}
    found = reported(benchmark, "x")
    assert asked == {method for paper in found for method in paper.differences}
    assert all(paper.differences for paper in found)


def test_every_ablation_is_there():
    assert {path.stem for path in FILES if path.parent.name == "ablations"} == ABLATIONS


def test_settings_make_cells_of_a_custom_schedule():
    values = {**GOOD, "methods": ["hinton"], "paper": None}
    assert parsed(yaml.safe_dump({**values, "set": ["schedule.lr=1"]}), "x").kind == "custom"
    assert (
        parsed(yaml.safe_dump({**values, "set": ["schedule.lr=1"], "schedule": "smoke"}), "x").kind == "smoke"
    )
    wrong = told(values, set=["schedule.rate=7"])
    assert wrong.startswith("set.0: ")
    assert "a schedule has no 'rate'" in wrong
    assert told(GOOD, set=["schedule.lr=1"]).startswith("paper: results of the custom schedule")


def test_a_change_is_found_in_a_pair_that_has_it():
    one = change("schedule.lr=1e-3")
    assert one.is_in({"schedule": {"lr": 0.001}})
    assert not one.is_in({"schedule": {"lr": 0.01}})
    assert change("student.a.b=2").is_in({"student": {"edits": {"a.b": 2}}})
    assert not change("student.a.b=2").is_in({"student": {"edits": {}}})


@pytest.mark.parametrize("setting", ["student.roi_stage=2", "student.width=8"])
def test_a_models_own_keys_are_no_edits_of_its_config(setting):
    pair = {"student": Model(config="mmdet::x.py").model_dump(mode="json")}
    change(setting).apply(pair)
    assert pair["student"]["edits"] == {}
    assert change(setting).is_in(pair)
    key, _, value = setting.removeprefix("student.").partition("=")
    assert getattr(Model.model_validate(pair["student"]), key) == int(value)


def test_models_in_a_file_keep_their_width_and_stage(tmp_path):
    model = {"config": "mmdet::x.py", "width": 16, "roi_stage": 2}
    schedule = {"iterations": 1, "batch_size": 1, "lr": 1, "scale": [64, 64]}
    given = InlinePair.model_validate({"name": "x", "teacher": model, "student": model, "schedule": schedule})
    pair = given.pair(digits.detection, tmp_path)
    assert pair.teacher == pair.student == Model.model_validate(model)

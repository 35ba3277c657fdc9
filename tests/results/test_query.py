import math

import pytest
import yaml

import kdbench
from kdbench.benchmarks import looked_up, options_of, parsed
from kdbench.errors import UserError
from kdbench.results.benchmark_rankings import benchmark_rankings
from kdbench.results.leaderboard import frame_of
from kdbench.results.store import Store

from .samples import cell, cells, frames, teacher

PLAIN = {0: 0.50, 1: 0.52, 2: 0.54}
PAIR = "digits-faster-rcnn"
FILE = {
    "title": "Small",
    "dataset": "digits",
    "pairs": [PAIR],
    "seeds": "0..2",
    "methods": [{"method": "none", "seeds": "0..3"}, "hinton", "mimic[proposals=9]", "fitnets"],
}
RECORDS = [
    *cells("none", PLAIN),
    *cells("b[x=1]", {0: 0.6, 1: 0.62, 2: 0.65}, seconds=0.3),
    *cells("b[x=2]", {0: 0.5, 1: 0.52, 2: 0.53}, seconds=0.2),
    *cells("a", {0: 0.4, 1: 0.41, 2: 0.42}, seconds=None),
    *cells("none", PLAIN, dataset="voc"),
]


def own(selector, scores, **more):
    return cells(selector, scores, **{"pair": PAIR, "options": options_of(selector), **more})


def benchmark(**changes):
    return looked_up(parsed(yaml.safe_dump({**FILE, **changes}), "x"), "x")


def methods(frame):
    return list(frame["method"])


def test_datasets_are_asked_for_by_name():
    assert list(frames([], RECORDS)) == ["digits", "voc"]
    assert list(frames(["voc"], RECORDS)) == ["voc"]
    assert frames(["bccd"], RECORDS) == {}
    with pytest.raises(UserError, match="asked for twice"):
        frames(["voc", "voc"], RECORDS)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        (["a"], ["a"]),
        (["b"], ["b[x=1]", "b[x=2]"]),
        (["b[x=2]", "a"], ["b[x=2]", "a"]),
        (["none", "a"], ["a"]),
    ],
)
def test_methods_are_chosen_by_selector_or_name_and_stay_corrected_over_all(asked, shown):
    found = frames([], RECORDS, methods=asked)
    assert list(found) == ["digits"]
    assert methods(found["digits"]) == ["teacher", "none", *shown]
    all_rows = frames([], RECORDS)["digits"].set_index("method")
    chosen = found["digits"].set_index("method")
    assert list(chosen["p"].dropna()) == list(all_rows["p"][chosen.index].dropna())


def test_unknown_method_and_column():
    with pytest.raises(UserError, match=r"no row is named 'c'\. (Known|Did you mean)"):
        frames([], RECORDS, methods=["c"])
    with pytest.raises(UserError, match=r"no column 'diference' .* Did you mean 'difference'"):
        frames([], RECORDS, sort="diference")


@pytest.mark.parametrize(
    ("column", "order"),
    [
        ("method", ["a", "b[x=1]", "b[x=2]"]),
        ("time_ratio", ["b[x=2]", "b[x=1]", "a"]),
        ("mean", ["b[x=1]", "b[x=2]", "a"]),
        ("AP50", ["b[x=1]", "b[x=2]", "a"]),
        ("time", ["b[x=2]", "b[x=1]", "a"]),
        ("seeds", ["b[x=1]", "b[x=2]", "a"]),
    ],
)
def test_sorted_below_the_teacher_and_the_plain_student_blanks_last(column, order):
    assert methods(frames(["digits"], RECORDS, sort=column)["digits"]) == ["teacher", "none", *order]


def test_a_benchmark_shows_what_was_not_run_and_what_is_missing():
    records = [*own("none", PLAIN), *own("hinton", {0: 0.6, 1: 0.7}), teacher()]
    records += [cell("hinton", seed=2, pair=PAIR, options=options_of("hinton"), status="failed")]
    records += own("mimic[proposals=9]", {0: 0.6})
    records += own("chen", PLAIN)
    records += own("hinton", {9: 0.99})
    records += own("fitnets", {0: 0.9}, schedule="smoke")
    frame = frame_of(benchmark_rankings(benchmark(), records)).set_index("method")
    assert list(frame.index) == ["teacher", "none", "hinton", "mimic[proposals=9]", "fitnets"]
    assert list(frame["missing"]) == [0, 1, 0, 2, 3]
    assert list(frame["failed"]) == [0, 0, 1, 0, 0]
    assert (frame.loc["hinton", "seeds"], frame.loc["hinton", "mean"]) == (2, pytest.approx(0.65))
    assert (frame.loc["fitnets", "verdict"], frame.loc["fitnets", "smoke"]) == ("smoke only", 1)
    assert math.isnan(frame.loc["fitnets", "mean"])
    assert frame.loc["fitnets", "command"] == (
        f"for seed in 0 1 2; do kdbench run --method fitnets --dataset digits --pair {PAIR} --seed $seed; done"
    )


def test_a_benchmark_without_records_is_all_not_run():
    frame = frame_of(benchmark_rankings(benchmark(), []))
    assert methods(frame) == ["none", "hinton", "mimic[proposals=9]", "fitnets"]
    assert set(frame["verdict"]) == {"not run"}
    assert list(frame["missing"]) == [4, 3, 3, 3]


def test_a_smoke_benchmark_is_never_ranked():
    with pytest.raises(UserError, match="never ranked"):
        benchmark_rankings(benchmark(schedule="smoke"), [])


def test_the_python_api(tmp_path):
    for record in RECORDS:
        Store(tmp_path).write(record)
    frame = kdbench.leaderboard(results=tmp_path)
    assert methods(frame) == ["teacher", "none", "b[x=1]", "b[x=2]", "a", "teacher", "none"]
    chosen = kdbench.leaderboard("digits", results=str(tmp_path), methods=["a"])
    assert methods(chosen) == ["teacher", "none", "a"]
    assert kdbench.leaderboard(results=tmp_path / "absent").empty
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(FILE))
    assert set(kdbench.leaderboard(str(file), results=tmp_path)["verdict"]) == {"not run"}


def test_an_unknown_dataset_is_refused_from_python_too(tmp_path):
    with pytest.raises(UserError, match="unknown dataset 'nosuch'"):
        kdbench.leaderboard("nosuch", results=tmp_path)
    with pytest.raises(UserError, match="is a pair: its rankings are among those of dataset 'digits'"):
        kdbench.leaderboard("digits-gfl", results=tmp_path)
    assert kdbench.leaderboard("digits", results=tmp_path).empty


def test_a_benchmark_with_settings_has_the_cells_that_were_made_with_them():
    records = [
        *own("none", {0: 0.5}, schedule="custom", iterations=7),
        *own("hinton", {0: 0.6}, schedule="custom", iterations=7),
        *own("hinton", {1: 0.9}, schedule="custom", iterations=8),
        *own("hinton", {2: 0.9}),
    ]
    found = benchmark_rankings(benchmark(set=["schedule.iterations=7"]), records)
    (row,) = [row for ranking in found for row in ranking.rows if row["method"] == "hinton"]
    assert (row["seeds"], row["mean"], row["schedule"], row["missing"]) == (1, 0.6, "custom", 2)

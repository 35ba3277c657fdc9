"""Intervals, verdicts and what makes a ranking doubtful."""

import math

from kdbench.results.formats import notes
from kdbench.results.leaderboard import rankings

from .samples import BASE, PLAIN, cell, cells, leaderboard, row


def noisy(gain, noise):
    return {seed: score + gain + noise * (seed - 1) for seed, score in BASE.items()}


def test_all_rows_share_their_noise_and_all_intervals_hold_at_once():
    records = [*cells(PLAIN, BASE), *cells("weak", noisy(0.05, 0.02)), *cells("loud", noisy(0.0, -0.03))]
    got = leaderboard([*records, *cells("elsewhere", BASE, pair="other")])
    tested = got[got["pair"] == "tiny"].iloc[2:]
    assert set((tested["high"] - tested["low"]).round(9)) == {
        round(float(tested["high"].iloc[0] - tested["low"].iloc[0]), 9)
    }
    assert list((tested["low"] > 0) | (tested["high"] < 0)) == list(tested["p"] < 0.05)
    alone = leaderboard([*cells(PLAIN, BASE), *cells("weak", noisy(0.05, 0.02))])
    assert row(alone, "weak")["p"] != row(got[got["pair"] == "tiny"], "weak")["p"]


def test_equal_gains_are_no_evidence():
    """Where every gain is the same there is no noise that a gain could be compared with."""
    got = row(leaderboard([*cells(PLAIN, BASE), *cells("mimic", noisy(0.1, 0))]), "mimic")
    assert (got["verdict"], got["reason"][:8]) == ("cannot tell", "no noise")


def test_noise_below_the_steps_of_the_metric_is_no_evidence():
    plain = {0: 0.50, 1: 0.52, 2: 0.55, 3: 0.58, 4: 0.51}
    equal, nearly = ({s: v + gain for s, v in plain.items()} for gain in (0.1, 0.2))
    nearly[4] += 0.01
    records = [*cells(PLAIN, plain), *cells("a", equal), *cells("b", nearly)]
    found = leaderboard(records)
    assert list(found["verdict"][2:]) == ["cannot tell"] * 2
    assert row(found, "a")["reason"].endswith("is below what the metric resolves (steps of 1)")


def curved(selector, scores, **more):
    points = {s: [{"iteration": 50, "AP50": v / 2}, {"iteration": 100, "AP50": v}] for s, v in scores.items()}
    return [cell(selector, v, s, curve=points[s], **more) for s, v in scores.items()]


def test_twins_count_once_and_name_each_other():
    good = noisy(0.1, 0.02)
    others = [*cells(PLAIN, BASE), *cells("hinton", noisy(0.02, -0.03)), *curved("fitnets", good)]
    once = leaderboard(others)
    twice = leaderboard([*others, *curved("chen[variant=hints]", good)])
    twin = row(twice, "chen[variant=hints]")
    assert twin["same_as"] == "fitnets"
    for method in ("fitnets", "chen[variant=hints]"):
        assert list(row(twice, method)[["low", "high", "p", "verdict"]]) == list(
            row(once, "fitnets")[["low", "high", "p", "verdict"]]
        )
    assert not row(twice, "fitnets")["same_as"]
    assert not any(leaderboard([*others, *curved("x", noisy(0.1, 0.021))])["same_as"])


def test_seeds_are_never_paired_across_device_classes():
    records = [*cells(PLAIN, BASE), *cells("mimic", noisy(0.1, 0.01), device="NVIDIA H100")]
    got = row(leaderboard(records), "mimic")
    assert (got["shared_seeds"], got["verdict"]) == (0, "no plain student")


def test_devices_and_precisions_are_rankings_of_their_own_and_say_so():
    records = [*cells(PLAIN, BASE), *cells("mimic", noisy(0.1, 0.01))]
    for place in ({"asked": "cuda"}, {"asked": "mps"}, {"asked": "cuda", "precision": "bf16"}):
        for method in (PLAIN, "mimic"):
            records += cells(method, noisy(0.2, 0.01), device="NVIDIA H100", **place)
    found = rankings(records)
    assert sorted((one.first["device"], one.first["precision"]) for one in found) == [
        ("cpu", "fp32"),
        ("cuda", "bf16"),
        ("cuda", "fp32"),
        ("mps", "fp32"),
    ]
    for one in found:
        assert [row["shared_seeds"] for row in one.methods] == [3]
        assert f"default schedule, {one.first['device']} {one.first['precision']}, recipe " in one.heading


def test_a_ranking_names_the_machines_that_it_was_trained_on():
    [alike] = rankings([*cells(PLAIN, BASE), *cells("mimic", BASE)])
    assert "Trained on cpu on x86_64, 2 cores." in notes(alike)
    [mixed] = rankings([*cells(PLAIN, BASE), cell("mimic", 0.6, host_class="arm64, 8 cores")])
    told = "Trained on 2 kinds of machine: 3 runs on cpu on x86_64, 2 cores; 1 run on cpu on arm64, 8 cores."
    assert told in notes(mixed)


def test_rows_of_fewer_seeds_say_what_the_plain_student_reaches_there():
    few = {seed: BASE[seed] for seed in sorted(BASE)[:2]}
    [found] = rankings([*cells(PLAIN, BASE), *cells("mimic", few)])
    level = 100 * sum(few.values()) / 2
    seeds = ", ".join(map(str, few))
    assert f"The plain student's mean over seeds {seeds} alone is {level:.1f}." in notes(found)
    [whole] = rankings([*cells(PLAIN, BASE), *cells("mimic", BASE)])
    assert "alone" not in " ".join(notes(whole))


def test_pairs_from_different_kinds_of_machine_are_marked():
    other = cells("mimic", noisy(0.1, 0.01), host_class="arm64, 8 cores")
    got = row(leaderboard([*cells(PLAIN, BASE), *other]), "mimic")
    assert got["machines"] == "cpu on arm64, 8 cores against cpu on x86_64, 2 cores"
    assert not row(leaderboard([*cells(PLAIN, BASE), *cells("mimic", BASE)]), "mimic")["machines"]


def test_better_on_one_dataset_and_worse_on_another_are_two_rankings():
    records = [*cells(PLAIN, BASE), *cells(PLAIN, BASE, dataset="voc")]
    records += [*cells("mimic", noisy(0.1, 0.01)), *cells("mimic", noisy(-0.1, 0.01), dataset="voc")]
    assert row(leaderboard(records), "mimic")["verdict"] == "better"
    assert row(leaderboard(records, "voc"), "mimic")["verdict"] == "worse"


def test_zero_variance():
    frame = leaderboard([*cells("none", {0: 0.5, 1: 0.5}), *cells("mimic", {0: 0.5, 1: 0.5})])
    got = row(frame, "mimic")
    assert (got["std"], got["low"], got["high"], got["verdict"]) == (0, 0, 0, "cannot tell")
    assert got["reason"].startswith("no noise")


def test_one_seed():
    got = row(leaderboard([cell("none", 0.5), cell("mimic", 0.6)]), "mimic")
    assert (got["seeds"], got["verdict"]) == (1, "one seed")
    assert math.isnan(got["std"])
    assert math.isnan(got["low"])

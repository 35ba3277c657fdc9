"""Which packs are split so that no slot is idle."""

from __future__ import annotations

import pytest
from sweep_support import planned, sweep_of

from kdbench.executors.local import Local
from kdbench.runs.estimate import START, Rates, dealt
from kdbench.runs.packs import packs_of

METHODS = ("hinton", "fitnets", "mimic", "chen", "fine-grained")


@pytest.fixture
def parts(small_digits):
    """Lanes of the parts of packs with six lanes each, for a number of seeds, slots and seconds a cell."""

    def of(seeds, slots, seconds=1000.0):
        items = planned(small_digits, METHODS, seeds)
        rates = Rates()
        if seconds is not None:
            iterations = next(iter(items.values())).plan.cell.pair.schedule.iterations
            rates.of_pair["digits-faster-rcnn", "smoke"].append(seconds / iterations)
        packs = packs_of(items.values(), max_lanes=None, share_teacher=True)
        found = dealt(packs, slots, rates)
        assert {item.identity for pack in found for item in pack.items} == set(items)
        return [len(pack.items) for pack in found]

    return of


@pytest.mark.parametrize(
    ("seeds", "slots", "lanes"),
    [
        (1, 1, [6]),
        (1, 2, [3, 3]),
        (1, 3, [2, 2, 2]),
        (1, 4, [2, 2, 2]),
        (1, 16, [1] * 6),
        (2, 2, [6, 6]),
        (3, 2, [6, 6, 3, 3]),
        (2, 4, [3, 3, 3, 3]),
        (9, 4, [6, 6, 6, 6, 6, 6, 6, 6, 2, 2, 2]),
    ],
)
def test_packs_are_split_where_slots_would_be_idle(parts, seeds, slots, lanes):
    assert parts(seeds, slots) == lanes


def test_a_start_is_not_worth_a_few_seconds(parts):
    assert parts(1, 2, seconds=0.9 * START / 3) == [6]
    assert parts(1, 2, seconds=1.1 * START / 3) == [3, 3]


def test_nor_is_a_long_sweep_worth_a_teacher_more_for_little(parts):
    assert parts(15, 2) == [6] * 14 + [3, 3]
    assert parts(25, 2) == [6] * 25


def test_of_unknown_time_a_handful_of_iterations_is_short(parts):
    assert parts(1, 2, seconds=None) == [6]


def test_a_part_says_why(small_digits):
    items = planned(small_digits, ("hinton",), 1)
    rates = Rates()
    rates.of_pair["digits-faster-rcnn", "smoke"].append(1000.0)
    packs = dealt(packs_of(items.values(), max_lanes=None, share_teacher=True), 2, rates)
    assert [pack.reason for pack in packs] == [
        f"one teacher, part {number} of 2: slots would be idle" for number in (1, 2)
    ]


def test_a_sweep_deals_its_packs_out(tmp_path, small_digits, monkeypatch):
    monkeypatch.setattr("kdbench.runs.estimate.STEP", 100.0)
    sweep = sweep_of(tmp_path, small_digits, Local(3, "cpu"), seeds=1)
    assert [len(state.pack.items) for state in sweep.pending] == [1, 1, 1]
    assert sweep.run()
    assert len(sweep.plan.cells) == len(sweep.records) == 3

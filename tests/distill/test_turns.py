"""Lanes take turns: the furthest behind runs first, and each ends independently of the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdbench.distill.turns import Stopped, Turns


def lane(turns, seen, name, positions, fails_at=None):
    def body():
        for position in positions:
            turns.wait(position)
            if position == fails_at:
                raise ValueError(name)
            seen.append((position, name))
        return name

    return body


@given(st.dictionaries(st.sampled_from("abcde"), st.lists(st.integers(0, 20), max_size=8, unique=True)))
def test_what_is_behind_goes_first(wanted):
    turns, seen = Turns(), []
    bodies = {name: lane(turns, seen, name, sorted(positions)) for name, positions in wanted.items()}
    assert turns.run(bodies) == {name: name for name in wanted}
    assert seen == sorted(seen, key=lambda step: step[0])
    for name, positions in wanted.items():
        assert [position for position, by in seen if by == name] == sorted(positions)


def test_a_lane_that_raises_hurts_no_other():
    turns, seen = Turns(), []
    results = turns.run(
        {"a": lane(turns, seen, "a", range(4), fails_at=2), "b": lane(turns, seen, "b", range(4))}
    )
    assert isinstance(results["a"], ValueError)
    assert results["b"] == "b"
    assert [position for position, name in seen if name == "b"] == [0, 1, 2, 3]


def test_some_errors_stop_all():
    turns, seen, closed = Turns(), [], []

    def careful():
        try:
            return lane(turns, seen, "b", range(4))()
        finally:
            closed.append("b")

    bodies = {"a": lane(turns, seen, "a", range(4), fails_at=2), "b": careful}
    results = turns.run(bodies, stop_on=(ValueError,))
    assert isinstance(results["a"], ValueError)
    assert isinstance(results["b"], Stopped)
    assert closed == ["b"]
    assert max(position for position, _ in seen) <= 2


@pytest.mark.parametrize(("room", "ended"), [(0, 1), (1, 2), (5, 3), (-1, 1)])
def test_lanes_that_have_no_room_do_not_begin(room, ended):
    turns, seen, asked = Turns(), [], []

    def free():
        asked.append(list(seen))
        return room

    bodies = {name: lane(turns, seen, name, range(3)) for name in "abc"}
    results = turns.run(bodies, room=free)
    assert asked == [[(0, "a")]]  # after a whole step of only the first lane
    assert [name for name, result in results.items() if result == name] == list("abc")[:ended]
    assert all(isinstance(result, Stopped) for result in list(results.values())[ended:])
    assert {name for _, name in seen} == set(list("abc")[:ended])


def test_a_first_lane_that_ends_at_once_leaves_the_others_their_turn():
    turns, seen = Turns(), []
    bodies = {"a": lambda: "a", "b": lane(turns, seen, "b", [0])}
    assert turns.run(bodies, room=lambda: 0) == {"a": "a", "b": "b"}


def test_a_first_lane_that_stops_all_leaves_no_other_to_begin():
    turns, seen = Turns(), []
    bodies = {"a": lane(turns, seen, "a", [0], fails_at=0), "b": lane(turns, seen, "b", [0])}
    results = turns.run(bodies, stop_on=(ValueError,), room=lambda: 1)
    assert [type(result) for result in results.values()] == [ValueError, Stopped]
    assert seen == []


def test_only_a_lane_can_wait():
    with pytest.raises(AssertionError, match="no lane is running"):
        Turns().wait(0)

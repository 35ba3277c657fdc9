"""For each promise, a copy of a good plugin that breaks it fails its check, and no other."""

from __future__ import annotations

import importlib

import pytest
from made_plugins import BROKEN, MORE, Copy

from kdbench.conformance.broken import PromiseBroken
from kdbench.conformance.exam import Exam
from kdbench.conformance.promises import PROMISES
from kdbench.conformance.runner import BY_NAME, check_of, undisturbed
from kdbench.conformance.target import targets

NAMES = [promise.name for promise in PROMISES]
TRAININGS = ("seed", "zero", "pack", "resume")
"""Promises whose checks are whole trainings; only checked if they are the broken one, and in a separate test."""
BATCH = ("parameters", "generator", "order", "mirror")
"""Promises that are checked on one batch, without a training before."""
ALONE = ("light", "finite", "device", "processes")
"""Promises whose checks take longest; only checked in the good plugin and if they are the broken one."""


def named(what: str) -> str:
    return f"made-up-{what.replace(' ', '-').replace(chr(39), '')}"


def states(conformance, names):
    return {name: conformance.finding(name).state for name in names}


def broken(found):
    return [name for name, state in found.items() if state == "broken"]


def test_there_is_a_broken_copy_for_every_promise():
    assert list(BROKEN) == NAMES


def test_every_promise_says_where_to_look():
    for promise in PROMISES:
        module, _, path = promise.look.partition(":")
        found = importlib.import_module(module)
        for part in path.split("."):
            known = {*dir(found), *getattr(found, "__annotations__", ())}
            assert part in known, promise.look
            found = getattr(found, part, None)
        assert callable(check_of(promise))
        assert set(promise.after) <= set(NAMES[: NAMES.index(promise.name)])


@pytest.mark.slow
def test_the_good_plugin_keeps_every_promise(conformance):
    found = {finding.promise.name: finding.what for finding in conformance("made-up-good", Copy()).findings()}
    assert found == dict.fromkeys(NAMES, "")


SOONER = {"teacher": "families"}
"""Promises whose violation already ends the first training, before their own check."""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_broken_promise_is_found_and_no_other_is_blamed(conformance, name):
    wanted = [other for other in NAMES if other not in (*TRAININGS, *ALONE) or other == name]
    assert broken(states(conformance(named(name), BROKEN[name]), wanted)) == [SOONER.get(name, name)]


@pytest.mark.release
@pytest.mark.parametrize("name", [name for name in NAMES if name not in BATCH])
def test_nor_is_one_that_trains(conformance, name):
    found = states(conformance(named(name), BROKEN[name]), [*TRAININGS, name])
    assert broken(found) == [name]
    left = {other for other, state in found.items() if state == "not looked at"}
    assert left <= {promise.name for promise in PROMISES if promise.name != name and promise.after}


@pytest.mark.release
@pytest.mark.parametrize("what", [what for what, (name, *_) in MORE.items() if name not in BATCH])
def test_other_ways_to_break_it(conformance, what):
    name, copy, told = MORE[what]
    finding = conformance(named(what), copy).finding(name)
    assert finding.state == "broken"
    assert told in finding.what
    assert "\n" not in finding.what


@pytest.mark.slow
@pytest.mark.parametrize("what", [what for what, (name, *_) in MORE.items() if name in BATCH])
def test_other_ways_to_break_it_that_one_batch_tells(install, bench, what):
    name, copy, told = MORE[what]
    install(named(what), copy)
    (target,) = targets(named(what))
    with undisturbed(), pytest.raises(PromiseBroken) as caught:
        check_of(BY_NAME[name])(Exam(target, bench))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["one family too few", "a picture that is not"])
def test_a_card_that_says_what_its_method_is_not(conformance, what):
    name, copy, told = MORE[what]
    finding = conformance(named(what), copy).finding(name)
    assert (finding.state, told in finding.what) == ("broken", True)

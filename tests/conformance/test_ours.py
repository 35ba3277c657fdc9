"""kdbench's own methods keep the promises of the suite."""

from __future__ import annotations

import pytest

from kdbench.conformance.promises import PROMISES
from kdbench.conformance.runner import Conformance
from kdbench.conformance.target import targets

OTHERS = (
    "hinton",
    "chen",
    "mimic",
    "quantization-mimic",
    "fine-grained",
    "structured",
)
SOME = (
    "card",
    "options",
    "refusal",
    "families",
    "parameters",
    "generator",
    "order",
    "mirror",
    "zero",
    "no-boxes",
    "one-box",
    "batch-of-one",
    "odd-sizes",
    "amp",
)
"""Promises that no other test checks for each method; `kdbench test-plugin kdbench` checks all of them."""


def not_kept(bench, method, names):
    (target,) = targets(method)
    conformance = Conformance(target, lambda: bench)
    findings = [conformance.finding(name) for name in names]
    return {found.promise.name: found.what for found in findings if found.state != "kept"}


@pytest.mark.slow
def test_fitnets_keeps_every_promise(bench):
    assert not_kept(bench, "fitnets", [promise.name for promise in PROMISES]) == {}


@pytest.mark.release
@pytest.mark.parametrize("method", OTHERS)
def test_the_others_keep_theirs(bench, method):
    assert not_kept(bench, method, SOME) == {}

"""Methods that misbehave in the middle of a training, in one pack with others: each is blamed, no other is hurt."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest
import torch
from small_bench import Silent
from test_lanes import in_a_pack, train

from kdbench.errors import PluginError
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

CARD = """
class BadOptions(Options):
    how: str = "not"

@hookimpl
def kdbench_methods():
    return [card("bad", options=BadOptions, method="bad_lanes_method:Bad")]
"""
METHOD = """
import os, random
import numpy as np
import torch
from kdbench.api import Method, adapter

LAST = 3

def reseed():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)

class Bad(Method):
    captures = ("neck",)

    def build(self, shapes):
        if self.options.how == "build":
            raise ValueError("no adapter")
        self.adapter = adapter(*shapes.levels("neck")[0])

    def losses(self, step):
        ours, theirs = step.student["neck"][0], step.teacher["neck"][0]
        terms = {"bad": (self.adapter(ours, theirs.shape[-2:]) - theirs).square().mean()}
        return self.misbehave(self.options.how, terms) if step.iteration == LAST else terms

    def misbehave(self, how, terms):
        if how == "raises":
            open("a file that is not there")
        if how == "exits":
            raise SystemExit(7)
        if how == "type":
            return list(terms.values())
        if how == "reseeds":
            reseed()
        return terms
"""
TOLD = {
    "raises": "failed in losses(): FileNotFoundError: ",
    "exits": "failed in losses(): SystemExit: 7",
    "type": "failed in losses(): TypeError: it returned a list, ",
}


@pytest.fixture
def bad(add_plugin, tmp_path, monkeypatch):
    add_plugin("bad-kd", CARD, version="1.5")
    (tmp_path / "site_bad-kd" / "bad_lanes_method.py").write_text(METHOD)
    monkeypatch.delitem(sys.modules, "bad_lanes_method", raising=False)
    monkeypatch.setenv(ENVIRONMENT, "kdbench,bad-kd")
    registry.cache_clear()


@pytest.mark.slow
def test_each_is_blamed_and_the_others_are_as_alone(bench, bad, tmp_path):
    others = ["none", "bad[how=reseeds]"]
    misbehaving = {f"bad[how={how}]": told for how, told in TOLD.items()}
    together, _ = in_a_pack(bench, "gfl", [*misbehaving, *others], tmp_path / "pack")
    for selector, told in misbehaving.items():
        failed = together[selector]
        assert isinstance(failed, PluginError)
        assert str(failed).startswith(f"method 'bad' of bad-kd 1.5 {told}")
    for number, selector in enumerate(others):
        assert together[selector] == train(bench, "gfl", selector, tmp_path / "alone" / str(number)), selector


@pytest.mark.slow
def test_one_that_cannot_be_built_is_blamed(bench, bad, tmp_path):
    from kdbench.openmmlab.students import train_with

    card, options = bench.card("bad[how=build]")
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with pytest.raises(PluginError, match=r"^method 'bad' of bad-kd 1\.5 failed in build\(\): ValueError"):
        train_with(
            bench.subject("gfl"),
            [bench.teacher("gfl")],
            card,
            options,
            bench.place(tmp_path),
            Silent(),
        )
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])

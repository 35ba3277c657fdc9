import json
import runpy
from pathlib import Path

import pytest

from kdbench.results.store import Store

SAMPLES = runpy.run_path(str(Path(__file__).parents[1] / "results" / "samples.py"))
cell, cells = SAMPLES["cell"], SAMPLES["cells"]


@pytest.fixture
def root(tmp_path):
    made = [*cells("none", {0: 0.5, 1: 0.6, 3: 0.5}), *cells("mimic[weight=2]", {0: 0.6, 1: 0.71})]
    for record in [*made, cell("hinton", 0.4, dataset="voc", pair="big")]:
        Store(tmp_path).write(record)
    return tmp_path


@pytest.fixture
def compare(kdbench, root):
    return lambda *arguments: kdbench("compare", *arguments, "--results", str(root))


def test_the_words(compare):
    done = compare("none", "mimic[weight=2.0]")
    assert done.code == 0, done.err
    assert "digits: tiny (default schedule" in done.out
    assert "seeds 0, 1" in done.out.splitlines()[0]
    assert "none                    55.0 +- 7.1; seed 3 only here, not used" in done.out
    assert "mimic[weight=2] - none  +10.5, 95 % interval [+4.1, +16.9], p = 0.030 (pooled" in done.out
    assert "verdict                 mimic[weight=2] is better than none" in done.out
    assert "overall" not in done.out


def test_json(compare):
    done = compare("mimic[weight=2]", "none", "--json")
    (block,) = json.loads(done.out)["blocks"]
    assert (block["verdict"], block["seeds"], block["second"]["only_here"]) == ("worse", [0, 1], [3])
    assert block["difference"] == pytest.approx(-0.105)


def test_one_seed_says_so_and_has_no_interval(kdbench, tmp_path):
    for record in (cell("none", 0.5), cell("mimic", 0.5000000001)):
        Store(tmp_path).write(record)
    done = kdbench("compare", "none", "mimic", "--results", str(tmp_path))
    assert "one shared seed: no evidence either way" in done.out
    assert "mimic - none  +0.0\n" in done.out
    done = kdbench("compare", "none", "mimic", "--results", str(tmp_path), "--json")
    assert json.loads(done.out)["blocks"][0]["p"] is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("none", "mimc"), "unknown method 'mimc'. Did you mean 'mimic'?"),
        (("none", "mimic[weigth=2]"), "mimic has no option 'weigth'. Did you mean 'weight'?"),
        (("none", "mimic"), "no results of 'mimic' in "),
        (("teacher", "none"), "the teacher is one model, with no seeds to pair"),
        (("mimic[weight=2]", "mimic[weight=2.0]"), "are the same method"),
        (("none", "hinton"), "have no recipe and teacher in common"),
        (("none", "hinton", "--dataset", "digts"), "unknown dataset 'digts'. Did you mean 'digits'?"),
        (("none", "hinton", "--pair", "tinny"), "no results of pair 'tinny'"),
        (("none", "hinton", "--dataset", "bccd"), "no results of 'bccd'"),
    ],
)
def test_mistakes_are_one_line(compare, arguments, told):
    done = compare(*arguments)
    assert (done.code, done.out) == (2, "")
    assert told in done.err
    assert len(done.err.splitlines()) == 1

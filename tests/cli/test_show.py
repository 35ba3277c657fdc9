from __future__ import annotations

import json
import sys
import types

import pytest
from pydantic import Field

from kdbench.cards import Options
from kdbench.cli.show import lines, option
from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry

from .test_list import THEIRS

METHOD = """
from pathlib import Path
from typing import Literal
from pydantic import Field

class Choices(Options):
    variant: Literal["a", "b"] = "a"
    '''Which part.'''
    weight: float = Field(default=2.0, gt=0, le=10, description="Factor of the loss.")
    stages: tuple[int, ...] = (2, 3)
    limit: float | None = None

@hookimpl
def kdbench_methods():
    return [card("shown", options=Choices, variants={"a": "first meaning", "b": "second meaning"},
                 equations="L = w * |s - t|^2\\n    averaged over all",
                 bibtex="@article{x,\\n  year = {2020}\\n}",
                 reported=Path(__file__).with_name("reported.csv"))]
"""


@pytest.fixture
def shown(add_plugin, tmp_path):
    add_plugin("their-kd", METHOD, version="1.5")
    (tmp_path / "site_their-kd" / "reported.csv").write_text(
        "table,dataset,teacher,student,variant,metric,value,source\n"
        "1,COCO,R101,R50,a,AP,40.1,P\n1,COCO,R101,R18,a,AP,33.9,P\n"
    )


def test_a_method_as_json(kdbench, shown):
    card = json.loads(kdbench("show", "shown", "--json").out)
    assert card["kind"] == "method"
    assert card["plugin"] == "their-kd 1.5 (their_kd)"
    assert (card["families"], card["attends"], card["cost"]) == ([], "", {})
    assert card["variants"] == {"a": "first meaning", "b": "second meaning"}
    assert card["published"][1] == {
        **{"table": "1", "dataset": "COCO", "teacher": "R101", "student": "R18"},
        **{"variant": "a", "metric": "AP", "value": "33.9", "source": "P"},
    }
    assert [choice["name"] for choice in card["options"]] == ["variant", "weight", "stages", "limit"]
    assert card["options"][1] == {
        "name": "weight",
        "type": "float",
        "default": 2.0,
        "range": "> 0, <= 10",
        "help": "Factor of the loss.",
    }


def test_a_method_for_people(kdbench, shown):
    done = kdbench("show", "shown")
    assert (done.code, done.err) == (0, "")
    for part in [
        "title: Title of shown",
        "  L = w * |s - t|^2",
        "  variant  a | b",
        "  weight   float",
        "> 0, <= 10",
        "  a: first meaning",
        "33.9",
        "  @article{x,",
    ]:
        assert part in done.out


def test_every_option_of_ours_has_a_help(kdbench, fresh_registry, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    for name in registry().methods:
        card = json.loads(kdbench("show", name, "--json").out)
        assert [choice["name"] for choice in card["options"] if not choice["help"]] == []


def test_types_of_options():
    class Odd(Options):
        flag: bool | None = None
        names: list[str] = Field(default_factory=lambda: ["a"])
        even: int = Field(default=2, multiple_of=2, ge=0, lt=8)

    rows = [option(name, field) for name, field in Odd.model_fields.items()]
    assert [row["type"] for row in rows] == ["bool | null", "list of str", "int"]
    assert [row["default"] for row in rows] == [None, ["a"], 2]
    assert set(rows[2]["range"].split(", ")) == {"multiple of 2", ">= 0", "< 8"}


def test_a_dataset(kdbench, add_plugin):
    add_plugin("their-kd", THEIRS)
    card = json.loads(kdbench("show", "blobs", "--json").out)
    assert (card["kind"], card["classes"], card["license"]) == ("dataset", ["x", "y"], "CC0")
    assert "prepare: kdbench data prepare blobs" in kdbench("show", "blobs").out


@pytest.fixture
def counted(monkeypatch):
    """Stands in for the counting of parameters, which has its own tests."""
    module = types.ModuleType("kdbench.openmmlab.complexity")
    counts = {
        "teacher": {"parameters": 41_000_000, "flops": 9_000_000_000},
        "student": {"parameters": 11_000_000, "flops": 2_000_000_000},
    }
    module.describe = lambda pair, dataset: counts if dataset.name == pair.dataset else {}
    monkeypatch.setitem(sys.modules, "kdbench.openmmlab.complexity", module)
    monkeypatch.setattr("kdbench.openmmlab.complexity", module, raising=False)


def test_a_pair(kdbench, add_plugin, counted):
    add_plugin("their-kd", THEIRS)
    card = json.loads(kdbench("show", "blob-pair", "--json").out)
    assert card["teacher"]["config"] == "their_kd::net.py"
    assert card["teacher"]["parameters"] == 41_000_000
    assert card["student"]["flops"] == 2_000_000_000
    assert card["schedule"]["iterations"] == 7
    assert "  parameters: 41,000,000" in kdbench("show", "blob-pair").out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("blob", "no method, dataset, pair or model is named 'blob'. Did you mean 'blobs'?"),
        ("good-two", "Did you mean 'good-one'?"),
        ("zzzzzz", "Known: blob-pair, blobs, good-one, their-net."),
    ],
)
def test_an_unknown_name(kdbench, add_plugin, name, told):
    add_plugin("their-kd", THEIRS)
    done = kdbench("show", name)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert told in done.err


def test_a_model(kdbench, add_plugin):
    add_plugin("their-kd", THEIRS, version="1.5")
    lines = kdbench("show", "their-net").out.splitlines()
    assert lines[:2] == ["kind: model", "plugin: their-kd 1.5 (their_kd)"]
    assert "config: their_kd::net.py" in lines


def test_an_ambiguous_name(kdbench, add_plugin):
    add_plugin("their-kd", THEIRS)
    add_plugin("other-kd", "@hookimpl\ndef kdbench_methods():\n    return [card('blobs')]")
    done = kdbench("show", "blobs")
    assert done.code == 2
    assert done.err == "error: 'blobs' is a method and a dataset: say which with --kind method.\n"
    assert json.loads(kdbench("show", "blobs", "--kind", "dataset", "--json").out)["kind"] == "dataset"


def test_a_name_given_twice(kdbench, add_plugin):
    for name in ("first-kd", "second-kd"):
        add_plugin(name, "@hookimpl\ndef kdbench_methods():\n    return [card('same')]")
    done = kdbench("show", "same")
    assert done.code == 2
    assert "first-kd (first_kd) and second-kd (second_kd)" in done.err


def test_a_pair_whose_dataset_nobody_gives(kdbench, add_plugin, counted):
    add_plugin("their-kd", THEIRS.replace('name="blobs"', 'name="blots"'))
    done = kdbench("show", "blob-pair")
    assert done.code == 2
    assert "unknown dataset 'blobs'. Did you mean 'blots'?" in done.err


def test_values_within_values_have_a_line_each():
    card = {"teacher": {"config": "x.py", "edits": {"neck.norm_cfg": {"type": "BN", "requires_grad": True}}}}
    assert lines(card) == [
        "",
        "teacher",
        "  config: x.py",
        "  edits:",
        "    neck.norm_cfg:",
        "      type: BN",
        "      requires_grad: yes",
    ]


def test_a_method_with_options(kdbench, shown):
    done = kdbench("show", "shown[weight=3,variant=b]")
    assert (done.code, done.err) == (0, "")
    assert "selector: shown[variant=b,weight=3]" in done.out
    assert "  weight: 3.0" in done.out
    assert "shown has no option 'wait'" in kdbench("show", "shown[wait=3]").err


def test_a_dataset_has_no_options(kdbench, add_plugin):
    add_plugin("their-kd", THEIRS)
    assert kdbench("show", "blobs[x=1]").err == (
        "error: 'blobs' is a dataset, which has no options: leave the brackets out.\n"
    )
    assert json.loads(kdbench("show", "their-kd:blobs", "--json").out)["name"] == "blobs"


def test_families_and_the_picture_of_a_method(kdbench, fresh_registry, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    printed = kdbench("show", "ld").out
    assert "families: dense\n" in printed
    assert "attends: the weights of the valuable localisation region (kdbench show-mask ld)\n" in printed
    assert "attends: -\n" in kdbench("show", "crosskd").out

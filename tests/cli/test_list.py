from __future__ import annotations

import json
import sys

import pytest
from results.samples import cell

from kdbench.offers import ENVIRONMENT
from kdbench.results.store import Store

THEIRS = """
from kdbench.cards import ExecutorCard, ModelCard
from kdbench.dataset_cards import Dataset, Split
from kdbench.specs import Model, Pair, Schedule

class Queue(Options):
    queue: str = ""

@hookimpl
def kdbench_executors():
    return [ExecutorCard(name="elsewhere", title="Somewhere else.", target="nowhere:Nothing", options=Queue,
                         requires=("no_such_module",), install="pip install no-such-module")]

@hookimpl
def kdbench_models():
    return [ModelCard(name="their-net", title="Theirs", task="detection", config="their_kd::net.py")]

@hookimpl
def kdbench_methods():
    return [card("good-one", variants={"a": "first", "b": "second"}, title="With [markup]")]

@hookimpl
def kdbench_datasets():
    return [Dataset(name="blobs", title="Blobs", task="detection", classes=("x", "y"), metric="AP50",
                    splits=dict.fromkeys(("train", "test"), (Split("a.txt", "b", "c"),)),
                    image_suffix=".png", prepare="x:y", folder="blobs", license="CC0", link="", citation="")]

@hookimpl
def kdbench_pairs():
    schedule = Schedule(iterations=7, batch_size=2, lr=0.1, scale=(64, 64))
    return [Pair(name="blob-pair", title="Big -> small", dataset="blobs", task="detection",
                 family="dense", cpu=True, teacher=Model(config="their_kd::net.py"),
                 student=Model(config="mmdet::b.py"),
                 schedule=schedule, teacher_schedule=schedule)]
"""

ROWS = {
    "methods": {
        "name": "good-one",
        "year": 2020,
        "tasks": ["detection"],
        "families": [],
        "cost": "",
        "variants": ["a", "b"],
        "title": "With [markup]",
        "distribution": "their-kd",
        "kind": "distillation",
    },
    "datasets": {
        "name": "blobs",
        "task": "detection",
        "format": "voc",
        "metric": "AP50",
        "classes": 2,
        "images": {},
        "on disk": [],
        "title": "Blobs",
        "distribution": "their-kd",
    },
    "pairs": {
        "name": "blob-pair",
        "dataset": "blobs",
        "family": "dense",
        "iterations": 7,
        "cpu": True,
        "title": "Big -> small",
        "distribution": "their-kd",
    },
    "models": {
        "name": "their-net",
        "task": "detection",
        "family": ["dense"],
        "pairs": ["blob-pair"],
        "config": "their_kd::net.py",
        "title": "Theirs",
        "distribution": "their-kd",
    },
    "executors": {
        "name": "elsewhere",
        "installed": False,
        "install": "pip install no-such-module",
        "options": ["queue"],
        "title": "Somewhere else.",
        "distribution": "their-kd",
    },
    "plugins": {
        "distribution": "their-kd",
        "version": "1.5",
        "name": "main",
        "module": "their_kd",
        "offers": {
            "method": ["good-one"],
            "dataset": ["blobs"],
            "pair": ["blob-pair"],
            "executor": ["elsewhere"],
            "model": ["their-net"],
        },
        "state": "ok",
        "error": None,
        "warnings": [],
    },
}


@pytest.mark.parametrize("kind", ROWS)
def test_json(kdbench, add_plugin, kind):
    add_plugin("their-kd", THEIRS, version="1.5")
    done = kdbench("list", kind, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {kind: [ROWS[kind]], "errors": []}


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("methods", "good-one\t2020\tdetection\t-\t-\ta, b\tWith [markup]\ttheir-kd\tdistillation"),
        ("datasets", "blobs\tdetection\tvoc\tAP50\t2\t-\t-\tBlobs\ttheir-kd"),
        ("pairs", "blob-pair\tblobs\tdense\t7\tyes\tBig -> small\ttheir-kd"),
        ("models", "their-net\tdetection\tdense\tblob-pair\ttheir_kd::net.py\tTheirs\ttheir-kd"),
        ("executors", "elsewhere\tno\tpip install no-such-module\tqueue\tSomewhere else.\ttheir-kd"),
        (
            "plugins",
            "their-kd\t1.5\tmain\ttheir_kd\t"
            "method: good-one; dataset: blobs; pair: blob-pair; executor: elsewhere; model: their-net\tok\t-\t-",
        ),
    ],
)
def test_plain_lines_outside_a_terminal(kdbench, add_plugin, kind, line):
    add_plugin("their-kd", THEIRS, version="1.5")
    assert kdbench("list", kind) == (0, line + "\n", "")


@pytest.mark.parametrize("kind", ROWS)
def test_a_table_in_a_terminal(kdbench, add_plugin, monkeypatch, kind):
    add_plugin("their-kd", THEIRS)
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setenv("NO_COLOR", "1")
    out = kdbench("list", kind).out
    header, row = out.splitlines()
    assert all(key in header for key in ROWS[kind])
    assert "their-kd" in row
    assert kind != "methods" or "With [markup]" in row


@pytest.mark.parametrize("kind", ROWS)
def test_broken_plugins_and_conflicts_are_shown_and_the_exit_code_is_0(kdbench, add_plugin, kind):
    for name in ("first-kd", "second-kd"):
        add_plugin(name, "@hookimpl\ndef kdbench_methods():\n    return [card('same')]")
    add_plugin("broken-kd", "raise RuntimeError('no luck')")
    done = kdbench("list", kind)
    assert done.code == 0
    broken, first, second, conflict = lines = done.err.splitlines()
    assert broken == "warning: plugin broken-kd (broken_kd) failed: RuntimeError: no luck"
    assert first.endswith("gives method 'same', as others do: here it is 'first-kd:same'")
    assert second.endswith("here it is 'second-kd:same'")
    assert "first-kd (first_kd) and second-kd (second_kd)" in conflict
    told = json.loads(kdbench("list", kind, "--json").out)
    assert [f"warning: {error}" for error in told["errors"]] == lines
    if kind == "plugins":
        assert [row["state"] for row in told["plugins"]] == ["error", "warning", "warning"]


def test_nothing_found_is_no_error(kdbench, add_plugin, monkeypatch):
    add_plugin("empty-kd", "")
    assert kdbench("list", "methods") == (0, "", "")
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    assert "nothing found" in kdbench("list", "methods").out


def test_ours_are_there(kdbench, fresh_registry, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    names = {
        kind: {row["name"] for row in json.loads(kdbench("list", kind, "--json").out)[kind]} for kind in ROWS
    }
    assert {"none", "hinton", "fitnets", "mimic"} <= names["methods"]
    assert {"digits", "digits-seg", "voc", "bccd", "camvid"} <= names["datasets"]
    assert {"local", "ray", "slurm"} <= names["executors"]


def test_what_methods_cost_is_from_the_records_of_a_folder(kdbench, add_plugin, tmp_path):
    add_plugin("their-kd", THEIRS)
    store = Store(tmp_path / "results")
    for record in (cell("none"), cell("good-one", seconds=0.15)):
        store.write(record)
    [row] = json.loads(kdbench("list", "methods", "--json", "--results", str(store.root)).out)["methods"]
    assert row["cost"] == "1.50x"
    assert "cost\n  tiny: 1.5\n" in kdbench("show", "good-one", "--results", str(store.root)).out


def test_a_dataset_has_its_size_and_the_splits_that_are_on_disk(
    kdbench, fresh_registry, monkeypatch, tmp_path
):
    monkeypatch.setenv(ENVIRONMENT, "kdbench")
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    for name in ("ImageSets/Main", "JPEGImages", "Annotations"):
        (tmp_path / "cards" / name).mkdir(parents=True)
    (tmp_path / "cards/ImageSets/Main/test.txt").write_text("IMG_2383")
    rows = {row["name"]: row for row in json.loads(kdbench("list", "datasets", "--json").out)["datasets"]}
    fields = ("format", "metric", "images", "on disk")
    assert [rows["cards"][field] for field in fields] == ["voc", "AP50", {"train": 296, "test": 67}, ["test"]]
    assert [rows["ade20k"][field] for field in fields] == [
        "masks",
        "mIoU_ADE20K",
        {"train": 20210, "test": 2000},
        [],
    ]
    assert any(
        "train: 296; test: 67\ttest\t" in line for line in kdbench("list", "datasets").out.splitlines()
    )

"""`kdbench list` and `kdbench show` on what kdbench itself brings."""

from __future__ import annotations

import json

import pytest

from kdbench.offers import ENVIRONMENT
from kdbench.plugins import registry


@pytest.fixture(autouse=True)
def only_ours(fresh_registry, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "kdbench")


def shown(kdbench, name: str):
    done = kdbench("show", name, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_every_pair_is_listed_and_each_trainable_dataset_has_one_for_a_laptop(kdbench):
    rows = {row["name"]: row for row in json.loads(kdbench("list", "pairs", "--json").out)["pairs"]}
    assert set(rows) == set(registry().pairs)
    for dataset in ("digits", "bccd", "deeppcb", "cards", "camvid"):
        first = registry().pairs_of(dataset)[0]
        assert rows[first.name]["cpu"] is True
    assert registry().pairs_of("voc")


@pytest.mark.parametrize("name", ["digits-gfl", "digits-faster-rcnn", "camvid-pspnet"])
def test_a_small_pair_has_a_teacher_several_times_its_student(kdbench, name):
    card = shown(kdbench, name)
    teacher, student = card["teacher"], card["student"]
    assert 10_000 < student["parameters"] < 1_000_000
    assert 3 * student["parameters"] < teacher["parameters"] < 10_000_000
    assert 3 * student["flops"] < teacher["flops"]


def test_a_pair_for_people(kdbench):
    out = kdbench("show", "digits-gfl").out
    card = shown(kdbench, "digits-gfl")
    assert f"  parameters: {card['student']['parameters']:,}" in out
    assert f"  flops: {card['teacher']['flops']:,}" in out
    assert "dataset: digits" in out

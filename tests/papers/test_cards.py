from __future__ import annotations

import subprocess
import sys

import pytest
from fake_steps import step

import kdbench_papers
from kdbench.distill import FAMILIES, Method
from kdbench.plugins import load_method, registry
from kdbench.specs import TASKS

CARDS = {card.name: card for card in kdbench_papers.kdbench_methods()}
COLUMNS = ["paper", "table", "dataset", "teacher", "student", "variant", "metric", "value", "source"]


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_cards_are_light():
    code = (
        "import sys, kdbench_papers; cards = kdbench_papers.kdbench_methods();"
        "[(c.published(), c.options()) for c in cards];"
        "print(sorted({'torch', 'torchvision', 'numpy', 'pandas', 'mmengine', 'mmcv'} & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_registered_like_any_plugin():
    for name, card in CARDS.items():
        assert registry().method(name).value == card


@pytest.mark.parametrize("name", CARDS)
def test_card_is_complete(name):
    card = CARDS[name]
    method = load_method(card)
    assert issubclass(method, Method)
    assert set(card.tasks) <= set(TASKS)
    options = card.options()
    assert set(method(options).needs()) <= frozenset().union(*FAMILIES.values())
    fields = card.options.model_fields
    assert all(field.description for field in fields.values())
    if "variant" in fields:
        assert set(card.variants) == set(fields["variant"].annotation.__args__)
        assert all(card.options(variant=variant) for variant in card.variants)
    if name != "none":
        assert all([card.title, card.authors, card.link, card.bibtex.startswith("@"), card.year > 2000])
    assert card.equations


@pytest.mark.parametrize("name", [name for name in CARDS if CARDS[name].reported])
def test_published_numbers(name):
    rows = CARDS[name].published()
    assert rows
    for row in rows:
        assert list(row) == COLUMNS
        assert None not in row.values()
        assert row["paper"] == name
        assert row["source"] in ("P", "C", "N")
        assert float(row["value"]) > 0
        assert "?" not in "".join(row.values())
    keys = [tuple(row[column] for column in COLUMNS[:7]) for row in rows]
    assert len(set(keys)) == len(keys)


def test_the_plain_student_adds_nothing():
    card = CARDS["none"]
    method = load_method(card)(card.options())
    assert method.needs() == ()
    assert method.losses(step()) == {}
    assert method.task_weight(step()) == 1
    assert list(method.parameters()) == []

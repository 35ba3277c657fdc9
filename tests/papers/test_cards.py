from __future__ import annotations

import subprocess
import sys

import pytest
from fake_steps import step

import kdbench_papers
from kdbench.distill import FAMILIES, Method
from kdbench.plugins import load_method, registry
from kdbench.results.papers import SOURCES
from kdbench.specs import TASKS, task_of

CARDS = {card.name: card for card in kdbench_papers.kdbench_methods()}
OURS = [
    offer.value for offer in registry().methods.values() if offer.plugin.distribution.startswith("kdbench")
]
"""Cards of kdbench's methods and, if installed, of the example packages."""
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
        assert [column for column in row if column != "note"] == COLUMNS
        assert None not in row.values()
        assert row["paper"] == name
        assert row["source"] in SOURCES
        assert row["source"] != "D" or row["note"]
        assert row["variant"] != "plain" or not row["teacher"]
        assert (row["variant"] == "teacher") == (not row["student"])
        assert float(row["value"]) > 0
        assert "?" not in "".join(row.values())
    keys = [tuple(row[column] for column in COLUMNS[:7]) for row in rows]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "card", [card for card in OURS if card.kind == "distillation"], ids=lambda card: card.name
)
def test_families_are_those_that_have_the_captures_of_a_variant(card):
    kind = load_method(card)
    chosen = [{"variant": variant} for variant in card.variants] or [{}]
    needs = [set(kind(card.options(**values)).needs()) for values in chosen]
    working = [name for name, has in FAMILIES.items() if any(needed <= has for needed in needs)]
    assert sorted(card.families) == sorted(name for name in working if task_of(name) in card.tasks)


@pytest.mark.parametrize("card", OURS, ids=lambda card: card.name)
def test_the_card_says_what_a_picture_shows(card):
    assert bool(card.attends) == (load_method(card).attention is not Method.attention)


def test_the_plain_student_adds_nothing():
    card = CARDS["none"]
    method = load_method(card)(card.options())
    assert method.needs() == ()
    assert method.losses(step()) == {}
    assert method.task_weight(step()) == 1
    assert list(method.parameters()) == []

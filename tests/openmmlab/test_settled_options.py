"""What a card says has no effect beside the other options has none: `kdbench tune` does not search it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from lightly import LIGHTLY

import kdbench_papers
from kdbench.distill import FAMILIES
from kdbench.plugins import make_method
from kdbench.selectors import canonical

KINDS = {"two-stage": "faster", "segmentation": "pspnet"}
DEAR = {"teachers"}
"""Options that are left alone although they have an effect."""


def selectors() -> list[tuple[Any, Any, str]]:
    """Card, options and model of each variant that has settled options."""
    found = []
    for card in kdbench_papers.kdbench_methods():
        if card.name in LIGHTLY:
            continue
        more = [{"pooling": "crop"}] if "pooling" in card.options.model_fields else []
        for values in [{"variant": name} for name in card.variants] + more:
            options = card.options.model_validate(values)
            needed = set(make_method(card, options).needs())
            kinds = [kind for family, kind in KINDS.items() if needed <= FAMILIES[family]]
            if options.settled - DEAR and kinds:
                found.append(pytest.param(card, options, kinds[0], id=canonical(card, options)))
    return found


def changed(options: Any, name: str) -> Any:
    """The options with another value of one."""
    field, value = type(options).model_fields[name], getattr(options, name)
    others = [False, True] if isinstance(value, bool) else list(get_args(field.annotation))
    if isinstance(value, float):
        others = [value / 2 or 0.3]
    elif isinstance(value, int) and not isinstance(value, bool):
        others = [value + 1]
    elif value is None:
        others = [False] if bool in get_args(field.annotation) else [2]
    other = next(candidate for candidate in others if candidate != value)
    return type(options).model_validate(options.model_dump() | {name: other})


def terms(bench: Any, card: Any, options: Any, kind: str) -> dict[str, torch.Tensor]:
    """The student's and the method's losses in one iteration."""
    model = bench.distiller(kind, canonical(card, options)).train()
    model.iteration = 2
    losses, terms, weight = model.compute(*bench.probe(kind).batch(model.student))
    parts = {
        name: torch.as_tensor(sum(value) if isinstance(value, list) else value)
        for name, value in losses.items()
    }
    return {**parts, **terms, "weight": torch.tensor(weight)}


@pytest.mark.parametrize(("card", "options", "kind"), selectors())
def test_settled_options_have_no_effect(card, options, kind, bench):
    expected = terms(bench, card, options, kind)
    for name in sorted(options.settled - DEAR):
        other = changed(options, name)
        assert other != options
        seen = terms(bench, card, other, kind)
        assert seen.keys() == expected.keys(), name
        for term, value in expected.items():
            assert torch.equal(seen[term], value), f"{name} changes {term}"

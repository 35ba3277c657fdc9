"""The cards of the methods: what they compute, their options, whom to cite, and how they did here."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from kdbench.cards import MethodCard
from kdbench.errors import UserError
from kdbench.offers import Offer
from kdbench.plugins import registry
from kdbench.results.formats import gain
from kdbench.results.html.columns import anchor
from kdbench.results.html.sections import Section
from kdbench.results.naming import method_in


@dataclass(frozen=True)
class PageOption:
    """An option of a method: its name, its default, its choices and what it does."""

    name: str
    default: str
    choices: str
    help: str


@dataclass(frozen=True)
class Result:
    """A row of a ranking, as the card of its method shows it."""

    ranking: str
    title: str
    label: str
    difference: str
    verdict: str


@dataclass(frozen=True)
class PageMethod:
    """A method in the page.

    Attributes:
        name: Its name.
        anchor: Its id.
        plugin: Distribution and version that gives it; empty where none is installed.
        card: Its card, or None where no installed plugin gives it.
        options: Its options.
        published: The paper's numbers, a dict a row.
        results: How it did.
    """

    name: str
    anchor: str
    plugin: str
    card: MethodCard | None
    options: list[PageOption]
    published: list[dict[str, str]]
    results: list[Result]

    @property
    def equations(self) -> str:
        """The losses in words and symbols."""
        return inspect.cleandoc(self.card.equations) if self.card else ""

    @property
    def bibtex(self) -> str:
        """What to cite."""
        return inspect.cleandoc(self.card.bibtex) if self.card else ""


def methods(sections: Iterable[Section]) -> list[PageMethod]:
    """Return a card for each installed method and for each in the rankings, by name.

    Args:
        sections: The rankings of the page.
    """
    results: dict[str, list[Result]] = {}
    for one in sections:
        for row in one.ranking.methods:
            told = Result(one.name, one.title, row["method"], gain(row), row["verdict"])
            results.setdefault(method_in(row["method"]), []).append(told)
    names = sorted({*registry().methods, *results})
    return [_method(name, _offer(name), results.get(name, [])) for name in names]


def _offer(name: str) -> Offer[MethodCard] | None:
    """Return what gives a method, or the sum of several; None where nothing does."""
    with suppress(UserError):
        return registry().method(name)
    return None


def _method(name: str, offer: Offer[MethodCard] | None, results: list[Result]) -> PageMethod:
    if offer is None:
        return PageMethod(name, anchor(name), "", None, [], [], results)
    plugin = f"{offer.plugin.distribution} {offer.plugin.version}"
    fields = offer.value.options.model_fields
    options = [
        PageOption(
            key,
            _plain(field.get_default(call_default_factory=True)),
            _choices(field.annotation),
            field.description or "",
        )
        for key, field in fields.items()
    ]
    return PageMethod(name, anchor(name), plugin, offer.value, options, offer.value.published(), results)


def _choices(annotation: Any) -> str:
    return " | ".join(map(str, get_args(annotation))) if get_origin(annotation) is Literal else ""


def _plain(value: Any) -> str:
    return "" if value is None else str(value)

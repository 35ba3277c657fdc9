"""Sums of methods, ``cwd[where=logits]+mgd``: a card and an options class made from those of the parts.

The options of a sum are named ``method.option``, and its name lists the parts alphabetically, so that ``a+b`` and
``b+a`` are the same method.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast

from pydantic import ValidationError, create_model, model_validator

from kdbench.cards import MethodCard, Options, is_weight
from kdbench.errors import UserError, explain
from kdbench.offers import Offer, Plugin
from kdbench.specs import PLAIN, TASKS

PLUS = "+"
"""Separator of the methods in a sum."""

V = TypeVar("V")


def by_method(options: Mapping[str, V]) -> dict[str, dict[str, V]]:
    """Group the options of a sum, which are named ``method.option``, by method."""
    found: dict[str, dict[str, V]] = {}
    for key, value in options.items():
        method, _, option = key.rpartition(".")
        found.setdefault(method, {})[option] = value
    return found


class CombinedOptions(Options):
    """Options of a sum; each sum has a subclass with the fields of its parts."""

    cards: ClassVar[tuple[MethodCard, ...]] = ()
    """Cards of the parts."""

    @property
    def parts(self) -> dict[str, Options]:
        """Method -> its own options."""
        own = by_method(self.__dict__)
        return {card.name: card.options.model_construct(**own.get(card.name, {})) for card in self.cards}

    @property
    def ensemble(self) -> int:
        """Number of teachers, the same for all parts."""
        return next(iter(self.parts.values())).ensemble

    @property
    def settled(self) -> frozenset[str]:
        """Options of the parts that `kdbench tune` skips."""
        return frozenset(f"{name}.{key}" for name, part in self.parts.items() for key in part.settled)

    def recorded(self) -> dict[str, Any]:
        """Return the options of all parts that are part of a result's identity."""
        return {
            f"{name}.{key}": value
            for name, part in self.parts.items()
            for key, value in part.recorded().items()
        }

    @model_validator(mode="after")
    def _fit_together(self) -> CombinedOptions:
        own = by_method(self.__dict__)
        for card in self.cards:
            try:
                options = card.options.model_validate(own.get(card.name, {}))
            except ValidationError as error:
                raise ValueError(f"{card.name}: {explain(error)}") from None
            if card.teacher_stage is not None and card.teacher_stage(options) is not None:
                raise ValueError(f"'{card.name}' trains a teacher of its own, which others cannot share")
        teachers = {name: part.ensemble for name, part in self.parts.items()}
        if len(set(teachers.values())) > 1:
            counts = ", ".join(f"'{name}' {count}" for name, count in teachers.items())
            raise ValueError(f"its methods have different numbers of teachers ({counts})")
        return self


@dataclass(frozen=True)
class CombinedCard(MethodCard):
    """The card of a sum of methods.

    Attributes:
        offers: The methods, in the order of the name.
    """

    offers: tuple[Offer[MethodCard], ...] = ()

    @property
    def parts(self) -> dict[str, MethodCard]:
        """Method -> its card."""
        return {offer.value.name: offer.value for offer in self.offers}


def combined(offers: Sequence[Offer[MethodCard]]) -> Offer[MethodCard]:
    """Return the sum of several methods in the form in which a plugin would provide it.

    Raises:
        UserError: If a method is repeated or is the plain student, or if the methods have no task in common.
    """
    offers = sorted(offers, key=lambda offer: offer.value.name)
    cards = tuple(offer.value for offer in offers)
    names = [card.name for card in cards]
    name = PLUS.join(names)
    _check(name, cards)
    card = CombinedCard(
        name=name,
        title=" + ".join(card.title for card in cards),
        authors="; ".join(card.authors for card in cards),
        year=max(card.year for card in cards),
        link=" ".join(card.link for card in cards),
        bibtex="\n".join(inspect.cleandoc(card.bibtex) for card in cards),
        tasks=tuple(task for task in TASKS if all(task in card.tasks for card in cards)),
        equations=f"L = L_task + the terms of {' and of '.join(names)}, each with its own weights.\n\n"
        + "\n\n".join(f"{card.name}: {inspect.cleandoc(card.equations)}" for card in cards),
        method="kdbench.distill.combined:Combined",
        options=_options_of(name, cards),
        revision=1 + sum(card.revision - 1 for card in cards),
        directional=" ".join(card.directional for card in cards if card.directional),
        offers=tuple(offers),
    )
    return Offer(card, _plugin_of(name, [offer.plugin for offer in offers]))


def _check(name: str, cards: Sequence[MethodCard]) -> None:
    names = [card.name for card in cards]
    if PLAIN in names:
        raise UserError(f"'{name}': '{PLAIN}' adds nothing to another method: leave it out.")
    if makers := [card.name for card in cards if card.kind == "compression"]:
        raise UserError(
            f"'{name}': '{makers[0]}' makes the student and has no terms: it is no part of a sum."
        )
    if twice := [one for one in names if names.count(one) > 1]:
        raise UserError(f"'{name}': '{twice[0]}' stands there twice: a sum has each method once.")
    if not set.intersection(*(set(card.tasks) for card in cards)):
        told = ", ".join(f"'{card.name}' is for {' and '.join(card.tasks)}" for card in cards)
        raise UserError(f"'{name}': its methods have no task in common: {told}.")


def _options_of(name: str, cards: tuple[MethodCard, ...]) -> type[Options]:
    """Return the options class of a sum: every field of every part, named ``method.option``."""
    fields: dict[str, Any] = {
        f"{card.name}.{key}": (field.annotation, field)
        for card in cards
        for key, field in card.options.model_fields.items()
    }
    kind = create_model(f"CombinedOptions of {name}", __base__=CombinedOptions, **fields)
    kind.cards = cards
    kind.typical = {
        f"{card.name}.{key}": value for card in cards for key, value in card.options.typical.items()
    }
    kind.plain = {
        f"{card.name}.{key}": value for card in cards for key, value in _plain(card.options).items()
    }
    return cast("type[Options]", kind)


def _plain(options: type[Options]) -> Mapping[str, Any]:
    """Return the option values at which a method adds nothing to the loss."""
    return options.plain or {name: 0.0 for name in options.model_fields if is_weight(name)}


def _plugin_of(name: str, plugins: Sequence[Plugin]) -> Plugin:
    """Return the plugin that all parts come from, or one that names all of their plugins."""
    distinct = list({plugin.distribution: plugin for plugin in plugins}.values())
    if len(distinct) == 1:
        return distinct[0]
    modules, distributions, versions = (
        PLUS.join(getattr(plugin, key) for plugin in distinct)
        for key in ("module", "distribution", "version")
    )
    return Plugin(name, modules, distributions, versions)

"""Targets of the conformance suite: a method, or all methods of a distribution. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kdbench.cards import MethodCard, Options
from kdbench.combined import CombinedCard
from kdbench.errors import UserError
from kdbench.offers import Offer, Plugin
from kdbench.plugins import Registry, registry, suggestion
from kdbench.selectors import canonical, parse, resolve
from kdbench.specs import PLAIN


@dataclass(frozen=True)
class Target:
    """A method to check.

    Attributes:
        offer: The method's card, and the plugin that provides it.
        raw: The options as written in a selector.
    """

    offer: Offer[MethodCard]
    raw: Mapping[str, str]

    @property
    def card(self) -> MethodCard:
        """The method's card."""
        return self.offer.value

    @property
    def plugin(self) -> Plugin:
        """The plugin that provides it."""
        return self.offer.plugin

    @property
    def name(self) -> str:
        """The selector."""
        if isinstance(self.card, CombinedCard):
            return canonical(self.card, self.options())
        inside = ",".join(f"{key}={value}" for key, value in self.raw.items())
        return f"{self.card.name}[{inside}]" if inside else self.card.name

    @property
    def package(self) -> str:
        """Top-level package of the method's code; for a sum, of its first method's code."""
        card = self.card.offers[0].value if isinstance(self.card, CombinedCard) else self.card
        return card.method.partition(":")[0].partition(".")[0]

    def options(self) -> Options:
        """Return the options; those that are not written have their defaults.

        Raises:
            UserError: If they are invalid.
        """
        return resolve(self.card, self.raw)


def targets(name: str) -> list[Target]:
    """Return the method of that name (or selector), or all methods of the distribution of that name.

    Raises:
        UserError: If there is neither, the distribution's plugin does not load, or the options are invalid.
    """
    found = registry()
    method, raw = parse(name)
    if found.gives("method", method):
        target = Target(found.method(method), raw)
        if method == PLAIN:
            raise UserError(
                f"'{PLAIN}' is the plain student, which methods are compared with: name a method."
            )
        if target.card.kind == "compression":
            raise UserError(
                f"'{method}' is a compression, and the promises are about losses: name a method that distils."
            )
        target.options()
        return [target]
    return _of_distribution(found, name)


def _of_distribution(found: Registry, name: str) -> list[Target]:
    plugins = [plugin for plugin in found.plugins if _normal(plugin.distribution) == _normal(name)]
    if not plugins:
        names = {plugin.distribution for plugin in found.plugins} | set(found.methods) - {PLAIN}
        raise UserError(
            f"no method and no distribution with a plugin is named '{name}'.{suggestion(name, names)}{found.note()}"
        )
    for plugin in plugins:
        if plugin.error is not None:
            raise UserError(f"plugin {plugin.distribution} ({plugin.module}) does not load: {plugin.error}.")
    given = [n for plugin in plugins for n in plugin.offers.get("method", []) if n != PLAIN]
    methods = [offer for offer in map(found.method, given) if offer.value.kind == "distillation"]
    if not methods:
        raise UserError(f"distribution '{name}' gives no method that distils: there is nothing to look at.")
    return [Target(offer, {}) for offer in methods]


def _normal(name: str) -> str:
    """Normalise a distribution's name as packaging tools do."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()

"""Offers: what plugins provide, each with its plugin and a name that is unique among its kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, TypeVar

from kdbench.cards import ExecutorCard, MethodCard, ModelCard
from kdbench.dataset_cards import Dataset, MetricCard
from kdbench.specs import Pair

ENVIRONMENT = "KDBENCH_PLUGINS"
OWN = "kdbench"
"""The distribution that keeps its short names if others provide the same."""

T = TypeVar("T", MethodCard, Dataset, Pair, ExecutorCard, MetricCard, ModelCard)

KINDS: Mapping[str, tuple[str, type[Any]]] = {
    "method": ("kdbench_methods", MethodCard),
    "dataset": ("kdbench_datasets", Dataset),
    "pair": ("kdbench_pairs", Pair),
    "executor": ("kdbench_executors", ExecutorCard),
    "metric": ("kdbench_metrics", MetricCard),
    "model": ("kdbench_models", ModelCard),
}


@dataclass
class Plugin:
    """A plugin, found by its entry point.

    Attributes:
        name: Name of the entry point.
        module: Module that the entry point names.
        distribution: Distribution that installs it.
        version: The distribution's version.
        error: Why it could not be loaded, or None.
        offers: Kind -> names of what it provides.
        warnings: Problems that do not prevent it from working, one line each.
    """

    name: str
    module: str
    distribution: str
    version: str
    error: str | None = None
    offers: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def state(self) -> Literal["ok", "warning", "error"]:
        """``error`` if it could not be loaded, else ``warning`` if it has warnings, else ``ok``."""
        return "error" if self.error is not None else "warning" if self.warnings else "ok"


@dataclass(frozen=True)
class Offer(Generic[T]):
    """Something that a plugin provides, with the plugin."""

    value: T
    plugin: Plugin

    @property
    def title(self) -> str:
        """Name for messages: ``dataset 'screws' of my-screws 1.0``."""
        of = f"{self.plugin.distribution} {self.plugin.version}".strip()
        return f"{kind_of(self.value)} '{self.value.name}' of {of}"


def normal(name: str) -> str:
    """Normalise a distribution's name, as packaging tools do to compare names."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def by_name(kind: str, offers: list[Offer[Any]], conflicts: dict[str, str]) -> dict[str, Offer[Any]]:
    """Return name -> offer. If several provide a name, all but kdbench's own are named ``distribution:name``.

    The short name is then added to ``conflicts``, unless kdbench provides it.
    """
    givers: dict[str, list[Offer[Any]]] = {}
    for offer in offers:
        givers.setdefault(offer.value.name, []).append(offer)
    table: dict[str, Offer[Any]] = {}
    for name, several in givers.items():
        called = {_full_name(offer) if len(several) > 1 else name: offer for offer in several}
        if name not in called:
            conflicts[f"{kind} {name}"] = _conflict(f"{kind} '{name}'", several, list(called))
        if len(called) == len(several):
            table |= {full: _renamed(kind, offer, full) for full, offer in called.items()}
    return table


def _full_name(offer: Offer[Any]) -> str:
    name, distribution = offer.value.name, normal(offer.plugin.distribution)
    return str(name) if distribution == OWN else f"{distribution}:{name}"


def _conflict(what: str, several: list[Offer[Any]], names: list[str]) -> str:
    who = " and ".join(f"{offer.plugin.distribution} ({offer.plugin.module})" for offer in several)
    cure = f"write {' or '.join(names)}" if len(names) == len(several) else "uninstall all but one"
    return (
        f"{what} is given {len(several)} times, by {who}: {cure}, or name the distributions to load in "
        f"{ENVIRONMENT}."
    )


def _renamed(kind: str, offer: Offer[Any], name: str) -> Offer[Any]:
    """Return an offer under another name, and add a warning to its plugin."""
    own, plugin = offer.value.name, offer.plugin
    if name == own:
        return offer
    plugin.offers[kind] = [name if given == own else given for given in plugin.offers[kind]]
    plugin.warnings.append(f"gives {kind} '{own}', as others do: here it is '{name}'")
    return Offer(_changed(offer.value, name=name), plugin)


def _changed(value: Any, **changes: Any) -> Any:
    return value.model_copy(update=changes) if isinstance(value, Pair) else replace(value, **changes)


def on_own_dataset(offer: Offer[Pair], datasets: Mapping[str, Offer[Dataset]]) -> Offer[Pair]:
    """Return a pair on its own distribution's dataset, if several provide a dataset of that name."""
    own = f"{normal(offer.plugin.distribution)}:{offer.value.dataset}"
    return Offer(_changed(offer.value, dataset=own), offer.plugin) if own in datasets else offer


def kind_of(value: object) -> str:
    """Return the kind of a card: a key of ``KINDS``."""
    return next(kind for kind, (_, expected) in KINDS.items() if isinstance(value, expected))

"""Finds plugins by entry point group ``kdbench``; a broken one is listed with its error and hurts nothing else."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any, Generic, TypeVar

import pluggy

from kdbench import hookspecs
from kdbench.cards import Dataset, MethodCard
from kdbench.errors import UserError
from kdbench.specs import Pair

GROUP = "kdbench"
ENVIRONMENT = "KDBENCH_PLUGINS"

T = TypeVar("T", MethodCard, Dataset, Pair)


@dataclass
class Plugin:
    """One entry point, as found on this machine.

    Attributes:
        name: Entry point name.
        module: Module it names.
        distribution: Distribution that brings it.
        version: The distribution's version.
        error: Why it could not be loaded, or None.
        offers: Names of what it gives, by kind.
    """

    name: str
    module: str
    distribution: str
    version: str
    error: str | None = None
    offers: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Offer(Generic[T]):
    """Something a plugin gives, and which plugin."""

    value: T
    plugin: Plugin


@dataclass(frozen=True)
class Registry:
    """Everything that the installed plugins give, by name."""

    plugins: tuple[Plugin, ...]
    methods: Mapping[str, Offer[MethodCard]]
    datasets: Mapping[str, Offer[Dataset]]
    pairs: Mapping[str, Offer[Pair]]
    conflicts: Mapping[str, str]
    """Name -> error, where two plugins give the same name."""

    def method(self, name: str) -> Offer[MethodCard]:
        """The method of that name. Raises UserError with the nearest names."""
        return self._find("method", self.methods, name)

    def dataset(self, name: str) -> Offer[Dataset]:
        """The dataset of that name. Raises UserError with the nearest names."""
        return self._find("dataset", self.datasets, name)

    def pair(self, name: str) -> Offer[Pair]:
        """The pair of that name. Raises UserError with the nearest names."""
        return self._find("pair", self.pairs, name)

    def pairs_of(self, dataset: str) -> list[Pair]:
        """The pairs of a dataset, its default first."""
        return [offer.value for offer in self.pairs.values() if offer.value.dataset == dataset]

    def _find(self, kind: str, offers: Mapping[str, Offer[T]], name: str) -> Offer[T]:
        conflict = self.conflicts.get(f"{kind} {name}")
        if conflict is not None:
            raise UserError(conflict)
        if name in offers:
            return offers[name]
        broken = ", ".join(f"{p.distribution} ({p.error})" for p in self.plugins if p.error)
        note = f" Plugins that failed to load: {broken}." if broken else ""
        raise UserError(f"unknown {kind} '{name}'.{suggestion(name, offers)}{note}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """The "did you mean" part of a message, with a leading blank."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(names) or 'none'}."


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The registry of this process, loaded at the first call."""
    return load(find())


def find() -> list[tuple[Distribution, EntryPoint]]:
    """Entry points of the group, sorted; ``KDBENCH_PLUGINS`` (comma separated distributions) restricts them.

    kdbench's own are always there unless the variable is set and does not name ``kdbench``.
    """
    only = os.environ.get(ENVIRONMENT)
    wanted = None if only is None else {name.strip().lower() for name in only.split(",") if name.strip()}
    found: dict[tuple[str, str], tuple[Distribution, EntryPoint]] = {}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower()
        if wanted is not None and name not in wanted:
            continue
        for point in distribution.entry_points:
            if point.group == GROUP:
                found.setdefault((name, point.name), (distribution, point))
    return [found[key] for key in sorted(found, key=lambda key: (key[0] != "kdbench", key))]


def load(points: Iterable[tuple[Distribution, EntryPoint]]) -> Registry:
    """Import and register each plugin on its own, then collect what they give."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    collected: dict[str, list[Offer[Any]]] = {"method": [], "dataset": [], "pair": []}
    for distribution, point in points:
        plugin = Plugin(point.name, point.value, distribution.metadata["Name"], distribution.version)
        plugins.append(plugin)
        try:
            offers = _offers_of(manager, plugin, point.load)
        except (Exception, SystemExit) as error:
            plugin.error = f"{type(error).__name__}: {error}".splitlines()[0]
            continue
        for kind, values in offers.items():
            collected[kind] += [Offer(value, plugin) for value in values]
    conflicts: dict[str, str] = {}
    tables = {kind: _by_name(kind, offers, conflicts) for kind, offers in collected.items()}
    return Registry(tuple(plugins), tables["method"], tables["dataset"], tables["pair"], conflicts)


KINDS: Mapping[str, tuple[str, type]] = {
    "method": ("kdbench_methods", MethodCard),
    "dataset": ("kdbench_datasets", Dataset),
    "pair": ("kdbench_pairs", Pair),
}


def _offers_of(
    manager: pluggy.PluginManager, plugin: Plugin, load_module: Callable[[], object]
) -> dict[str, list[Any]]:
    """Register one plugin and call its hooks; nothing of it stays when any of that fails."""
    module = load_module()
    key = f"{plugin.distribution}:{plugin.name}"
    manager.register(module, name=key)
    try:
        manager.check_pending()
        offers: dict[str, list[Any]] = {}
        for kind, (hook, expected) in KINDS.items():
            values = list(getattr(module, hook)()) if hasattr(module, hook) else []
            for value in values:
                if not isinstance(value, expected):
                    raise TypeError(f"{hook} gave {type(value).__name__}, not {expected.__name__}")
            offers[kind] = values
    except BaseException:
        manager.unregister(name=key)
        raise
    plugin.offers = {kind: [value.name for value in values] for kind, values in offers.items() if values}
    return offers


def _by_name(kind: str, offers: list[Offer[Any]], conflicts: dict[str, str]) -> dict[str, Offer[Any]]:
    """Name -> offer; a name given twice is in ``conflicts`` and not in the table."""
    table: dict[str, Offer[Any]] = {}
    for offer in offers:
        name = offer.value.name
        if name in table:
            both = " and ".join(f"{o.plugin.distribution} ({o.plugin.module})" for o in (table[name], offer))
            conflicts[f"{kind} {name}"] = (
                f"{kind} '{name}' is given by both {both}: uninstall one, or name the other in {ENVIRONMENT}."
            )
        else:
            table[name] = offer
    for conflict in conflicts:
        table.pop(conflict.removeprefix(f"{kind} "), None)
    return table

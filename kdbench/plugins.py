"""Find plugins by the entry point group ``kdbench`` and load them; a broken plugin is listed, not fatal."""

from __future__ import annotations

import difflib
import inspect
import io
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pluggy

from kdbench import hookspecs
from kdbench.cards import ExecutorCard, MethodCard, ModelCard, Options, load_object
from kdbench.combined import PLUS, CombinedCard, CombinedOptions, combined
from kdbench.dataset_cards import METRICS, Dataset, MetricCard
from kdbench.errors import PluginError, UserError, reason, reminder, running
from kdbench.guests import Interruption, hosted
from kdbench.offers import ENVIRONMENT, KINDS, Offer, Plugin, T, by_name, kind_of, normal, on_own_dataset
from kdbench.specs import Pair

if TYPE_CHECKING:
    from kdbench.distill import Method

GROUP = "kdbench"

V = TypeVar("V")
Found = tuple[Distribution, EntryPoint]

MOST_OFFERS = 10_000
"""Maximum number of values that one hook may yield, as a guard against endless generators."""
BENCHMARK = "benchmark file"
"""Entry point name of the pseudo-plugin for what a benchmark file defines."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
"""Names that are valid on a command line, in a selector and in a file name."""


@dataclass(frozen=True)
class Registry:
    """Everything that the installed plugins provide, by name."""

    plugins: tuple[Plugin, ...]
    methods: Mapping[str, Offer[MethodCard]]
    datasets: Mapping[str, Offer[Dataset]]
    pairs: Mapping[str, Offer[Pair]]
    conflicts: Mapping[str, str]
    """Kind and name -> error, where several plugins provide the same name and kdbench does not."""
    executors: Mapping[str, Offer[ExecutorCard]] = field(default_factory=dict)
    metrics: Mapping[str, Offer[MetricCard]] = field(default_factory=dict)
    models: Mapping[str, Offer[ModelCard]] = field(default_factory=dict)
    sums: dict[str, Offer[MethodCard]] = field(default_factory=dict, repr=False, compare=False)
    """Cache of the sums of methods that were looked up."""

    def method(self, name: str) -> Offer[MethodCard]:
        """Return the method of that name, or the sum ``a+b``. Raises UserError with the nearest names."""
        if PLUS not in name:
            return self._find("method", self.methods, name)
        if name not in self.sums:
            self.sums[name] = combined([self.method(part) for part in name.split(PLUS)])
        return self.sums[name]

    def dataset(self, name: str) -> Offer[Dataset]:
        """Return the dataset of that name. Raises UserError with the nearest names, or if its metric is invalid."""
        offer = self._find("dataset", self.datasets, name)
        self._check_metric(offer)
        return offer

    def pair(self, name: str) -> Offer[Pair]:
        """Return the pair of that name. Raises UserError with the nearest names."""
        return self._find("pair", self.pairs, name)

    def model(self, name: str) -> Offer[ModelCard]:
        """Return the model of that name. Raises UserError with the nearest names."""
        return self._find("model", self.models, name)

    def executor(self, name: str) -> Offer[ExecutorCard]:
        """Return the executor of that name. Raises UserError with the nearest names."""
        return self._find("executor", self.executors, name)

    def metric(self, name: str) -> MetricCard:
        """Return the metric of that name, kdbench's own or a plugin's. Raises UserError with the nearest names."""
        return METRICS[name] if name in METRICS else self._find("metric", self.metrics, name).value

    def pairs_of(self, dataset: str) -> list[Pair]:
        """Return the pairs of a dataset, its default first."""
        return [offer.value for offer in self.pairs.values() if offer.value.dataset == dataset]

    def _check_metric(self, offer: Offer[Dataset]) -> None:
        """Raise UserError if a dataset's metric is unknown, or is not a metric of its task."""
        task, theirs = offer.value.task, (found.value for found in self.metrics.values())
        known = [*METRICS.values(), *(card for card in theirs if card.function)]
        fitting = [card.name for card in known if task in card.tasks]
        if offer.value.metric not in fitting:
            raise UserError(
                f"{offer.title} is ranked by '{offer.value.metric}', which is no metric of {task}."
                f"{suggestion(offer.value.metric, fitting)}{self.note()}"
            )

    def _find(self, kind: str, offers: Mapping[str, Offer[T]], name: str) -> Offer[T]:
        conflict = self.conflicts.get(f"{kind} {name}")
        if conflict is not None:
            raise UserError(conflict)
        if (offer := _under(name, offers)) is not None:
            return offer
        raise UserError(f"unknown {kind} '{name}'.{suggestion(name, offers)}{self.note()}")

    def gives(self, kind: str, name: str) -> bool:
        """Whether any plugin provides a method, dataset or pair of that name; always true for a sum of methods."""
        if kind == "method" and PLUS in name:
            return True
        offers: Mapping[str, Offer[Any]] = getattr(self, f"{kind}s")
        return f"{kind} {name}" in self.conflicts or _under(name, offers) is not None

    def note(self) -> str:
        """Return the sentence about plugins that failed to load, for messages about unknown names, or ``""``."""
        broken = ", ".join(
            f"{plugin.distribution} ({plugin.error})" for plugin in self.plugins if plugin.error
        )
        return f" Plugins that failed to load: {broken}." if broken else ""

    def errors(self) -> list[str]:
        """Return the problems of the plugins, one line each: errors, warnings and conflicting names."""
        broken = [f"plugin {p.distribution} ({p.module}) failed: {p.error}" for p in self.plugins if p.error]
        noisy = [f"plugin {p.distribution} ({p.module}) {line}" for p in self.plugins for line in p.warnings]
        return broken + noisy + list(self.conflicts.values())


def _under(name: str, offers: Mapping[str, Offer[T]]) -> Offer[T] | None:
    """Return the offer of a name, with or without its distribution, or None."""
    if name in offers:
        return offers[name]
    given, _, own = name.partition(":")
    distribution, offer = normal(given), offers.get(own)
    if offer is not None and normal(offer.plugin.distribution) == distribution:
        return offer
    return offers.get(f"{distribution}:{own}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return the "did you mean" part of a message, with a leading space."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else f" Known: {', '.join(names) or 'none'}."


@lru_cache(maxsize=1)
def registry() -> Registry:
    """Return the registry of this process, loaded at the first call (``registry.cache_clear()`` resets it)."""
    points = find()
    return load(points, missing(points))


def find() -> list[Found]:
    """Find the entry points of the group, kdbench's own first; ``KDBENCH_PLUGINS`` restricts the distributions."""
    wanted = _wanted()
    found: dict[tuple[str, str], Found] = {}
    for distribution in distributions():
        points = [point for point in distribution.entry_points if point.group == GROUP]
        if points and (wanted is None or normal(distribution.name) in wanted):
            for point in points:
                found.setdefault((normal(distribution.name), point.name), (distribution, point))
    return [found[key] for key in sorted(found, key=lambda key: (key[0] != "kdbench", key))]


def missing(points: Iterable[Found]) -> list[Plugin]:
    """Return a broken plugin for each distribution that ``KDBENCH_PLUGINS`` names but that is not found."""
    absent = (_wanted() or set()) - {normal(distribution.name) for distribution, _ in points}
    error = f"named in {ENVIRONMENT}, but not installed or without an entry point in the group '{GROUP}'"
    return [Plugin("-", "-", name, "-", error) for name in sorted(absent)]


def _wanted() -> set[str] | None:
    """Return the distributions that the environment variable allows, or None for all."""
    only = os.environ.get(ENVIRONMENT)
    return None if only is None else {normal(name) for name in only.split(",") if name.strip()}


def load(points: Iterable[Found], absent: Iterable[Plugin] = ()) -> Registry:
    """Import and register each plugin on its own, then collect what they provide.

    Args:
        points: Entry points, see :func:`find`.
        absent: Plugins that are known to be broken, to be listed.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    collected: dict[str, list[Offer[Any]]] = {kind: [] for kind in KINDS}
    for distribution, point in points:
        plugin = Plugin(point.name, point.value, distribution.name, distribution.version)
        plugins.append(plugin)
        try:
            check_python(distribution)
            offers = _offers_of(manager, plugin, point.load)
        except Interruption:
            raise
        except BaseException as error:
            plugin.error = reason(error)
            continue
        for kind, values in offers.items():
            collected[kind] += [Offer(value, plugin) for value in values]
    conflicts: dict[str, str] = {}
    tables = {kind: by_name(kind, offers, conflicts) for kind, offers in collected.items()}
    pairs = {name: on_own_dataset(offer, tables["dataset"]) for name, offer in tables["pair"].items()}
    kinds = (tables["method"], tables["dataset"], pairs)
    return Registry(
        (*plugins, *absent), *kinds, conflicts, tables["executor"], tables["metric"], tables["model"]
    )


def typed_name(dataset: Dataset) -> str:
    """Return the name of a dataset on the command line: its own, or the benchmark file that defines it."""
    offer = registry().datasets.get(dataset.name)
    own = offer is not None and offer.plugin.name == BENCHMARK
    return os.path.relpath(offer.plugin.module) if own and offer else dataset.name


def provide(file: Path, datasets: Iterable[Dataset], pairs: Iterable[Pair]) -> None:
    """Register the datasets and pairs of a benchmark file in this process, replacing its earlier ones.

    Raises:
        UserError: If a name is taken.
    """
    plugin = Plugin(BENCHMARK, str(file.resolve()), file.name, "")
    for values, known in ((datasets, registry().datasets), (pairs, registry().pairs)):
        for value in values:
            there = known.get(value.name)
            if there is not None and there.plugin.module != plugin.module:
                raise UserError(f"{there.title} has the name already: choose another.")
            cast("dict[str, Any]", known)[value.name] = Offer(value, plugin)


def check_python(distribution: Distribution) -> None:
    """Refuse a distribution that does not support this Python, as pip does at installation.

    Raises:
        UserError: If it does not; the message has the supported versions.
    """
    wanted = distribution.metadata["Requires-Python"]
    if wanted is None:
        return
    from packaging.specifiers import SpecifierSet

    if not SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        raise UserError(f"is for Python {wanted}, and this is {platform.python_version()}")


def _offers_of(
    manager: pluggy.PluginManager, plugin: Plugin, load_module: Callable[[], object]
) -> dict[str, list[Any]]:
    """Register one plugin and call its hooks; if any of this fails, it is unregistered."""
    module = _quietly(plugin, load_module)
    key = f"{plugin.distribution}:{plugin.name}"
    _check_marked(module)
    manager.register(module, name=key)
    try:
        manager.check_pending()
        hooks = {caller.name: caller for caller in manager.get_hookcallers(module) or ()}
        offers = _quietly(plugin, lambda: _called(hooks, key))
    except BaseException:
        manager.unregister(name=key)
        raise
    plugin.offers = {kind: [value.name for value in values] for kind, values in offers.items() if values}
    return offers


def _quietly(plugin: Plugin, work: Callable[[], V]) -> V:
    """Run a part of a plugin's import and return its result; add a warning if it prints."""
    printed = io.StringIO()
    with (
        hosted(),
        redirect_stdout(printed),
        reminder(_slow(f"plugin {plugin.distribution} ({plugin.module})")),
    ):
        value = work()
    if text := printed.getvalue().strip():
        plugin.warnings.append(f"prints while it is imported: '{' '.join(text.split())[:60]}'")
    return value


def _slow(title: str) -> str:
    return f"{title} is still being imported: Ctrl-C stops waiting for it."


def _called(hooks: Mapping[str, pluggy.HookCaller], key: str) -> dict[str, list[Any]]:
    """Return the values of one plugin's hooks, by kind."""
    offers: dict[str, list[Any]] = {}
    for kind, (hook, expected) in KINDS.items():
        offers[kind] = _call(hooks[hook], key, expected) if hook in hooks else []
    return offers


def _check_marked(module: object) -> None:
    """Refuse functions that are named like a hook but not marked as one, which pluggy would silently ignore."""
    for name, value in vars(module).items():
        if name.startswith("kdbench_") and inspect.isfunction(value) and not hasattr(value, "kdbench_impl"):
            raise TypeError(f"{name} is not marked with kdbench.hookspecs.hookimpl")


def _call(hook: pluggy.HookCaller, key: str, expected: type[Any]) -> list[Any]:
    """Return the values of one plugin's implementation of a hook, after checking each."""
    parts = [part for part in hook.get_hookimpls() if part.plugin_name == key]
    given = (value for part in parts for value in cast("Iterable[Any]", part.function()))
    values: list[Any] = []
    for value in given:
        if not isinstance(value, expected):
            raise TypeError(f"{hook.name} gave {type(value).__name__}, not {expected.__name__}")
        name = value.name.lower() if expected is MetricCard else value.name
        if not NAME.fullmatch(name):
            raise ValueError(f"{hook.name} gave the name '{value.name}': use lower case, digits and dashes")
        if len(values) == MOST_OFFERS:
            raise ValueError(f"{hook.name} gave more than {MOST_OFFERS} values")
        values.append(value)
    return values


def title_of(given: MethodCard | Dataset | ExecutorCard | MetricCard | type[Method[Any]]) -> str:
    """Return the name for messages of something that a plugin provides: ``method 'mimic' of kdbench 0.1.0``.

    Args:
        given: A card, or the class of a method. If no installed plugin provides it, the distribution is left out.
    """
    if isinstance(given, type):
        target = f"{given.__module__}:{given.__qualname__}"
        titles = (offer.title for offer in registry().methods.values() if offer.value.method == target)
        return next(titles, f"method {target}")
    offer = getattr(registry(), f"{kind_of(given)}s").get(given.name)
    return f"{kind_of(given)} '{given.name}'" if offer is None else offer.title


def load_target(title: str, target: str, advice: str = "") -> Any:
    """Import the object that a card names.

    Args:
        title: Title of the card, for messages.
        target: ``package.module:name``.
        advice: Sentence to append to an error message.

    Raises:
        PluginError: If the import fails.
    """
    with (
        running(title, f"the import of {target}", advice),
        redirect_stdout(sys.stderr),
        reminder(_slow(title)),
    ):
        return load_object(target)


def make_method(card: MethodCard, options: Options) -> Method[Any]:
    """Instantiate a method, without building its adapters.

    Raises:
        PluginError: If its class cannot be imported or instantiated.
    """
    if isinstance(card, CombinedCard) and isinstance(options, CombinedOptions):
        from kdbench.distill.combined import Combined

        own = options.parts
        return Combined(options, {name: make_method(part, own[name]) for name, part in card.parts.items()})
    kind = load_method(card)
    from kdbench.distill.settings import unchanged

    with running(title_of(card), "its constructor"), unchanged():
        return kind(options)


def load_method(card: MethodCard) -> type[Method[Any]]:
    """Import the class of a method, and with it torch.

    Raises:
        PluginError: If the import fails, or the class is not a subclass of Method.
    """
    from kdbench.distill import Compression, Method
    from kdbench.distill.settings import unchanged

    with running(title_of(card), f"the import of {card.method}"), unchanged():
        loaded = load_target(title_of(card), card.method)
    if not (isinstance(loaded, type) and issubclass(loaded, Method)):
        raise PluginError(f"{title_of(card)}: {card.method} is not a subclass of kdbench.api.Method")
    if issubclass(loaded, Compression) != (card.kind == "compression"):
        told = "its class is a kdbench.api.Compression just where its card has `compression`"
        raise PluginError(f"{title_of(card)}: {told}")
    return loaded

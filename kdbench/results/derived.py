"""The metrics of plugins, computed from a record's metrics when a leaderboard is shown."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from kdbench.cards import load_object
from kdbench.dataset_cards import MetricCard
from kdbench.errors import reason, running
from kdbench.offers import Offer
from kdbench.plugins import registry, title_of

if TYPE_CHECKING:
    from kdbench.results.record import Record


def with_derived(records: Iterable[Record]) -> list[Record]:
    """Return the records with the installed plugins' metrics added to their own."""
    records = list(records)
    return [_with_derived(record) for record in records] if _further() else records


def _with_derived(record: Record) -> Record:
    if record.metrics is None:
        return record
    last = derived(record.metrics.last) | record.metrics.last
    return record.model_copy(update={"metrics": record.metrics.model_copy(update={"last": last})})


def derived(metrics: Mapping[str, float]) -> dict[str, float]:
    """Compute the installed plugins' metrics from a record's.

    A metric that fails is left out, with a warning that names its distribution.

    Args:
        metrics: Name -> fraction, after the last iteration.

    Returns:
        Name -> fraction in [0, 1].
    """
    found: dict[str, float] = {}
    for name, offer in _further().items():
        try:
            value = value_of(offer.value, metrics)
        except (Exception, SystemExit) as error:
            warnings.warn(f"{offer.title} failed and is left out: {reason(error)}", stacklevel=2)
            continue
        if value is not None:
            found[name] = value
    return found


def _further() -> dict[str, Offer[MetricCard]]:
    """Return the metrics that do not rank, by name."""
    return {name: offer for name, offer in registry().metrics.items() if not offer.value.tasks}


def value_of(card: MetricCard, metrics: Mapping[str, float]) -> float | None:
    """Compute a metric from other metrics: a fraction in [0, 1], or None if its function returns None.

    Raises:
        TypeError: If the function returns something else than a number.
        ValueError: If the number is not in [0, 1].
    """
    with redirect_stdout(sys.stderr):
        value = load_object(card.function)(dict(metrics))
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"it gave a {type(value).__name__}, not a number")
    if not 0 <= value <= 1 or math.isnan(value):
        raise ValueError(f"it gave {value}, which is not in [0, 1]")
    return float(value)


def with_ranking(name: str, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return an evaluation's metrics with the one that ranks, computed by its plugin's function.

    Args:
        name: Name of the metric that ranks.
        metrics: Name -> fraction, as evaluated.

    Raises:
        PluginError: If the function fails or does not return a fraction.
    """
    card = registry().metric(name)
    with running(title_of(card), card.function):
        value = value_of(card, metrics)
        if value is None:
            raise ValueError("it gave None for what was evaluated")
    return {**metrics, name: value}


def low_first() -> set[str]:
    """Return the names of the metrics of which less is better."""
    return {name for name, offer in registry().metrics.items() if not offer.value.higher_is_better}

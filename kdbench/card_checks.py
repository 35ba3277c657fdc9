"""Refuses a card that would fail later, in code that is not the plugin's."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kdbench.cards import TASKS, Dataset, ExecutorCard, MethodCard, MetricCard, Options, Split

METRICS = {"detection": ("AP50", "AP50_11point"), "segmentation": ("mIoU",)}
"""Task -> the metrics that can rank."""
REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def check_card(card: object) -> None:
    """Refuse what is wrong in a card.

    Raises:
        TypeError: Where a field has the wrong type; the message names card and field.
        ValueError: Where its value cannot be.
    """
    check = CHECKS.get(type(card))
    if check is not None:
        check(card)


def _method(card: MethodCard) -> None:
    _options(card)
    if not isinstance(card.tasks, tuple) or not card.tasks or not set(card.tasks) <= set(TASKS):
        raise ValueError(f"the tasks of '{card.name}' are {card.tasks}: give a tuple of {', '.join(TASKS)}")
    if type(card.revision) is not int or card.revision < 1:
        raise ValueError(f"the revision of '{card.name}' is {card.revision!r}: give a number from 1 on")
    if card.reported is not None and not card.reported.is_file():
        raise ValueError(f"the reported numbers of '{card.name}' are not there: {card.reported}")


def _dataset(card: Dataset) -> None:
    _reference(card.name, "prepare", card.prepare)
    if card.task not in TASKS:
        raise ValueError(f"the task of '{card.name}' is {card.task!r}: give {' or '.join(TASKS)}")
    if card.metric not in METRICS[card.task]:
        known = " or ".join(METRICS[card.task])
        raise ValueError(f"the metric of '{card.name}' is {card.metric!r}: give {known}")
    if not isinstance(card.classes, tuple) or not card.classes or not _all(card.classes, str):
        raise TypeError(f"the classes of '{card.name}' are {card.classes!r}: give a tuple of names")
    if not isinstance(card.splits, Mapping) or not {"train", "test"} <= set(card.splits):
        raise ValueError(f"the splits of '{card.name}' lack 'train' or 'test'")
    for name, parts in card.splits.items():
        if not isinstance(parts, tuple) or not parts or not _all(parts, Split):
            raise TypeError(f"the split '{name}' of '{card.name}' is no tuple of kdbench.api.Split")


def _executor(card: ExecutorCard) -> None:
    _options(card)
    _reference(card.name, "target", card.target)
    if not isinstance(card.requires, tuple) or not _all(card.requires, str):
        raise TypeError(f"what '{card.name}' requires is {card.requires!r}: give a tuple of modules")


def _metric(card: MetricCard) -> None:
    _reference(card.name, "function", card.function)


CHECKS: Mapping[type, Callable[[Any], None]] = {
    MethodCard: _method,
    Dataset: _dataset,
    ExecutorCard: _executor,
    MetricCard: _metric,
}


def _options(card: MethodCard | ExecutorCard) -> None:
    if not (isinstance(card.options, type) and issubclass(card.options, Options)):
        raise TypeError(f"the options of '{card.name}' are no subclass of kdbench.api.Options")


def _reference(name: str, field: str, value: object) -> None:
    if not isinstance(value, str) or REFERENCE.fullmatch(value) is None:
        raise ValueError(f"the {field} of '{name}' is {value!r}: give 'package.module:name'")


def _all(values: tuple[object, ...], kind: type) -> bool:
    return all(isinstance(value, kind) for value in values)

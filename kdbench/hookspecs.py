"""What a plugin may give kdbench. A plugin is a module with some of these functions.

Register it under the entry point group ``kdbench`` and mark each function with ``hookimpl``.
Everything returned here is a light description: none may import torch, pandas or OpenMMLab.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from kdbench.cards import Dataset, ExecutorCard, MethodCard
    from kdbench.specs import Pair

hookspec = pluggy.HookspecMarker("kdbench")
hookimpl = pluggy.HookimplMarker("kdbench")


@hookspec
def kdbench_methods() -> Iterable[MethodCard]:  # type: ignore[empty-body]
    """Distillation methods: a card each, which names the class to import when the method is run."""


@hookspec
def kdbench_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]
    """Datasets: where each is, its splits and classes, its metric, how to get it."""


@hookspec
def kdbench_pairs() -> Iterable[Pair]:  # type: ignore[empty-body]
    """Teacher-student pairs with their training schedules."""


@hookspec
def kdbench_executors() -> Iterable[ExecutorCard]:  # type: ignore[empty-body]
    """Where the workers of a sweep run: a card each, which names the class to import when a sweep asks for it."""

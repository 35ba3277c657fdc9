"""The leaderboards of a large store, whose pairs are read and ranked by several processes at once."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from kdbench.results.record import TEACHERS
from kdbench.results.store import Broken, Folder, Store

if TYPE_CHECKING:  # a second to import, which a process takes while its helpers take theirs
    import pandas as pd

LARGE = 10_000
"""Files of records from which on further processes are worth the second that each takes to start."""

Ranked: TypeAlias = "tuple[dict[str, pd.DataFrame], list[Broken]]"


def ranked(root: Path, *, bootstrap: bool = False) -> Ranked | None:
    """What :func:`kdbench.results.frame.frames` gives of all records, and the files that could not be read.

    Args:
        root: The results folder.
        bootstrap: Add bootstrap intervals.

    Returns:
        None where one process is enough: a small store, one pair or one core.
    """
    folders = Store(root).folders()
    pairs = sorted((folder for folder in folders if folder.pair != TEACHERS), key=lambda one: -folders[one])
    processes = min(len(pairs), _cores())
    if processes < 2 or sum(folders.values()) < LARGE:
        return None
    parts = list(_parts(root, bootstrap, pairs, processes - 1))
    broken = {file for _, files in parts for file in files}
    return _joined(made for made, _ in parts), sorted(broken, key=lambda file: str(file.path))


def _parts(root: Path, bootstrap: bool, pairs: Sequence[Folder], helpers: int) -> Iterator[Ranked]:
    """The ranking of each pair; this process takes the last ones while its helpers start with the first ones."""
    with ProcessPoolExecutor(helpers, mp_context=multiprocessing.get_context("spawn")) as pool:
        coming = {pair: pool.submit(_of_pair, root, bootstrap, pair) for pair in pairs}
        for pair, future in reversed(coming.items()):
            yield _of_pair(root, bootstrap, pair) if future.cancel() else future.result()


def _of_pair(root: Path, bootstrap: bool, pair: Folder) -> Ranked:
    """The rankings of a pair's folder, beside the teachers of its dataset."""
    from kdbench.results.frame import frames

    store = Store(root)
    records, broken = store.in_folder(pair.dataset, pair.pair)
    teachers, unread = store.in_folder(pair.dataset, TEACHERS)
    gc.freeze()  # they stay to the end: no look for garbage need go through all of them
    made = frames([], [*records, *teachers], bootstrap=bootstrap)
    gc.unfreeze()
    return made, [*broken, *unread]


def _joined(parts: Iterable[dict[str, pd.DataFrame]]) -> dict[str, pd.DataFrame]:
    """Dataset -> its leaderboard, from those of its pairs."""
    from kdbench.results.frame import whole_of

    found: dict[str, list[pd.DataFrame]] = defaultdict(list)
    for made in parts:
        for name, frame in made.items():
            found[name].append(frame)
    return {name: whole_of(found[name]) for name in sorted(found)}


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""The leaderboards of a large store, whose datasets are read and ranked by several processes at once."""

from __future__ import annotations

import gc
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pandas as pd

from kdbench.results.frame import frames
from kdbench.results.store import Broken, Store

LARGE = 10_000
"""Files of records from which on further processes are worth the second that each takes to start."""

Ranked = tuple[dict[str, pd.DataFrame], list[Broken]]


def ranked(root: Path, *, bootstrap: bool = False) -> Ranked | None:
    """What :func:`kdbench.results.frame.frames` gives of all records, and the files that could not be read.

    Args:
        root: The results folder.
        bootstrap: Add bootstrap intervals.

    Returns:
        None where one process is enough: a small store, one dataset or one core.
    """
    store = Store(root)
    folders = store.folders()
    processes = min(len(folders), _cores())
    if processes < 2 or sum(folders.values()) < LARGE:
        return None
    largest_first = sorted(folders, key=lambda name: -folders[name])
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(partial(_of_folder, root, bootstrap), largest_first))
    found = {name: frame for boards, _ in parts for name, frame in boards.items()}
    broken = [file for _, files in parts for file in files]
    return {name: found[name] for name in sorted(found)}, sorted(broken, key=lambda file: str(file.path))


def _of_folder(root: Path, bootstrap: bool, folder: str) -> Ranked:
    records, broken = Store(root).in_folder(folder)
    gc.freeze()  # they stay to the end: no look for garbage need go through all of them
    return frames([], records, bootstrap=bootstrap), broken


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

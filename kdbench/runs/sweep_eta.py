"""How long a running sweep still takes: its cells, and the teachers that are not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from kdbench.runs import progress as worker_progress
from kdbench.runs.cells import Spec
from kdbench.runs.estimate import Rates, teachers_of
from kdbench.runs.sweep_state import PackState

There = Callable[[Spec], bool]


def time_left(
    running: Sequence[PackState], pending: Sequence[PackState], rates: Rates, there: There, slots: int
) -> tuple[float | None, int]:
    """Estimate the time to the end from earlier records, and longer where running packs report more.

    No shorter than the longest of them: slots cannot share what is left of a pack.

    Args:
        running: Packs in workers.
        pending: Packs that wait.
        rates: Times from earlier records.
        there: Whether a spec need not be run.
        slots: Workers at once.

    Returns:
        Seconds, None where no record tells; and the number of teachers of unknown time that are left out of them.
    """
    cells = _cells_left(running, pending, rates, there)
    teachers, untimed = _teachers_left(running, pending, rates, there, slots)
    if cells is None:
        return None, untimed
    shared = cells / min(slots, len(running) + len(pending)) + teachers
    return max([shared, *map(_told, running)]), untimed


def _cells_left(
    running: Sequence[PackState], pending: Sequence[PackState], rates: Rates, there: There
) -> float | None:
    """Time of the cells one after the other, s."""
    items = [item for state in (*running, *pending) for item in state.pack.items]
    known, unknown = rates.total(items)
    if unknown == len(items):
        return None
    a_cell = known / (len(items) - unknown)
    expected, takes, spent = 0.0, 0.0, 0.0
    for state in running:
        known, unknown = rates.total(state.pack.items)
        whole, so_far = known + unknown * a_cell, state.on_cells(there)
        expected += whole
        takes += max(whole, so_far + _told(state)) if so_far else whole
        spent += so_far
    slower = takes / expected if expected else 1.0
    return max(0.0, a_cell * len(items) * slower - spent)


def _teachers_left(
    running: Sequence[PackState], pending: Sequence[PackState], rates: Rates, there: There, slots: int
) -> tuple[float, int]:
    """Time of the teachers, s, of which each slot trains one, and how many of unknown time are left out."""
    times: list[float] = []
    untimed, made = 0, set[str]()
    for state in running:
        made |= state.teachers.keys()
        if state.teachers and not state.on_cells(there):
            seconds, unknown = _of_worker(state, rates)
            times.append(seconds)
            untimed += unknown
    needed = teachers_of((item for state in pending for item in state.pack.items), there)
    later = [rates.of_teacher(teacher) for identity, teacher in needed.items() if identity not in made]
    times += [seconds for seconds in later if seconds is not None]
    at_once = min(slots, sum(seconds > 0 for seconds in times))
    return sum(times) / max(1, at_once), untimed + later.count(None)


def _of_worker(state: PackState, rates: Rates) -> tuple[float, int]:
    """Return the same for a worker's teachers; it reports itself how long the present one still takes."""
    each = [rates.of_teacher(teacher) for teacher in state.teachers.values()]
    left = sum(seconds for seconds in each if seconds is not None) - (time.monotonic() - state.began)
    told, unknown = _told(state), each.count(None)
    return max(told, left, 0.0), unknown - (1 if told and unknown else 0)


def _told(state: PackState) -> float:
    """Return what a worker reports of its present training, s; 0 where it does not."""
    told = worker_progress.read(state.folder)
    return (told and told.seconds_left) or 0.0

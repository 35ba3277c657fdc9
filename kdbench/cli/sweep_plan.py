"""What ``kdbench sweep --dry-run`` prints."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from kdbench.cli.screen import echo
from kdbench.runs.cells import AnySpec
from kdbench.runs.estimate import Rates, dealt
from kdbench.runs.made import has_weights, teachers_of
from kdbench.runs.packs import Pack
from kdbench.runs.progress import span
from kdbench.runs.settings import RunSettings
from kdbench.runs.sweep_plan import SweepPlan


def show(plan: SweepPlan, work_dir: Path, slots: int | None) -> None:
    """Print a plan: cells a pair, packs with their reasons, and an estimate of the time.

    Args:
        plan: What a sweep is to run.
        work_dir: The folder of the runs, which has the weights of trained teachers.
        slots: Workers at once, over which packs are dealt out; None: not known before the sweep.
    """
    done = {record.identity: record for record in plan.records if record.done}
    settings = RunSettings(work_dir=work_dir)

    def made(spec: AnySpec) -> bool:
        record = done.get(spec.identity())
        return record is not None and has_weights(settings, spec, record)

    rates = Rates()
    rates.learn(plan.records)
    packs = plan.packs if slots is None else dealt(plan.packs, slots, rates)
    echo("\n".join([*_cells(plan), *_packs(packs, rates), _total(packs, rates, made)]))


def _cells(plan: SweepPlan) -> list[str]:
    """Return a line for each pair and method."""
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for identity, item in plan.cells.items():
        state = "done" if identity in plan.done else "failed" if identity in plan.failed else "to run"
        counts[item.plan.cell.pair.name, item.plan.cell.selector][state] += 1
    lines = [f"{len(plan.cells)} cells: {_counted(sum(counts.values(), Counter()))}"]
    lines += [f"  {pair}  {method}: {_counted(count)}" for (pair, method), count in counts.items()]
    return lines


def _counted(count: Counter[str]) -> str:
    return ", ".join(f"{count[state]} {state}" for state in ("done", "to run", "failed") if count[state])


def _packs(packs: Sequence[Pack], rates: Rates) -> list[str]:
    lines = [f"{len(packs)} packs"]
    for pack in packs:
        methods = " ".join(item.plan.cell.selector for item in pack.items)
        lines.append(f"  {pack.title}: {methods} ({pack.reason}; {_time([pack], rates)})")
    return lines


def _total(packs: Sequence[Pack], rates: Rates, made: Callable[[AnySpec], bool]) -> str:
    """Return the time of the cells, and that of the teachers that are still to be trained."""
    if not packs:
        return "nothing to run"
    teachers = teachers_of((item.plan for pack in packs for item in pack.items), made)
    each = [rates.of_teacher(teacher) for teacher in teachers.values()]
    timed = [seconds for seconds in each if seconds is not None]
    words = [f"one after the other: {_time(packs, rates)}"]
    words += [f"{_teachers(len(timed))} about {span(sum(timed))}"] if timed else []
    words += [f"{_teachers(each.count(None))} (time unknown)"] if None in each else []
    return ", plus training ".join(words)


def _teachers(number: int) -> str:
    return "1 teacher" if number == 1 else f"{number} teachers"


def _time(packs: Sequence[Pack], rates: Rates) -> str:
    """Estimate the time of packs from earlier records."""
    cells = [item for pack in packs for item in pack.items]
    seconds, unknown = rates.total(cells)
    if unknown == len(cells):
        return "time unknown"
    return f"about {span(seconds)}" + (f" and {unknown} cells of unknown time" if unknown else "")

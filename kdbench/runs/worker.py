"""A worker of a sweep: trains one pack in this process, under claims, and writes the records."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from kdbench.errors import Disturbed, UserError
from kdbench.executors.base import DONE, FAILED, HELD, INTERRUPTED, REFUSED
from kdbench.executors.process import LEASH
from kdbench.guests import interrupt
from kdbench.runs.cells import AnySpec
from kdbench.runs.claims import Claims, give_up
from kdbench.runs.launch import start
from kdbench.runs.made import is_made, teachers_to_train, trainings_of
from kdbench.runs.pack import PackOutcome, run_pack
from kdbench.runs.packs import PackFile, read_pack
from kdbench.runs.plan import Plan, Planner
from kdbench.runs.progress import PackProgress, WorkerConsole
from kdbench.runs.request import command_of
from kdbench.runs.settings import RunSettings


def work(file: Path) -> int:
    """Train the pack in a file.

    Cells that another process runs are left to it. Nothing is run where another process trains what is needed:
    a worker never waits for a claim, so that no two can wait for each other.

    Returns:
        The exit code, see :mod:`kdbench.executors.base`.

    Raises:
        UserError: If the file is not a pack, or the pack cannot be planned as it was when it was written.
    """
    pack = read_pack(file)
    try:
        with stoppable(), Claims(pack.settings.results, give_up) as claims:
            return _work(pack, claims)
    except KeyboardInterrupt:
        print("interrupted: it resumes from its last checkpoint", file=sys.stderr, flush=True)
        return INTERRUPTED


def _work(pack: PackFile, claims: Claims) -> int:
    plans = planned(pack)
    settings = pack.settings
    mine = taken(plans, settings, claims)
    if mine is None:
        return HELD
    if not mine:
        return DONE
    titles = {identity: f"{plan.cell.selector}, seed {plan.cell.seed}" for identity, plan in mine.items()}
    progress = PackProgress(pack=pack.name, title=pack.title, cells=titles, owner=claims.owner)
    console = WorkerConsole(pack.folder, progress)
    try:
        outcome = _trained(pack, mine, console)
    except Disturbed as failed:
        print(f"{failed}: what is not done is trained again", file=sys.stderr, flush=True)
        return FAILED
    made = {identity: spec for plan in mine.values() for identity, spec in trainings_of(plan).items()}
    for identity in list(claims.held):
        claims.release(identity, done=is_made(settings, made[identity]))
    console.publish(ended=True, refused=outcome.refused)
    if outcome.refused:
        return REFUSED
    return DONE if all(record.done for record in outcome.records) else FAILED


def planned(pack: PackFile) -> list[Plan]:
    """Return the plans of a pack's cells. Raises UserError if they are not those that the sweep planned."""
    planner = Planner()
    plans = [planner.plan(request) for request in pack.requests]
    if tuple(plan.cell.identity() for plan in plans) != pack.identities:
        raise UserError(
            f"the data, a pair or a plugin changed since pack {pack.name} was planned: start the sweep again."
        )
    commands = [command_of(request, pack.settings) for request in pack.requests]
    return [replace(plan, command=command) for plan, command in zip(plans, commands, strict=True)]


def taken(plans: list[Plan], settings: RunSettings, claims: Claims) -> dict[str, Plan] | None:
    """Claim the cells that are to be run, and what they need.

    Returns:
        The plans to run by their cells' identities, empty if all are done; None if other processes hold all
        of them or something that they need: then nothing is claimed.
    """
    pending = {p.cell.identity(): p for p in plans if settings.rerun or not is_made(settings, p.cell)}
    needed: dict[str, AnySpec] = {}
    for plan in pending.values():
        needed |= teachers_to_train(plan, lambda spec: is_made(settings, spec))
    if all(claims.take(identity) for identity in sorted(needed)):
        mine = {identity: plan for identity, plan in pending.items() if claims.take(identity)}
        specs = needed | {identity: plan.cell for identity, plan in mine.items()}
        kept = mine if settings.rerun else {}
        for identity in [held for held in claims.held if held not in kept and is_made(settings, specs[held])]:
            claims.release(identity, done=True)  # it was done between the look and the claim
            mine.pop(identity, None)
        if mine or not pending:
            return mine
    for identity in list(claims.held):
        claims.release(identity)
    return None


def _trained(pack: PackFile, mine: Mapping[str, Plan], console: WorkerConsole) -> PackOutcome:
    plans = list(mine.values())
    start(plans[0].cell.device, plans[0].dataset)
    with contextlib.redirect_stdout(sys.stderr):
        return run_pack(plans, pack.settings, console)


@contextmanager
def stoppable() -> Iterator[None]:
    """Handle SIGTERM, and the end of the sweep that started this process, like Ctrl-C."""
    previous = signal.signal(signal.SIGTERM, interrupt)
    leash = os.environ.pop(LEASH, None)
    if leash is not None:
        threading.Thread(target=_watch, args=(int(leash),), daemon=True).start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _watch(leash: int) -> None:
    os.read(leash, 1)  # returns when the last writer is gone
    os.kill(os.getpid(), signal.SIGTERM)

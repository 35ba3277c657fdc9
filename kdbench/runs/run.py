"""Runs one cell in this process, with the teacher and the plain student that it needs, under claims.

The claims are those that the workers of sweeps take, so that nothing is trained twice at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import replace

from kdbench.errors import UserError
from kdbench.results.record import Record
from kdbench.runs.cells import AnySpec, subject_of, title
from kdbench.runs.claims import Claims, give_up
from kdbench.runs.launch import is_main_process, start
from kdbench.runs.made import is_made, teachers_to_train
from kdbench.runs.plan import Plan, plan
from kdbench.runs.progress import LineConsole
from kdbench.runs.request import Request, command_of
from kdbench.runs.session import Session
from kdbench.runs.settings import RunSettings
from kdbench.runs.trainer import openmmlab
from kdbench.specs import TeacherSpec

WAIT_EVERY = 2.0
"""Seconds between two looks at a claim that is waited for."""


def run(request: Request, settings: RunSettings, console: LineConsole, *, rehash: bool = False) -> Record:
    """Run a cell that has no record yet, and what it needs; what the libraries print goes to standard error.

    Args:
        request: What to run.
        settings: Runtime settings.
        console: Receives progress messages.
        rehash: Read every file of the dataset, whatever the index of hashes has of it.

    Returns:
        The cell's record, whether it was made now or before.

    Raises:
        RunError: If a training failed; its failed record is written.
        UserError: If anything asked for is unknown, malformed or missing, a gate fails, or another process runs the
            cell.
        KeyboardInterrupt: On Ctrl-C; the same request continues from the last checkpoint.
    """
    planned = replace(plan(request, rehash=rehash), command=command_of(request, settings))
    start(planned.cell.device, planned.dataset)
    alone = claimed(to_run(planned, settings), settings) if is_main_process() else nullcontext()
    with alone, redirect_stdout(sys.stderr):
        return Session(planned, settings, console).run()


def to_run(plan: Plan, settings: RunSettings) -> dict[str, AnySpec]:
    """Return what a plan's run would train, by identity. Raises UserError if a newer kdbench wrote a record."""

    def made(spec: AnySpec) -> bool:
        return is_made(settings, spec) or _is_only_measured(spec, plan, settings)

    wanted: dict[str, AnySpec] = {} if made(plan.plain) else {plan.plain.identity(): plan.plain}
    if settings.rerun or not made(plan.cell):
        wanted[plan.cell.identity()] = plan.cell
        wanted.update(teachers_to_train(plan, made))
    return wanted


def _is_only_measured(spec: AnySpec, plan: Plan, settings: RunSettings) -> bool:
    """Return whether a spec is a given teacher of the dataset's classes, which several runs may measure at once."""
    if not isinstance(spec, TeacherSpec) or spec.checkpoint is None:
        return False
    subject, file = subject_of(spec, plan, settings), plan.checkpoints[spec.checkpoint]
    return openmmlab().other_classes(subject, file) is None


@contextmanager
def claimed(
    specs: Mapping[str, AnySpec], settings: RunSettings, waiting: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the claims on trainings while the block lasts, so that no other process runs them.

    Args:
        specs: The trainings by identity.
        settings: Runtime settings.
        waiting: Receives a line when a claim is waited for; None: do not wait.

    Raises:
        UserError: If another process runs one of them and is not waited for, or the claims cannot be written.
    """
    with Claims(settings.results, give_up) as claims:
        for identity in sorted(specs):
            _take(identity, specs[identity], claims, waiting)
        try:
            yield
        finally:
            for identity in list(claims.held):
                claims.release(identity, done=is_made(settings, specs[identity]))


def _take(identity: str, spec: AnySpec, claims: Claims, waiting: Callable[[str], None] | None) -> None:
    if claims.take(identity):
        return
    if waiting is None:
        owner = claims.holder(identity)
        who = "another process" if owner is None else owner.title  # None: it has ended since
        raise UserError(
            f"{title(spec)}, on {spec.dataset}, is run by {who} now: try again when that has ended "
            "(`kdbench status` shows how far a sweep is)."
        )
    waiting(f"{title(spec)}: waiting for another process that trains it")
    while not claims.take(identity):
        time.sleep(WAIT_EVERY)

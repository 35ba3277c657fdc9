"""Claims for a run by hand: it takes those that the workers of sweeps take, so that nothing is run twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from kdbench.errors import UserError
from kdbench.executors.base import INTERRUPTED
from kdbench.runs.cells import AnySpec, subject_of, title
from kdbench.runs.claims import Claims
from kdbench.runs.plan import Plan
from kdbench.runs.settings import RunSettings
from kdbench.runs.sweep_records import is_there, needs_of
from kdbench.runs.trainer import openmmlab
from kdbench.specs import TeacherSpec


@contextmanager
def claimed(plan: Plan, settings: RunSettings) -> Iterator[None]:
    """While this lasts, this process alone runs a plan's cell and what it needs.

    Raises:
        UserError: If another process is at one of them, or the claims cannot be written.
    """
    wanted = to_run(plan, settings)
    with Claims(settings.store.root, give_up) as claims:
        for identity in sorted(wanted):
            if not claims.take(identity):
                raise UserError(_taken(wanted[identity], claims))
        try:
            yield
        finally:
            for identity in list(claims.held):
                claims.release(identity, done=is_there(settings, wanted[identity]))


def to_run(plan: Plan, settings: RunSettings) -> dict[str, AnySpec]:
    """Return what a plan's run would train, by identity. Raises UserError if a newer kdbench wrote a record."""

    def there(spec: AnySpec) -> bool:
        return is_there(settings, spec) or _is_measured_only(spec, plan, settings)

    wanted: dict[str, AnySpec] = {} if there(plan.plain) else {plan.plain.identity(): plan.plain}
    if settings.rerun or not there(plan.cell):
        wanted[plan.cell.identity()] = plan.cell
        wanted.update(needs_of(plan, there))
    return wanted


def _is_measured_only(spec: AnySpec, plan: Plan, settings: RunSettings) -> bool:
    """Whether a spec is a given teacher of the dataset's classes: as many as want to measure it."""
    if not isinstance(spec, TeacherSpec) or spec.checkpoint is None:
        return False
    subject, file = subject_of(spec, plan, settings), plan.checkpoints[spec.checkpoint]
    return openmmlab().other_classes(subject, file) is None


def _taken(spec: AnySpec, claims: Claims) -> str:
    owner = claims.holder(spec.identity())
    who = "another process" if owner is None else owner.title  # None: it has ended since
    return (
        f"{title(spec)}, on {spec.dataset}, is run by {who} now: give this command again when that has ended "
        "(`kdbench status` shows how far a sweep is)."
    )


def give_up() -> None:
    """Somebody took this process for dead and runs its cells: writing a checkpoint would spoil theirs."""
    print("another process took over the claims of this one", file=sys.stderr, flush=True)
    os._exit(INTERRUPTED)

"""Runs one cell in this process, with the teacher and the plain student that it needs."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import replace

from kdbench.results.record import Record
from kdbench.runs.claimed import claimed
from kdbench.runs.launch import is_main_process, start
from kdbench.runs.plan import plan
from kdbench.runs.request import Request
from kdbench.runs.session import Session
from kdbench.runs.settings import RunSettings
from kdbench.runs.sweep_cells import command_of
from kdbench.runs.training import Console


def run(request: Request, settings: RunSettings, console: Console, *, rehash: bool = False) -> Record:
    """Run a cell that has no record yet, and what it needs; what the libraries print goes to standard error.

    Args:
        request: What to run.
        settings: Runtime settings.
        console: Where progress is shown.
        rehash: Read every file of the dataset, whatever the index of hashes has of it.

    Returns:
        The cell's record, whether it was made now or before.

    Raises:
        RunError: If a training failed; its failed record is written.
        UserError: If anything asked for is unknown, malformed or missing, or a gate fails.
        KeyboardInterrupt: On Ctrl-C; the same request continues from the last checkpoint.
    """
    planned = replace(plan(request, rehash=rehash), command=command_of(request, settings))
    start(planned.cell.device, planned.dataset)
    alone = claimed(planned, settings) if is_main_process() else nullcontext()
    with alone, redirect_stdout(sys.stderr):
        return Session(planned, settings, console).run()

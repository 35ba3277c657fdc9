"""What runs in a job of the executor ``slurm``: the worker's command, told of what Slurm tells the job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import submitit
from submitit.core.utils import DelayedSubmission

from kdbench.execution.kept_process import KeptProcess
from kdbench.execution.worker_codes import INTERRUPTED

STOP = signal.SIGUSR1
"""From the executor: write a checkpoint and end for good."""
OUT_OF_TIME = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
"""From Slurm a while before the time limit, as submitit asks it to."""


@dataclass
class SlurmJob:
    """A worker's command in a job. Submitit calls it, and pickles it anew when the job is to be queued again.

    Slurm sends its signals to all processes of a job. The worker hears SIGTERM, on which it writes a checkpoint;
    of the other two it is told here. A worker that has heard SIGTERM although nobody stopped it was preempted:
    its job is queued again, unless Slurm did so itself or somebody cancelled the job.

    Attributes:
        command: Program and arguments.
        folder: Its working directory.
        environment: Variables that are set for it.
        log: File that its output is appended to.
    """

    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    process: KeptProcess | None = field(default=None, init=False)

    def __call__(self) -> int:
        """Run the command. Returns its code, ``-n`` after signal n."""
        submitit.JobEnvironment().paths.result_pickle.unlink(missing_ok=True)  # of a run that was preempted
        self.process = KeptProcess(
            self.command, self.folder, self.environment, self.log, ignored=(STOP, OUT_OF_TIME)
        )
        signal.signal(STOP, self._stop)
        code = self.process.run()
        if code in (INTERRUPTED, -signal.SIGTERM) and not self.process.asked and _runs():
            with contextlib.suppress(subprocess.CalledProcessError):  # Slurm was quicker
                signal.raise_signal(OUT_OF_TIME)  # submitit queues the job again, and exits
        return code

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit before the job is queued again: have the worker write its checkpoint."""
        if self.process is not None:
            self.process.stop(now=False)
            self.process.join()
        return DelayedSubmission(replace(self))

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.process is not None:
            self.process.stop(now=False)


def _runs() -> bool:
    """Whether this job still runs as Slurm sees it: it is neither queued again already nor cancelled."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={os.environ['SLURM_JOB_ID']}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() == ["RUNNING"]

"""Runs the workers of a job of the executor ``slurm`` and passes Slurm's signals on to them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType

import submitit
from submitit.core.utils import DelayedSubmission

from kdbench.executors.base import INTERRUPTED
from kdbench.executors.process import WorkerProcess

STOP = signal.SIGUSR1
"""From the executor: write a checkpoint and end for good."""
OUT_OF_TIME = signal.Signals[f"SIG{submitit.JobEnvironment.USR_SIG}"]
"""From Slurm a while before the time limit, as submitit asks it to."""


@dataclass(frozen=True)
class SlurmWorker:
    """A worker of a job.

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

    def process(self) -> WorkerProcess:
        """Return the worker's process, not started."""
        ignored = (STOP, OUT_OF_TIME)
        return WorkerProcess(self.command, self.folder, self.environment, self.log, ignored=ignored)


@dataclass
class SlurmJob:
    """Workers side by side in a job. Submitit calls it, and pickles it again when the job is to be queued again.

    Slurm sends its signals to all processes of a job. The workers hear SIGTERM, on which they write checkpoints;
    the other two are passed on here. A worker that has heard SIGTERM although nobody stopped it was preempted:
    its job is queued again, unless Slurm did so itself or somebody cancelled the job. Workers that were done with
    their cells find nothing to do then.

    Attributes:
        workers: What runs in it, at least one.
    """

    workers: Sequence[SlurmWorker]
    processes: Sequence[WorkerProcess] = field(default=(), init=False)

    def __call__(self) -> list[int]:
        """Run the workers. Returns their codes, each ``-n`` after signal n."""
        submitit.JobEnvironment().paths.result_pickle.unlink(missing_ok=True)  # of a run that was preempted
        self.processes = [worker.process() for worker in self.workers]
        signal.signal(STOP, self._stop)
        with ThreadPoolExecutor(len(self.processes)) as pool:
            codes = list(pool.map(WorkerProcess.run, self.processes))
        ended = zip(codes, self.processes, strict=True)
        preempted = any(code in (INTERRUPTED, -signal.SIGTERM) and not each.asked for code, each in ended)
        if preempted and _runs():
            with contextlib.suppress(subprocess.CalledProcessError):  # Slurm was quicker
                signal.raise_signal(OUT_OF_TIME)  # submitit queues the job again, and exits
        return codes

    def checkpoint(self) -> DelayedSubmission:
        """Have the workers write their checkpoints; submitit calls it before the job is queued again."""
        self._stop()
        for process in self.processes:
            process.join()
        return DelayedSubmission(replace(self))

    def _stop(self, number: int = STOP, frame: FrameType | None = None) -> None:
        for process in self.processes:
            process.stop(now=False)


def _runs() -> bool:
    """Return whether Slurm sees this job as running: neither queued again already nor cancelled."""
    command = ["squeue", "--noheader", "--format=%T", f"--jobs={os.environ['SLURM_JOB_ID']}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.split() == ["RUNNING"]

"""The executor ``slurm``: jobs of one or several workers, submitted with submitit.

What the sweep submits at once becomes one job array; later packs, which wait for a slot or for a teacher, become
arrays or jobs of their own. A job that is preempted writes a checkpoint and is queued again, and so is one that
comes to its time limit, up to three times; then, and when it is lost, the sweep submits its cells again. A job that
is queued again resumes from its checkpoint.

Jobs outlive a sweep that is killed: they write their records, and the same sweep started again runs what is left.

What the machines must share: the working directory under the same path, with the store, the folder of the runs
and the executor's own folder in it or beside it (see :mod:`kdbench.runs.claims` for what that file system must
guarantee), and kdbench in a Python environment under the same path.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, pickle_load

from kdbench import devices
from kdbench.errors import ArgumentError, UserError
from kdbench.executors import SlurmOptions
from kdbench.executors.base import Ended, Executor, Resources
from kdbench.executors.slurm_job import STOP, SlurmJob, SlurmWorker
from kdbench.text import LONGEST, line
from kdbench.threads import variables

JOBS = 16
"""Jobs at once unless the slots are given."""
CPU_CORES, GPU_CORES = 1, 4
"""CPU cores of a worker without and with a GPU unless its option says otherwise."""
QUERY_EVERY = 5.0
"""Least seconds between two queries of Slurm, which reports nothing by itself."""
LATE = 60.0
"""Seconds in which the result of a job that has ended well may become visible on a network file system."""
GONE = ("CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "PREEMPTED", "REVOKED", "TIMEOUT")
LOST = ("BOOT_FAIL", "NODE_FAIL", "OUT_OF_MEMORY")
"""Like the others, states that a job does not leave."""


class Slurm(Executor):
    """Jobs of a Slurm cluster, of the user that runs this process.

    Args:
        slots: Workers at once, running or queued; default: those of 16 jobs.
        device: ``cpu``, or an accelerator's type for a GPU a job; it must be given.
        options: See :class:`kdbench.executors.SlurmOptions`.

    Raises:
        UserError: If the device is not given, or Slurm's commands are not there.
    """

    def __init__(self, slots: int | None, device: str | None, **options: Any) -> None:
        given = SlurmOptions(**options)
        if device is None:
            raise ArgumentError("device", "for Slurm, choose cuda, for a GPU a job, or cpu.")
        if absent := [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]:
            why = f"no {absent[0]} here. Start the sweep where jobs are submitted."
            raise ArgumentError("executor", why, "slurm")
        self._workers = given.workers
        self.slots = slots or JOBS * self._workers
        gpus = 0 if device == devices.CPU else 1 / self._workers
        self.resources = Resources(gpus=gpus, cores=given.cores or (GPU_CORES if gpus else CPU_CORES))
        self._executor = submitit.SlurmExecutor(given.folder)
        self._executor.update_parameters(**_parameters(given, self.resources))
        self._made = 0
        self._waiting: dict[str, SlurmWorker] = {}
        """Handle -> what has not been submitted yet."""
        self._jobs: dict[str, submitit.Job[list[int]]] = {}
        """Handle -> the worker's job, which others may share."""
        self._gone: dict[str, float] = {}
        """A job's id -> when it was first seen to have ended well, by the monotonic clock, s."""
        self._asked: set[str] = set()
        """Ids of jobs whose workers were asked to end."""
        self._looked = float("-inf")

    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Have a job submitted at the next :meth:`wait`, in one array with the others."""
        self._made += 1
        handle = str(self._made)
        self._waiting[handle] = SlurmWorker(tuple(command), Path.cwd(), variables(resources.cores), log)
        return handle

    def wait(self, timeout: float) -> list[Ended]:
        """Return the workers whose jobs have ended for good."""
        self._submit()
        until = time.monotonic() + timeout
        while not (found := self._look()) and time.monotonic() < until:
            time.sleep(min(timeout, 0.2))
        return found

    def cancel(self, handle: str, *, now: bool) -> None:
        """Signal the worker's job, with all workers in it; one that does not run yet is taken from the queue."""
        self._waiting.pop(handle, None)
        if handle not in self._jobs:
            return
        name = self._jobs[handle].job_id
        self._asked.add(name)
        _drop(name)
        _scancel(f"--signal={'KILL' if now else STOP.name[3:]}", name)

    def close(self) -> None:
        """Ask the workers to end; Slurm needs no connection."""
        for handle in [*self._waiting, *self._jobs]:
            self.cancel(handle, now=False)

    def _submit(self) -> None:
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        try:
            with self._executor.batch():
                for handles in _portions(list(waiting), self._workers):
                    job = self._executor.submit(SlurmJob([waiting[handle] for handle in handles]))
                    self._jobs |= dict.fromkeys(handles, job)
        except (FailedJobError, OSError) as error:
            for handle in waiting:
                self._jobs.pop(handle, None)
            raise UserError(f"Slurm's sbatch refused a job: {line(str(error), LONGEST)}") from error

    def _look(self) -> list[Ended]:
        """Ask Slurm, unless that was done a moment ago."""
        if not self._jobs or time.monotonic() - self._looked < QUERY_EVERY:
            return []
        self._looked = time.monotonic()
        states = _states()
        found = []
        jobs = {job.job_id: job for job in self._jobs.values()} if states is not None else {}
        for name, job in jobs.items():
            state = (states or {}).get(name, "")
            if state in ("", *GONE, *LOST):
                found += self._ended(job, state)
            elif state == "PENDING" and name in self._asked:
                _drop(name)  # it was on its way back into the queue when it was asked
        return found

    def _ended(self, job: submitit.Job[list[int]], state: str) -> list[Ended]:
        """Return what became of the workers of a job that has ended; nothing where that is not visible yet."""
        name, result = f"Slurm job {job.job_id}", job.paths.result_pickle
        handles = [handle for handle, its in self._jobs.items() if its is job]
        if result.exists():
            outcome, value = pickle_load(result)
            why = f"{name} failed: {str(value).strip().splitlines()[-1]}"
        elif (
            state in ("", "COMPLETED")
            and time.monotonic() - self._gone.setdefault(job.job_id, self._looked) < LATE
        ):
            return []
        else:
            outcome, value, why = "lost", None, f"{name}: {state or 'gone'}, see {job.paths.stderr}"
        for handle in handles:
            del self._jobs[handle]
        self._gone.pop(job.job_id, None)
        self._asked.discard(job.job_id)
        if outcome == "success":
            return [Ended.process(handle, code) for handle, code in zip(handles, value, strict=True)]
        return [Ended(handle, None, why) for handle in handles]


def _drop(job_id: str) -> None:
    _scancel("--state=PENDING", job_id)


def _portions(handles: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(handles)
    return iter(lambda: list(itertools.islice(rest, size)), [])


def _parameters(given: SlurmOptions, resources: Resources) -> dict[str, Any]:
    """Return submitit's parameters, some of which are sbatch's."""
    parameters = {
        "job_name": "kdbench",
        "partition": given.partition,
        "time": given.time,
        "account": given.account,
        "qos": given.qos,
        "mem": None if given.memory is None else f"{given.memory}GB",
        "cpus_per_task": resources.cores * given.workers,
        "gpus_per_node": 1 if resources.gpus else None,
        "srun_args": [
            "--cpus-per-task",
            str(resources.cores * given.workers),
        ],  # which srun does not take from sbatch
        "additional_parameters": {"requeue": True},
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _states() -> dict[str, str] | None:
    """Return the state of each of this user's jobs that Slurm still knows; None if it does not answer."""
    done = _slurm(
        "squeue", f"--user={os.getuid()}", "--states=all", "--array", "--noheader", "--format=%i %T"
    )
    if done.returncode:
        return None
    return dict(line.split() for line in done.stdout.splitlines())


def _scancel(*arguments: str) -> None:
    _slurm("scancel", "--quiet", *arguments)


def _slurm(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command, in a session of its own so that Ctrl-C in a terminal does not reach it."""
    return subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)

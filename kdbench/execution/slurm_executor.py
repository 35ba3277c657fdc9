"""The executor ``slurm``: a job a worker, submitted with submitit.

What the sweep submits at once becomes one job array; later packs, which wait for a slot or for a teacher, become
arrays or jobs of their own. A job that is preempted writes a checkpoint and is queued again, and so is one that
comes to its time limit, up to three times; then, and when it is lost, the sweep submits its cells anew. A job that
is queued again goes on from its checkpoint.

Jobs outlive a sweep that is killed: they write their records, and the same sweep started again runs what is left.

What the machines must share: the working directory under the same path, with the store, the folder of the runs
and the executor's own folder in it or beside it (see :mod:`kdbench.execution.claims` for what that file system must
guarantee), and kdbench in a Python environment under the same path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import FailedJobError, pickle_load

from kdbench import devices
from kdbench.errors import UserError
from kdbench.execution.executors import Ended, Executor, Resources, SlurmOptions
from kdbench.execution.local import threads
from kdbench.execution.slurm_job import STOP, SlurmJob

SLOTS = 16
"""Jobs at once unless ``--slots`` says otherwise."""
CPU_CORES, GPU_CORES = 1, 4
"""CPU cores of a worker without and with a GPU unless its option says otherwise."""
EVERY = 5.0
"""Seconds between two questions to Slurm, at least: it tells nothing by itself."""
LATE = 60.0
"""Seconds in which the result of a job that has ended well may become visible on a network file system."""
GONE = ("CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "PREEMPTED", "REVOKED", "TIMEOUT")
LOST = ("BOOT_FAIL", "NODE_FAIL", "OUT_OF_MEMORY")
"""Like the others, states that a job does not leave."""


class Slurm(Executor):
    """Jobs of a Slurm cluster, of the user that runs this process.

    Args:
        slots: Jobs at once, running or queued; default: 16.
        device: ``cpu``, or an accelerator's type for a GPU a job; it must be given.
        options: See :class:`kdbench.execution.executors.SlurmOptions`.

    Raises:
        UserError: If the device is not given, or Slurm's commands are not there.
    """

    def __init__(self, slots: int | None, device: str | None, **options: Any) -> None:
        given = SlurmOptions(**options)
        if device is None:
            raise UserError("--executor slurm: say --device cuda, for a GPU a job, or --device cpu.")
        if absent := [name for name in ("sbatch", "srun", "squeue", "scancel") if shutil.which(name) is None]:
            raise UserError(
                f"--executor slurm: no {absent[0]} here. Start the sweep where jobs are submitted."
            )
        self.slots = slots or SLOTS
        gpus = int(device != devices.CPU)
        self.resources = Resources(gpus=gpus, cores=given.cores or (GPU_CORES if gpus else CPU_CORES))
        self._executor = submitit.SlurmExecutor(given.folder)
        self._executor.update_parameters(**_parameters(given, self.resources))
        self._made = 0
        self._waiting: dict[str, SlurmJob] = {}
        """Handle -> what has not been submitted yet."""
        self._jobs: dict[str, submitit.Job[int]] = {}
        self._gone: dict[str, float] = {}
        """Handle -> when its job was first seen to have ended well, by the monotonic clock, s."""
        self._asked: set[str] = set()
        self._looked = float("-inf")

    def submit(self, command: Sequence[str], resources: Resources, log: Path) -> str:
        """Have a job submitted at the next :meth:`wait`, in one array with the others."""
        self._made += 1
        handle = str(self._made)
        self._waiting[handle] = SlurmJob(tuple(command), Path.cwd(), threads(resources), log)
        return handle

    def wait(self, timeout: float) -> list[Ended]:
        """The workers whose jobs have ended for good."""
        self._submit()
        until = time.monotonic() + timeout
        while not (found := self._look()) and time.monotonic() < until:
            time.sleep(min(timeout, 0.2))
        return found

    def cancel(self, handle: str, *, now: bool) -> None:
        """Signal the job, or cancel it; one that does not run yet is taken from the queue."""
        self._waiting.pop(handle, None)
        if handle not in self._jobs:
            return
        self._asked.add(handle)
        self._drop(handle)
        _scancel(f"--signal={'KILL' if now else STOP.name[3:]}", self._jobs[handle].job_id)

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
                self._jobs |= {handle: self._executor.submit(job) for handle, job in waiting.items()}
        except (FailedJobError, OSError) as error:
            for handle in waiting:
                self._jobs.pop(handle, None)
            raise UserError(f"--executor slurm: sbatch refused a job: {_line(error)}") from error

    def _look(self) -> list[Ended]:
        """Ask Slurm, unless that was done a moment ago."""
        if not self._jobs or time.monotonic() - self._looked < EVERY:
            return []
        self._looked = time.monotonic()
        states = _states()
        found = []
        for handle, job in list(self._jobs.items()) if states is not None else ():
            state = (states or {}).get(job.job_id, "")
            if state in ("", *GONE, *LOST):
                found += self._ended(handle, state)
            elif state == "PENDING" and handle in self._asked:
                self._drop(handle)  # it was on its way back into the queue when it was asked
        return found

    def _ended(self, handle: str, state: str) -> list[Ended]:
        """What became of a job that has ended; nothing where that is not visible yet."""
        job = self._jobs[handle]
        name, result = f"Slurm job {job.job_id}", job.paths.result_pickle
        if result.exists():
            outcome, value = pickle_load(result)
            why = f"{name} failed: {str(value).strip().splitlines()[-1]}"
            ended = Ended.process(handle, value) if outcome == "success" else Ended(handle, None, why)
        elif (
            state in ("", "COMPLETED")
            and time.monotonic() - self._gone.setdefault(handle, self._looked) < LATE
        ):
            return []
        else:
            ended = Ended(handle, None, f"{name}: {state or 'gone'}, see {job.paths.stderr}")
        del self._jobs[handle]
        self._gone.pop(handle, None)
        self._asked.discard(handle)
        return [ended]

    def _drop(self, handle: str) -> None:
        _scancel("--state=PENDING", self._jobs[handle].job_id)


def _parameters(given: SlurmOptions, resources: Resources) -> dict[str, Any]:
    """Submitit's parameters, of which some are sbatch's."""
    parameters = {
        "job_name": "kdbench",
        "partition": given.partition,
        "time": given.time,
        "account": given.account,
        "qos": given.qos,
        "mem": None if given.memory is None else f"{given.memory}GB",
        "cpus_per_task": resources.cores,
        "gpus_per_node": resources.gpus or None,
        "srun_args": ["--cpus-per-task", str(resources.cores)],  # which srun does not take from sbatch
        "additional_parameters": {"requeue": True},
    }
    return {name: value for name, value in parameters.items() if value is not None}


def _states() -> dict[str, str] | None:
    """Job -> state, of this user's jobs that Slurm still knows; None where it does not answer."""
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


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]

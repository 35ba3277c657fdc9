"""A worker's process and the process that starts it: a sweep, a Ray actor or a Slurm job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.executors.base import INTERRUPTED

LEASH = "KDBENCH_LEASH"
"""Environment variable: descriptor of a pipe that closes when the process that started the worker is gone."""


class WorkerProcess:
    """Runs a worker's command once, in a session of its own; it stops when this process is gone.

    Args:
        command: Program and arguments.
        folder: Its working directory, which must exist on every machine.
        environment: Variables that are set beside those of this process.
        log: File that its output is appended to, relative to ``folder``.
        ignored: Signals that it and its children ignore.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        ignored: Sequence[signal.Signals] = (),
    ) -> None:
        self.command, self.folder, self.environment = list(command), folder, dict(environment)
        self.log, self.ignored = folder / log, ignored
        self.asked = False
        """Whether it was asked to stop."""
        self._process: subprocess.Popen[bytes] | None = None
        self._guard = threading.RLock()

    def run(self) -> int:
        """Start it, wait for its end and return its exit code; see :meth:`start` and :meth:`wait`."""
        self.start()
        return self.wait()

    def start(self) -> None:
        """Start it, unless it was asked to stop before. Raises OSError."""
        with self._guard:
            if self.asked:
                return
            leash, self._grip = os.pipe()
            try:
                self._process = self._popen(leash)
            finally:
                os.close(leash)

    def wait(self) -> int:
        """Wait for its end, and return its exit code: ``-n`` after signal n."""
        if self._process is None:
            return INTERRUPTED
        self.join()
        code = self._process.wait()
        os.close(self._grip)
        return code

    def stop(self, *, now: bool) -> None:
        """Ask it, once, to write a checkpoint and end; or end it and all that it has started ``now``."""
        with self._guard:
            again, self.asked = self.asked, True
            process = self._process
        if process is None or (again and not now):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if now:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.send_signal(signal.SIGTERM)

    def join(self) -> None:
        """Wait until it has ended; a signal handler may do so while :meth:`run` does."""
        if self._process is not None:
            with contextlib.suppress(ChildProcessError):  # it is reaped already
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)

    def _popen(self, leash: int) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**os.environ, **self.environment, LEASH: str(leash)},
                start_new_session=True,
                pass_fds=(leash,),
                preexec_fn=self._ignore if self.ignored else None,
            )

    def _ignore(self) -> None:
        for number in self.ignored:
            signal.signal(number, signal.SIG_IGN)

"""A worker's process that another process on its machine keeps: a Ray actor, or the process of a Slurm job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from kdbench.executors.base import INTERRUPTED
from kdbench.executors.local import LEASH


class KeptProcess:
    """Runs a worker's command once. It ends when the process that keeps it is gone, as under ``local``.

    Args:
        command: Program and arguments.
        folder: Its working directory, which must be there on every machine.
        environment: Variables that are set beside those of this process.
        log: File that its output is appended to, relative to ``folder``.
        ignored: Signals that it and its children never hear.
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
        """Start it and wait for its end. Returns its code, ``-n`` after signal n. Raises OSError."""
        with self._guard:
            if self.asked:
                return INTERRUPTED
            leash, self._grip = os.pipe()
            try:
                process = self._process = self._start(leash)
            finally:
                os.close(leash)
        self.join()
        code = process.wait()
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

    def _start(self, leash: int) -> subprocess.Popen[bytes]:
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

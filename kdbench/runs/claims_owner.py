"""The owner of a claim: a process of a host, and whether it has certainly ended."""

from __future__ import annotations

import os
import socket
import uuid
from functools import lru_cache
from pathlib import Path

from kdbench.specs import Spec


class Owner(Spec):
    """A process that holds claims."""

    host: str
    """Name of the host."""
    kernel: str
    """The scope of the process number: this boot of the host and, on Linux, this container."""
    pid: int
    started: str
    """When the process began, by the kernel's clock; empty where the system does not say."""
    token: str
    """Unique to one holder in one process."""

    @classmethod
    def here(cls) -> Owner:
        """Return a new holder in this process."""
        pid = os.getpid()
        return cls(
            host=socket.gethostname(),
            kernel=kernel(),
            pid=pid,
            started=start_of(pid),
            token=uuid.uuid4().hex,
        )

    @property
    def title(self) -> str:
        """Its name in messages."""
        return f"process {self.pid} on {self.host}" if self.pid else "a process of another kdbench"

    def dead(self) -> bool:
        """Return whether it was a process of this host that has ended; False if that cannot be seen from here."""
        if (self.host, self.kernel) != (socket.gethostname(), kernel()):
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return self.started != start_of(self.pid)


@lru_cache(maxsize=1)
def kernel() -> str:
    """Return the identity of this boot and of this process number space; empty if the system has none."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text().strip()} {space.readlink()}"
    except OSError:
        return ""


def start_of(pid: int) -> str:
    """Return when a process began, in clock ticks since the boot; empty if the system does not say.

    A zombie has ended: it is marked as such, so that it differs from the living process.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()  # the name before it may hold blanks
    return "ended" if fields[0] in "ZX" else fields[19]

"""Child processes of checks."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path


def environment() -> dict[str, str]:
    """Return the environment variables of a child: one thread, and this process's module search path."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OMP_NUM_THREADS": "1",
    }


def last_line(log: Path) -> str:
    """Return the last line of a traceback in a log, or else the last line of the log."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|PromiseBroken|Loss)\b", line)]
    return (raised or lines or ["it said nothing"])[-1]

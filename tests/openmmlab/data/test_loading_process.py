"""Signals that go to all processes of a run, as Slurm and a terminal send them."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys, time
import psutil
from torch.utils.data import DataLoader
from kdbench.openmmlab.data.loaders import leave_signals

loader = DataLoader(range(64), num_workers=2, worker_init_fn=leave_signals, persistent_workers=True)
batches = iter(loader)
for _ in range(4):
    next(batches)
children = psutil.Process().children()
assert len(children) == 2
for child in children:
    child.send_signal(signal.SIGINT)
    foreign = f"import os; os.kill({child.pid}, {int(signal.SIGTERM)})"
    os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", foreign)
time.sleep(0.3)
print(sum(1 for _ in batches), flush=True)
children[0].terminate()
psutil.wait_procs(children[:1], 10)
print(children[0].is_running() and children[0].status() != psutil.STATUS_ZOMBIE, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system has no sigwaitinfo")
def test_signals_of_others_do_not_end_data_loading_processes_and_the_parents_do():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["60", "False"]), done.stderr

"""A real terminal: Ctrl-C stops a run with a checkpoint, and the same command goes on from it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from kdbench.results.store import Store

LONGEST = 240
ITERATIONS = 120
COMMAND = (
    *("run", "--method", "none", "--dataset", "digits", "--pair", "digits-gfl", "--schedule", "smoke"),
    *("--set", f"schedule.iterations={ITERATIONS}", "--set", "schedule.batch_size=1"),
    *("--set", "schedule.scale=[64, 64]"),
)


class Terminal:
    """A program in a pseudo-terminal of its own; ``text`` is what it has shown."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.master, screen = pty.openpty()
        self.raw = b""
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=screen,
            stdout=screen,
            stderr=screen,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(screen)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self.master, 4096)
            except OSError:  # Linux tells the end so
                return
            if not part:
                return
            self.raw += part

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def end(self) -> int:
        code = self.process.wait(LONGEST)
        self.reader.join(10)
        os.close(self.master)
        return code

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw.decode(errors="replace")).replace("\r", "\n")


@pytest.fixture
def terminal(tmp_path, small_digits):
    environment = {**os.environ, "KDBENCH_DATA": str(small_digits), "OMP_NUM_THREADS": "1"}
    environment |= {"TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    made = Terminal([sys.executable, "-m", "kdbench", *COMMAND], tmp_path, environment)
    yield made
    if made.process.poll() is None:
        made.process.kill()


def wait_for_checkpoint(terminal: Terminal, folder: Path) -> None:
    until = time.monotonic() + LONGEST
    while not list(folder.glob("out/runs/*/last_checkpoint")):
        assert terminal.process.poll() is None, terminal.text
        assert time.monotonic() < until, terminal.text
        time.sleep(0.02)


def test_ctrl_c_and_the_same_command_again(terminal, tmp_path, kdbench, monkeypatch, small_digits):
    wait_for_checkpoint(terminal, tmp_path)
    terminal.type(b"\x03")
    assert terminal.end() == 130, terminal.text
    assert (
        "interrupted: a run resumes where it stopped when the same command is given again." in terminal.text
    )
    assert "Traceback" not in terminal.text
    assert re.search(
        r"1 of 1: plain student, seed 0 .*━.* \d+/120 0:00:\d\d ETA \d:\d\d:\d\d loss ", terminal.text
    )
    without = re.sub("WARNING: digits has no box of class .*", "", terminal.text)  # of a few scenes
    assert not re.search("warn|INFO|mmengine", without, re.IGNORECASE)
    (pointer,) = tmp_path.glob("out/runs/*/last_checkpoint")
    stopped = int(re.search(r"iter_(\d+)\.pth$", pointer.read_text())[1])
    assert 0 < stopped < ITERATIONS
    assert Store(tmp_path / "results").records() == ([], [])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    done = kdbench(*COMMAND)
    assert done.code == 0, done.err
    assert f"1 of 1: plain student, seed 0 resumes from iteration {stopped}\n" in done.err
    assert "Loads checkpoint" not in done.out + done.err
    ((record,), _) = Store(tmp_path / "results").records()
    assert record.done
    assert [point["iteration"] for point in record.curve] == [ITERATIONS]
    assert not pointer.exists()

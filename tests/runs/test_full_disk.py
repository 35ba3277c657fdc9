"""A sweep of pretended trainings on a disk that is full at random moments."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from sweep_support import claims_left, results, sweep_of

from kdbench.errors import UserError

INTERRUPTED = 6
"""Times at least that a sweep has to end for want of space."""


@pytest.fixture
def disk(tmp_path):
    """The folder of a file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "kdbench", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("a small disk cannot be mounted here: there is no mount")
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


class Filler(threading.Thread):
    """Fills the disk and empties it again, by turns."""

    def __init__(self, disk: Path) -> None:
        super().__init__()
        self.file, self.draw = disk / "filler", random.Random(1)
        self.room, self.enough = threading.Event(), threading.Event()

    def run(self) -> None:
        while not self.enough.is_set():
            self.room.set()
            self.enough.wait(self.draw.uniform(0, 3))
            self.room.clear()
            self.fill()
            time.sleep(self.draw.uniform(0, 1.5))
            self.file.unlink()
        self.room.set()

    def fill(self) -> None:
        try:
            with self.file.open("wb", buffering=0) as file:
                while file.write(bytes(1 << 12)):
                    pass
        except OSError:
            pass


@pytest.mark.slow
def test_nothing_is_lost_or_half_written(disk, small_digits, local_records):
    filler, why = Filler(disk), []
    filler.start()
    try:
        while len(why) < INTERRUPTED:
            folder = Path(tempfile.mkdtemp(dir=disk))
            while wanting := run(folder, small_digits, filler):
                why += wanting
            assert results(folder) == local_records
            assert not claims_left(folder)
            assert not list(folder.rglob("*.tmp"))
            shutil.rmtree(folder)
    finally:
        filler.enough.set()
        filler.join()
    assert all("space" in reason for reason in why), why


def run(folder, root, filler):
    """Why a sweep that began while there was room could not run all of its cells."""
    filler.room.wait()
    try:
        sweep = sweep_of(folder, root, mode="disk")
        assert sweep.run()
    except UserError as error:
        return [str(error)]
    except OSError as error:
        return [error.strerror]
    return sorted({failure.why for failure in sweep.failures})

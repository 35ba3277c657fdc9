"""What is asked of the memory before a pack's lanes begin."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch

from kdbench.errors import is_out_of_memory
from kdbench.openmmlab import process


def test_memory_that_runs_out_is_told_from_other_failures():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(torch.OutOfMemoryError())
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ"))


def test_what_this_process_holds_grows_with_what_it_makes():
    before = process.used("cpu")
    held = torch.ones(64 << 20, dtype=torch.uint8)
    assert process.used("cpu") - before > 0.8 * held.numel()


def test_room_is_what_is_free_less_some_headroom(monkeypatch):
    monkeypatch.setattr(process, "free", lambda _device: 1000)
    assert [process.room_for(each, "cpu") for each in (100, 799, 801, 0, -5)] == [8, 1, 0, 800, 800]


STEPS = """
import resource, sys
import torch
from kdbench.openmmlab import process

if sys.argv[1] == "kept":
    process.keep_freed()
before, faults = process.used("cpu"), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    maps = [torch.ones(8 << 20) for _ in range(4)]  # 32 MiB each
    del maps
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults, (process.used("cpu") - before) >> 20)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")
def test_what_a_step_frees_is_kept_for_the_next_and_is_not_counted_as_used():
    faults = {}
    for kept in ("given back", "kept"):
        told = subprocess.run(
            [sys.executable, "-c", STEPS, kept], capture_output=True, text=True, check=True, timeout=300
        )
        faults[kept], growth = map(int, told.stdout.split())
        assert growth < 32
    assert faults["kept"] < faults["given back"] / 5

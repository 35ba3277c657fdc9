"""What is asked of the memory before a pack's lanes begin."""

from __future__ import annotations

import pytest
import torch

from kdbench.openmmlab import memory


def test_memory_that_runs_out_is_told_from_other_failures():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert memory.is_out_of_memory(caught.value)
    assert memory.is_out_of_memory(torch.OutOfMemoryError())
    assert memory.is_out_of_memory(MemoryError())
    assert not memory.is_out_of_memory(RuntimeError("shapes differ"))


def test_what_this_process_holds_grows_with_what_it_makes():
    before = memory.used()
    held = torch.ones(64 << 20, dtype=torch.uint8)
    assert memory.used() - before > 0.8 * held.numel()


def test_room_is_what_is_free_less_some_headroom(monkeypatch):
    monkeypatch.setattr(memory, "free", lambda: 1000)
    assert [memory.room_for(each) for each in (100, 799, 801, 0, -5)] == [8, 1, 0, 800, 800]

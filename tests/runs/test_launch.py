from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch

from kdbench import devices
from kdbench.errors import UserError
from kdbench.plugins import registry
from kdbench.runs.launch import is_main_process, relaunch, start


@pytest.fixture
def launched(monkeypatch):
    """The commands that were started, instead of starting them."""
    commands: list[list[str]] = []

    def started(command: list[str], *, check: bool) -> SimpleNamespace:
        assert not check
        os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C is for the children; this process waits for them
        commands.append(command)
        return SimpleNamespace(returncode=3)

    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setattr(subprocess, "run", started)
    return commands


@pytest.fixture
def gpus(monkeypatch):
    """Lets torch find so many accelerators."""

    def there(count: int, kind: str = "cuda") -> None:
        found = torch.device(kind) if count else None
        module = SimpleNamespace(device_count=lambda: count)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: found)
        monkeypatch.setattr(torch, "get_device_module", lambda _device: module)
        devices.accelerator.cache_clear()

    yield there
    devices.accelerator.cache_clear()


def test_several_gpus_run_the_same_command_under_torchrun(launched, gpus, monkeypatch):
    gpus(4)
    monkeypatch.setattr(sys, "argv", ["kdbench", "run", "--method", "mimic[weight=2]", "--gpus", "2"])
    before = signal.getsignal(signal.SIGINT)
    assert relaunch(2) == 3
    assert signal.getsignal(signal.SIGINT) is before
    (command,) = launched
    assert command[:3] == [sys.executable, "-m", "torch.distributed.run"]
    assert "--nproc-per-node=2" in command
    assert command[-7:] == ["-m", "kdbench", "run", "--method", "mimic[weight=2]", "--gpus", "2"]


def test_a_process_that_torchrun_started_trains(launched, gpus, monkeypatch):
    gpus(4)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert relaunch(2) is None
    assert launched == []


def test_one_gpu_needs_no_torchrun(launched, gpus):
    gpus(4)
    assert relaunch(1) is None
    assert launched == []


@pytest.mark.parametrize(("wanted", "there"), [(1, 0), (2, 0), (2, 1)])
def test_too_few_gpus(launched, gpus, wanted, there):
    gpus(there)
    with pytest.raises(UserError, match=rf"`gpus` {wanted}: this machine has {there}\."):
        relaunch(wanted)
    assert launched == []


def test_several_gpus_that_nccl_does_not_join(launched, gpus):
    gpus(2, "xpu")
    with pytest.raises(UserError, match="`gpus` 2: several GPUs need CUDA"):
        relaunch(2)
    assert launched == []


@pytest.mark.parametrize("kind", ["mps", "xpu"])
def test_a_device_that_we_never_tried_is_taken_with_a_warning(gpus, kind):
    gpus(1, kind)
    assert devices.choose(None) == devices.choose(kind) == kind
    assert devices.choose("cpu") == "cpu"
    assert devices.untried(kind) == (
        f"device {kind}: never tried by us; compare its first results with those of a CPU"
    )
    assert devices.untried("cuda") is devices.untried("cpu") is None


@pytest.mark.parametrize(
    ("wish", "there", "used"), [(None, 0, "cpu"), (None, 1, "cuda"), ("cpu", 1, "cpu"), ("cuda", 1, "cuda")]
)
def test_the_device(gpus, wish, there, used):
    gpus(there)
    assert devices.choose(wish) == used


@pytest.mark.parametrize(
    ("wish", "told"),
    [
        ("cuda", "torch finds no such device here; use cpu"),
        ("cuda:1", "use cuda "),
        ("tpu", "`device` tpu: use cpu or"),
    ],
)
def test_a_device_that_is_not_there(gpus, wish, told):
    gpus(0)
    with pytest.raises(UserError, match=told):
        start(wish, registry().dataset("digits").value)


def test_the_main_process(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert is_main_process()
    monkeypatch.setenv("RANK", "1")
    assert not is_main_process()


def test_start_on_the_cpu_and_what_it_hushes(capsys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert start("cpu", registry().dataset("digits").value) == "cpu"
        warnings.warn_explicit(
            "for developers", UserWarning, "scheduler.py", 1, module="torch.optim.lr_scheduler"
        )
        warnings.warn_explicit("for users", UserWarning, "mine.py", 1, module="torchlike.thing")
    assert [str(warning.message) for warning in caught] == ["for users"]
    from mmengine.logging import print_log
    from mmengine.runner import checkpoint

    print_log("an info", logger="current", level=logging.INFO)
    checkpoint.print_log("Loads checkpoint by local backend", logger=None)
    assert capsys.readouterr() == ("", "")

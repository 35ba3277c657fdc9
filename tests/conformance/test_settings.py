"""Settings of the process that a block changes are noted and put back."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from kdbench import devices
from kdbench.conformance.settings import noted, settings

CUDNN = torch.backends.cudnn
CHANGES = {
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "default device": lambda: torch.set_default_device("meta"),
    "keeps gradients": lambda: torch.set_grad_enabled(False),
    "number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "precision of torch's matrix": lambda: torch.set_float32_matmul_precision("medium"),
    "detection of anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "autocast on cpu": lambda: torch.set_autocast_enabled("cpu", True),
    "cudnn.benchmark": lambda: setattr(CUDNN, "benchmark", not CUDNN.benchmark),
    "cudnn.deterministic": lambda: setattr(CUDNN, "deterministic", not CUDNN.deterministic),
    "cudnn.enabled": lambda: setattr(CUDNN, "enabled", not CUDNN.enabled),
    "error handling": lambda: np.seterr(divide="raise"),
    "working directory": lambda: os.chdir("/"),
}


def values():
    return {setting.title: setting.read() for setting in settings()}


def change(name: str, changed: set[str]) -> None:
    with noted(changed):
        CHANGES[name]()
        raise ZeroDivisionError


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noted_and_put_back_even_where_the_block_raises(name):
    before, changed = values(), set()
    with pytest.raises(ZeroDivisionError):
        change(name, changed)
    (line,) = changed
    assert name in line
    assert " from " in line
    assert values() == before


def test_there_is_a_case_for_every_setting():
    known = [*CHANGES, f"autocast on {devices.accelerator()}"]  # the same code as on cpu
    assert all(any(name in title for name in known) for title in values())


def test_what_a_block_undoes_itself_is_no_change():
    changed: set[str] = set()
    with noted(changed), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.is_grad_enabled()
    assert changed == set()

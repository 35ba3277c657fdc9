"""Changes to settings of the process are recorded and undone."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import torch

from kdbench import devices
from kdbench.distill.settings import noted, put_back, settings, unchanged, values
from kdbench.errors import PluginError, running

CUDNN, MKLDNN = torch.backends.cudnn, torch.backends.mkldnn


def tf32():
    """Allow TF32 in a third way."""
    torch.backends.cuda.matmul.fp32_precision = "tf32"


def flip(name):
    setattr(torch.backends.cuda.matmul, name, not getattr(torch.backends.cuda.matmul, name))


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
    "recursion limit": lambda: sys.setrecursionlimit(sys.getrecursionlimit() + 60),
    "denormal": lambda: torch.set_flush_denormal(True),
    "mkldnn.enabled": lambda: setattr(MKLDNN, "enabled", not MKLDNN.enabled),
    "mkldnn.deterministic": lambda: setattr(MKLDNN, "deterministic", not MKLDNN.deterministic),
    "cudnn.allow_tf32": lambda: setattr(CUDNN, "allow_tf32", not CUDNN.allow_tf32),
    "cuda.matmul.allow_fp16": lambda: flip("allow_fp16_reduced_precision_reduction"),
    "cuda.matmul.allow_bf16": lambda: flip("allow_bf16_reduced_precision_reduction"),
}


@pytest.mark.parametrize("way", [tf32, lambda: flip("allow_tf32")])
def test_the_precision_of_products_is_put_back_however_it_was_set(way):
    before, changed = values(), set()
    with noted(changed):
        way()
    assert [line for line in changed if "precision of torch's matrix products from highest" in line]
    assert values() == before


def change(name: str, changed: set[str]) -> None:
    with noted(changed):
        CHANGES[name]()
        raise ZeroDivisionError


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noted_and_put_back_even_where_the_block_raises(name):
    before, changed = values(), set()
    with pytest.raises(ZeroDivisionError):
        change(name, changed)
    assert [line for line in changed if name in line and " from " in line]
    assert values() == before


def test_there_is_a_case_for_every_setting():
    known = [*CHANGES, f"autocast on {devices.accelerator()}"]  # the same code as on cpu
    assert all(any(name in setting.title for name in known) for setting in settings())


def test_what_a_block_undoes_itself_is_no_change():
    changed: set[str] = set()
    with noted(changed), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert not torch.is_grad_enabled()
    assert changed == set()


@pytest.mark.parametrize("name", CHANGES)
def test_a_method_that_changes_one_is_blamed(name):
    before = values()
    with pytest.raises(PluginError) as blamed, running("method 'x' of y 1.0", "losses()"), unchanged():
        CHANGES[name]()
    assert str(blamed.value).startswith("method 'x' of y 1.0 failed in losses(): RuntimeError: it changed ")
    assert name in str(blamed.value)
    assert values() == before


def test_a_method_that_fails_as_well_is_blamed_for_that():
    def fail():
        MKLDNN.enabled = False
        raise ValueError("first")

    with pytest.raises(ValueError, match="first"), unchanged():
        fail()
    assert MKLDNN.enabled


def test_each_can_be_set_to_what_it_is():
    before = values()
    for setting, value in zip(settings(), before, strict=True):
        setting.write(value)
    assert put_back(before) == []

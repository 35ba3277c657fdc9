"""A plugin whose methods misbehave, swept with good ones: each is blamed in its record, and no other is hurt."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kdbench.results.store import Store

CARD = """
class BadOptions(Options):
    how: str = "not"

@hookimpl
def kdbench_methods():
    yield card("bad", options=BadOptions, method="bad_kd_method:Bad")
    yield card("bad-import", method="bad_kd_import:Bad")
"""
METHOD = """
import os, random
import numpy as np
import torch
from kdbench.api import Method

class Bad(Method):
    def needs(self):
        return ("soul",) if self.options.how == "capture" else ("neck",)

    def build(self, shapes):
        if self.options.how == "build":
            raise ValueError("no adapter")

    def losses(self, step):
        how, ours, theirs = self.options.how, step.student["neck"][0], step.teacher["neck"][0]
        terms = {"bad": (ours.mean() - theirs.mean()).square()}
        if how == "losses":
            1 / 0
        if how == "meddles":
            print("hello")
            random.seed(1), np.random.seed(1), torch.manual_seed(1)
        return terms
"""
TOLD = {
    "bad[how=build]": "failed in build(): ValueError: no adapter",
    "bad[how=losses]": "failed in losses(): ZeroDivisionError: division by zero",
    "bad[how=capture]": "asks for unknown captures: soul",
    "bad-import": "failed in the import of bad_kd_import:Bad: RuntimeError: no luck",
}
GOOD = ("none", "bad[how=meddles]", "bad")


@pytest.mark.slow
def test_a_sweep_blames_each_and_hurts_no_other(add_plugin, tmp_path, small_digits):
    add_plugin("bad-kd", CARD, version="1.5")
    site = tmp_path / "site_bad-kd"
    (site / "bad_kd_method.py").write_text(METHOD)
    (site / "bad_kd_import.py").write_text("raise RuntimeError('no luck')")
    (tmp_path / "sweep.yaml").write_text(
        "title: x\ndataset: digits\npairs: [digits-faster-rcnn-tiny]\nschedule: smoke\nseeds: [0]\nmethods:\n"
        + "".join(f"  - '{method}'\n" for method in (*GOOD, *TOLD))
    )
    variables = {"PYTHONPATH": str(site), "KDBENCH_PLUGINS": "kdbench,bad-kd", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-m",
        "kdbench",
        "sweep",
        "sweep.yaml",
        "--root",
        str(small_digits),
        "--slots",
        "1",
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert "Traceback" not in done.stderr
    records, broken = Store(tmp_path / "results").records("digits")
    assert broken == []
    cells = {record.selector: record for record in records if record.kind == "cell"}
    assert {name for name, record in cells.items() if record.done} == set(GOOD)
    for name, told in TOLD.items():
        method = name.partition("[")[0]
        assert f"method '{method}' of bad-kd 1.5 {told}" in done.stderr
        assert name not in cells or cells[name].reason.startswith(f"method '{method}' of bad-kd 1.5 {told}")
    assert cells["bad"].metrics == cells["bad[how=meddles]"].metrics

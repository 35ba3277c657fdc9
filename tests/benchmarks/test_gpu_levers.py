"""benchmarks/gpu/levers.py: its rows on a CPU, for a small pair of each family."""

from __future__ import annotations

import itertools

import levers
import pytest
from measuring import Bench, options

ROWS = {setting.name: setting for setting in levers.settings()}


def test_the_rows():
    assert len(ROWS) == len(levers.settings()) == 12
    for precision in ("fp32", "fp16", "bf16"):
        assert sum(setting.precision == precision for setting in ROWS.values()) >= 3
    assert [setting.teacher for setting in levers.settings()][-3:] == ["eager", "graph", "compiled"]
    assert levers.settings()[-1].fused


@pytest.mark.parametrize(
    ("pair", "name"),
    [
        ("digits-gfl", "fp16, deterministic"),
        ("digits-faster-rcnn", "fp32, cudnn.benchmark, channels_last"),
        ("digits-seg-pspnet", "bf16, cudnn.benchmark, channels_last, fused optimizer"),
    ],
)
def test_a_row(pair, name, small_digits):
    asked = options(None, "fitnets").parse_args(["--pair", pair, "--rounds", "1", "--warm", "0"])
    asked.root = small_digits
    bench = Bench(asked)
    batches = list(itertools.islice(bench.loader(), 1))
    before = [p.detach().clone() for p in bench.student.parameters()]
    student, teacher = levers.row(bench, batches, ROWS[name])
    assert student > 0
    assert teacher > 0
    assert all(old.equal(new) for old, new in zip(before, bench.student.parameters(), strict=True))

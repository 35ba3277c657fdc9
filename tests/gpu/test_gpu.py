"""What a GPU run touches and no other test does: ``pytest -m gpu``, some minutes on one GPU.

``KDBENCH_TEST_DEVICE=cpu pytest -m gpu`` tries the tests themselves where there is no GPU.
"""

from __future__ import annotations

import math
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from kdbench.conformance.models import examined_families
from kdbench.plugins import registry

pytestmark = pytest.mark.gpu

METHODS = [
    offer.value
    for offer in registry().methods.values()
    if offer.plugin.distribution in ("kdbench", "kdbench-cwd", "kdbench-pkd")
    and offer.value.name != "none"
    and offer.value.kind == "distillation"
]
RUNS = [
    pytest.param(card.name, family, id=f"{card.name}-{family}")
    for card in METHODS
    for family in examined_families(card, card.options())
]
ONE_EACH = [("mimic", "two-stage"), ("hinton", "dense"), ("structured", "segmentation")]
"""A method of each family; the last one has an adversary."""
NOISE = {"rtol": 1e-3, "atol": 1e-3}
"""What the order of a GPU's sums may change in a few iterations."""


def exam_of(method, bench):
    from kdbench.conformance.exam import Exam
    from kdbench.conformance.target import targets

    return Exam(targets(method)[0], bench)


def assert_close(ours, theirs):
    """Weights and last losses of two trainings agree within float noise."""
    for part in ("student", "method"):
        one, other = getattr(ours, part), getattr(theirs, part)
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], **NOISE)
    for name, value in theirs.losses[-1].items():
        assert math.isclose(ours.losses[-1][name], value, rel_tol=0.01, abs_tol=0.01), name


@pytest.mark.parametrize(("method", "family"), RUNS)
def test_a_run_in_mixed_precision(bench, device, tmp_path, method, family):
    """From the gates to the exported student, as `kdbench run --amp` does it."""
    from kdbench.conformance.exam import Telling
    from kdbench.openmmlab.students import train_with
    from kdbench.openmmlab.training.run_files import WEIGHTS

    exam, told = exam_of(method, bench), Telling()
    subject, teachers = bench.subject(family), exam.teachers(family, exam.options)
    place = bench.place(tmp_path, precision="fp16" if device == "cuda" else "bf16")
    # Forced: a teacher that is not trained says little of whether a loss is too large.
    outcome = train_with(subject, teachers, exam.card, exam.options, place, told, force=True)
    assert outcome.curve[-1]["iteration"] == subject.schedule.iterations
    assert outcome.cost["peak_memory_mib"] > 0
    assert (tmp_path / WEIGHTS).is_file()


@pytest.mark.parametrize(("method", "family"), RUNS)
def test_a_step_in_both_half_precisions(bench, method, family):
    from kdbench.conformance.on_device import mixed

    mixed(exam_of(method, bench), family)


@pytest.mark.parametrize(("method", "family"), RUNS)
def test_first_losses_and_picture(bench, method, family):
    from kdbench.conformance.on_device import gates, picture

    exam = exam_of(method, bench)
    gates(exam, family)
    picture(exam, family)


@pytest.mark.parametrize(("method", "family"), ONE_EACH)
def test_resumed_in_a_pack_and_alone_within_float_noise(bench, method, family):
    from contextlib import suppress

    from kdbench.conformance.checks.training import STOPPED_AT, side_by_side
    from kdbench.conformance.exam import Interrupted, Telling
    from kdbench.conformance.on_device import exported

    exam, folder = exam_of(method, bench), bench.new_folder()
    alone = exam.train(family)
    with suppress(Interrupted):
        exam.train(family, folder=folder, progress=Telling(until=STOPPED_AT))
    assert_close(exam.train(family, folder=folder), alone)
    plain, packed = side_by_side(exam, family, [exam.options])
    assert_close(packed, alone)
    assert_close(plain, exam.plain(family))
    exported(exam, family, alone)


def test_random_states_of_the_device(device):
    from kdbench import devices
    from kdbench.distill.randomness import seeded

    torch.zeros(1, device=device)
    module = torch.get_device_module(device) if device != "cpu" else torch
    with seeded("gpu"):
        first = torch.rand(4, device=device)
    state = module.get_rng_state()
    with seeded("gpu"):
        again = torch.rand(4, device=device)
    assert torch.equal(first, again)
    assert torch.equal(state, module.get_rng_state())
    assert device == "cpu" or devices.in_use() is module


def test_what_devices_say(device):
    from kdbench import devices

    assert devices.choose(device) == device
    assert devices.name(device)
    if device == "cpu":
        return
    assert devices.count() >= 1
    before = devices.used_memory(device)
    held = torch.ones(64 << 20, dtype=torch.uint8, device=device)
    assert devices.used_memory(device) - before >= held.numel()
    assert devices.peak_memory(device) >= held.numel()
    assert devices.free_memory(device) > 0
    devices.synchronize(device)


def command(*arguments, device, place, name):
    folders = ["--results", str(place / name / "results"), "--work-dir", str(place / name / "runs")]
    return [*arguments, "--dataset", "digits", "--pair", "digits-gfl", "--device", device, *folders]


SMOKE = ("run", "--method", "hinton", "--schedule", "smoke", "--workers", "0", "--force")


def test_two_processes_on_one_card(device, place):
    """Each trains by itself; their records say the same device."""
    commands = [command(*SMOKE, device=device, place=place, name=name) for name in ("one", "two")]
    running = [
        subprocess.Popen(
            [sys.executable, *module(device), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for arguments in commands
    ]
    printed = [process.communicate(timeout=600)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0], printed


def module(device):
    """What runs the command: the pretended device needs its own."""
    return ["-m", "kdbench.conformance.pretend" if device == "pretend" else "kdbench"]


def test_reproduce(device, place):
    from kdbench.cli import main

    main(command(*SMOKE, device=device, place=place, name="first"))
    (record,) = (place / "first" / "results" / "records").rglob("hinton*.json")
    before = record.read_bytes()
    arguments = ["reproduce", str(record), "--device", device]
    arguments += ["--results", str(place / "first" / "results"), "--work-dir", str(place / "again")]
    assert main(arguments) == 0
    assert record.read_bytes() == before


def test_show_mask(device, place):
    from kdbench.cli import main

    arguments = ["show-mask", "fine-grained", "--dataset", "digits", "--device", device]
    assert main([*arguments, "--work-dir", str(place / "runs"), "--output", str(place / "mask.png")]) == 0
    assert (place / "mask.png").is_file()


class Told:
    """A console that keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    @contextmanager
    def stage(self, _title, _iterations):
        yield SimpleNamespace(advance=lambda *_: None, evaluated=lambda *_: None)


def test_out_of_memory_splits_a_pack(device, place, monkeypatch):
    """The lanes that find no memory side by side are trained one after the other."""
    from kdbench.openmmlab import students
    from kdbench.runs.launch import start
    from kdbench.runs.pack import run_pack
    from kdbench.runs.plan import plan
    from kdbench.runs.request import Request
    from kdbench.runs.settings import RunSettings

    train = students.train_with

    def hungry(subject, teachers, card, options, where, *rest, **more):
        if where.pack is not None:
            torch.empty(1 << 60, dtype=torch.uint8, device=device)
        return train(subject, teachers, card, options, where, *rest, **more)

    monkeypatch.setattr(students, "train_with", hungry)
    asked = {"dataset": "digits", "pair": "digits-gfl", "schedule": "smoke", "device": device}
    plans, told = [plan(Request(method, **asked)) for method in ("none", "hinton")], Told()
    start(device, plans[0].dataset)
    outcome = run_pack(plans, RunSettings(work_dir=Path("runs"), force=True), told)
    assert any(line.startswith("not enough memory for 2 lanes") for line in told.lines), told.lines
    cells = [record for record in outcome.records if record.kind == "cell"]
    assert [record.status for record in cells] == ["done", "done"], [record.reason for record in cells]

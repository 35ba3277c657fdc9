"""What must hold of every run: zero weights change nothing, the teacher stays, the same spec gives the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch

from kdbench.errors import UserError


def trained(bench, kind, selector, work_dir, **changes):
    """The student's state dict after a training."""
    seed = changes.pop("seed", 0)
    workers = changes.pop("workers", 0)
    model = bench.distiller(kind, selector, seed, **changes)
    bench.train(model, kind, work_dir, workers=workers, **changes)
    return model


def equal(ours, theirs):
    """Whether two models' state dicts are the same, bit for bit."""
    ours, theirs = ours.state_dict(), theirs.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture(scope="module")
def plain(bench, tmp_path_factory):
    """The plain students, and for each what it was before its training."""
    found = {}
    for kind in ("faster", "pspnet"):
        folder = tmp_path_factory.mktemp(kind)
        found[kind] = trained(bench, kind, "none", folder).student
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "selector"),
    [
        ("faster", "hinton[weight=0]"),
        ("faster", "fitnets[hint_weight=0]"),
        ("faster", "mimic[weight=0]"),
        ("pspnet", "hinton[weight=0]"),
    ],
)
def test_a_weight_of_zero_is_the_plain_student(bench, plain, tmp_path, kind, selector):
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    before = weights_hash(bench.teacher(kind).model)
    model = trained(bench, kind, selector, tmp_path)
    assert equal(model.student, plain[kind])
    assert not equal(model.student, bench.subject(kind).build())
    assert weights_hash(bench.teacher(kind).model) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "selector"), [("faster", "mimic"), ("gfl", "hinton"), ("pspnet", "fitnets")]
)
def test_the_same_spec_gives_the_same_and_leaves_the_teacher_alone(bench, tmp_path, kind, selector):
    from kdbench.openmmlab.weights.checkpoints import weights_hash

    before = weights_hash(bench.teacher(kind).model)
    first = trained(bench, kind, selector, tmp_path / "first")
    again = trained(bench, kind, selector, tmp_path / "again", workers=2)
    assert equal(first, again)
    other = trained(bench, kind, selector, tmp_path / "other", seed=1)
    assert not equal(first.student, other.student)
    assert weights_hash(bench.teacher(kind).model) == before
    assert not any(module.training for module in bench.teacher(kind).model.modules())


@pytest.mark.slow
def test_a_weight_that_is_not_zero_changes_the_student(bench, plain, tmp_path):
    assert not equal(trained(bench, "faster", "mimic", tmp_path).student, plain["faster"])


@pytest.mark.slow
def test_a_checkpoint_knows_nothing_of_the_teacher(bench, tmp_path):
    trained(bench, "gfl", "fitnets", tmp_path)
    content = torch.load(tmp_path / "iter_4.pth", weights_only=False)
    assert {name.partition(".")[0] for name in content["state_dict"]} == {"student", "method"}
    model = bench.distiller("gfl", "fitnets")
    counts = [len(group["params"]) for group in content["optimizer"]["param_groups"]]
    assert counts == [len(list(part.parameters())) for part in (model.student, model.method)]


def test_float16_needs_a_gpu(bench, tmp_path):
    from kdbench.openmmlab.students import train_alone

    with pytest.raises(UserError, match="`precision` fp16: this needs a GPU"):
        train_alone(bench.subject("gfl"), bench.place(tmp_path, precision="fp16"), None)


@pytest.mark.parametrize(
    ("kind", "selector"), [("faster", "mimic"), ("gfl", "fitnets"), ("pspnet", "hinton")]
)
def test_a_cpu_trains_in_bfloat16(bench, tmp_path, kind, selector):
    from small_bench import Silent

    from kdbench.openmmlab.students import train_with

    card, options = bench.card(selector)
    weights = {}
    for precision in ("fp32", "bf16"):
        place = bench.place(tmp_path / precision, precision=precision)
        outcome = train_with(bench.subject(kind), [bench.teacher(kind)], card, options, place, Silent())
        assert outcome.curve[-1]["iteration"] == 4
        weights[precision] = torch.load(place.work_dir / "student.pth", weights_only=False)["state_dict"]
    assert all(bool(torch.isfinite(value).all()) for value in weights["bf16"].values())
    assert {value.dtype for value in weights["bf16"].values()} <= {torch.float32, torch.int64}
    assert any(not torch.equal(value, weights["fp32"][name]) for name, value in weights["bf16"].items())


@pytest.mark.parametrize(
    ("kind", "selector"), [("faster", "mimic[variant=two-stage]"), ("gfl", "fitnets"), ("pspnet", "hinton")]
)
def test_terms_stay_in_float32_under_autocast(bench, kind, selector):
    """What --amp does on a GPU, here in bfloat16: the forward passes are halved, the method's terms are not."""
    model = bench.distiller(kind, selector).train()
    inputs, samples = bench.probe(kind).batch(model.student)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses, terms, _ = model.compute(inputs, samples)
        total, _ = model.parse_losses(losses | {f"loss_{name}": term for name, term in terms.items()})
    assert all(term.dtype == torch.float32 and bool(torch.isfinite(term)) for term in terms.values())
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


TWO = """
# Two processes of one run; each writes down the hashes of its trained models.
import os, sys
from pathlib import Path
out = Path(sys.argv[1])
from kdbench.openmmlab.setup import prepare_libraries
prepare_libraries("mmdet")
import torch
torch.set_num_threads(1)
from kdbench.openmmlab import students
from kdbench.openmmlab.weights.checkpoints import weights_hash
bare = students._trained_student
def told(trained):
    student = bare(trained)
    with (out / ("rank" + os.environ["RANK"])).open("a") as file:
        file.write(weights_hash(student) + chr(10))
    return student
students._trained_student = told
from kdbench.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def root(bench, tmp_path):
    """A data root whose digits are few, and taken for the whole."""
    from kdbench.datasets.digits_files import STAMP

    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "digits").symlink_to(bench.folder)
    (bench.folder / "scenes.json").write_text(json.dumps(STAMP), encoding="utf-8")
    return folder


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@pytest.mark.slow
def test_two_processes_end_with_the_same_weights(tmp_path, root):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(script), str(out), "run", "--method", "mimic", "--dataset", "digits"]
    command += ["--pair", "digits-faster-rcnn", "--schedule", "smoke", "--device", "cpu", "--json"]
    command += [
        "--root",
        str(root),
        "--results",
        str(tmp_path / "results"),
        "--work-dir",
        str(tmp_path / "runs"),
    ]
    command += ["--set", "schedule.average=0.1", "--set", "schedule.validations=2"]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    first, second = ((out / f"rank{rank}").read_text().split() for rank in (0, 1))
    assert first == second
    assert len(first) == len(set(first)) == 3
    record = json.loads(done.stdout[done.stdout.index("{") :])
    assert record["status"] == "done"
    assert len(list((tmp_path / "results").rglob("*.json"))) == 3
    assert len(list((tmp_path / "runs").glob("*/student.pth"))) == 3
    assert list((tmp_path / "runs").glob("*/iter_*.pth")) == []


@pytest.mark.slow
def test_a_batch_that_cannot_be_dealt_out(bench, monkeypatch):
    from kdbench.openmmlab.data import loaders as data
    from kdbench.openmmlab.data.loaders import training_loader

    monkeypatch.setattr(data, "get_world_size", lambda: 3)
    subject = bench.subject("gfl")
    with pytest.raises(UserError, match="2 images cannot be dealt out over 3 processes"):
        training_loader(subject.dataset, bench.folder, subject.schedule, 0, 0)

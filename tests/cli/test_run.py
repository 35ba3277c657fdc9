"""`kdbench run` with real, tiny trainings: 4 iterations on a few scenes."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from kdbench.cli import main
from kdbench.results.store import Store

from .conftest import Done

ROOT = Path(__file__).parents[2]
DENSE = ("--pair", "digits-gfl", "--schedule", "smoke")
Run = Callable[..., Done]


def invoke(*arguments: str) -> Done:
    """A command in this process, with what it writes."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(arguments)
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def place(tmp_path_factory, small_digits):
    """A working directory for all runs here, so that they share a teacher and a plain student."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("place")
        patch.chdir(folder)
        patch.setenv("KDBENCH_DATA", str(small_digits))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


@pytest.fixture(scope="module")
def run(place) -> Run:
    """Runs ``kdbench run --dataset digits`` there."""
    return lambda *arguments: invoke("run", "--dataset", "digits", *arguments)


@pytest.fixture(scope="module")
def first(run) -> Done:
    """A run in folders of its own, so that it also trains the teacher and the plain student."""
    folders = ("--results", "first/results", "--work-dir", "first/runs")
    return run("--method", "mimic", "--schedule", "smoke", *folders)


@pytest.fixture(scope="module")
def dense(run) -> dict[str, Any]:
    """The record of the first smoke run on the dense pair, which also made teacher and plain student."""
    done = run("--method", "hinton", *DENSE, "--json")
    assert done.code == 0, done.err
    record: dict[str, Any] = json.loads(done.out)
    return record


def refused(done: Done) -> str:
    """The one line that a mistake gives; lines before it say what was done until then."""
    assert (done.code, done.out) == (2, "")
    *before, last = done.err.splitlines()
    assert last.startswith("error: ")
    assert not any(line.startswith(("Traceback", "error: ")) for line in before)
    return last


def trained(done: Done) -> list[str]:
    """The trainings that a run showed."""
    return re.findall(r"^\d of \d: ([^,\n]+)", done.err, re.MULTILINE)


def records(place: Path, status: str = "done") -> list[Any]:
    return [record for record in Store(place / "results").records()[0] if record.status == status]


def test_the_first_run(first):
    assert first.code == 0, first.err
    assert trained(first) == ["teacher", "plain student", "mimic"]
    assert re.search(r"^3 of 3: mimic, seed 0, 4 iterations$", first.err, re.MULTILINE)
    assert re.search(
        r"^  transforms: 3x3 convolution \d+ -> \d+, same size \(3 times\)$", first.err, re.MULTILINE
    )
    assert re.search(r"^mimic, seed 0: AP50 0\.\d{3} in \d+ s$", first.err, re.MULTILINE)
    assert re.search(r"^took (\d+ min )?\d+ s$", first.err, re.MULTILINE)
    told = dict(line.split(maxsplit=1) for line in first.out.splitlines()[1:])
    assert first.out.startswith("smoke schedule: everything ran; it is never ranked.\n")
    assert json.loads(Path(told["record"]).read_text())["spec"]["method"] == "mimic"
    assert {"student.pth", "student.py"} <= {path.name for path in Path(told["run"]).iterdir()}
    assert invoke(*shlex.split(told["export"])[1:]).code == 0


def test_the_screen_has_no_line_twice_and_nothing_of_the_libraries(first):
    told = ("  after ", "WARNING: digits has no box")  # of a few scenes
    lines = [line for line in first.err.splitlines() if not line.startswith(told)]
    assert lines[0].startswith("mimic on digits: pair digits-faster-rcnn, seed 0, smoke schedule, on ")
    assert len(lines) == len(set(lines))
    assert not re.search("warn|INFO|mmengine|deprecat|Loads checkpoint", "\n".join(lines), re.IGNORECASE)


def test_the_teacher_is_as_it_was_recorded(dense, place):
    (file,) = place.glob(f"out/runs/{dense['teacher']['identity'][:16]}/student.pth")
    assert dense["teacher"]["value"] == teacher_record(place, dense).score
    assert file.is_file()


def teacher_record(place: Path, record: dict[str, Any]) -> Any:
    found = Store(place / "results").find(record["teacher"]["identity"])
    assert found is not None
    return found


def test_json_is_all_there_is_on_stdout(dense):
    assert (dense["status"], dense["spec"]["method"], dense["spec"]["schedule"]) == (
        "done",
        "hinton",
        "smoke",
    )
    assert dense["metrics"]["last"].keys() >= {"AP50", "AP75", "AP50/0"}
    assert dense["cost"]["student_parameters"] > 0


def test_another_method_shares_teacher_and_plain_student(run, dense):
    done = run("--method", "mimic[variant=whole-map]", *DENSE)
    assert done.code == 0
    assert trained(done) == ["mimic[variant=whole-map]"]
    assert "plain student, seed 0: done already, AP50 0." in done.err
    assert "teacher: done already, AP50 0." in done.err


def test_the_same_command_again_trains_nothing(run, dense):
    done = run("--method", "hinton", *DENSE, "--json")
    assert trained(done) == []
    assert json.loads(done.out) == dense
    assert "hinton, seed 0: done already" in done.err


def test_a_given_checkpoint(run, dense, place):
    weights = next(place.glob(f"out/runs/{dense['teacher']['identity'][:16]}/student.pth"))
    given = shutil.copy(weights, place / "given.pth")
    done = run("--method", "hinton", *DENSE, "--teacher-checkpoint", given, "--json")
    assert done.code == 0, done.err
    assert trained(done) == ["hinton"]
    assert "teacher: all of its weights loaded from given.pth" in done.err.replace(f"{place}/", "")
    record = json.loads(done.out)
    assert record["teacher"]["weights_sha256"] == dense["teacher"]["weights_sha256"]
    assert record["teacher"]["value"] == pytest.approx(dense["teacher"]["value"])
    assert teacher_record(place, record).spec["checkpoint"] is not None
    assert record["metrics"] == dense["metrics"]  # the same teacher, the same student


def test_a_checkpoint_without_the_head_is_refused_or_overruled(run, dense, place):
    import torch

    weights = next(place.glob(f"out/runs/{dense['teacher']['identity'][:16]}/student.pth"))
    state = torch.load(weights, weights_only=True)["state_dict"]
    state["bbox_head.gfl_reg.weight"] = torch.zeros(40, *state["bbox_head.gfl_reg.weight"].shape[1:])
    del state["bbox_head.gfl_cls.bias"]
    torch.save({"state_dict": state}, place / "part.pth")
    command = ("--method", "hinton[temperature=2]", *DENSE, "--teacher-checkpoint", "part.pth")
    told = refused(run(*command))
    assert re.search(r"bbox_head\.gfl_reg\.weight \(40x\w+ in the file, 68x\w+ here\)", told)
    assert "bbox_head.gfl_cls.bias (not in the file)" in told
    assert "--force" in told
    done = run(*command, "--force", "--json")
    assert done.code == 0, done.err
    assert "would stay random" in json.loads(done.out)["notes"][0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("cut", "truncated or no checkpoint"),
        ("text", "truncated or no checkpoint"),
        ("unsafe", "would have to be executed"),
        ("other", "is of another architecture"),
    ],
)
def test_a_bad_checkpoint(run, dense, place, content, told):
    import torch

    good = next(place.glob(f"out/runs/{dense['teacher']['identity'][:16]}/student.pth")).read_bytes()
    file = place / f"{content}.pth"
    if content == "other":
        torch.save({"state_dict": {"backbone.conv1.weight": torch.zeros(3, 3)}}, file)
    elif content == "unsafe":
        torch.save({"state_dict": {}, "meta": pytest.raises}, file)
    else:
        file.write_bytes(good[: len(good) // 2] if content == "cut" else b"hello")
    before = len(records(place))
    done = run("--method", "hinton", *DENSE, "--teacher-checkpoint", file.name)
    assert told in refused(done)
    assert trained(done) == []
    assert len(records(place)) == before


def test_a_gate_that_fails_leaves_a_failed_record(run, dense, place):
    done = run("--method", "mimic[variant=whole-map,weight=0]", *DENSE)
    assert "the distillation loss of mimic[variant=whole-map,weight=0] is zero" in refused(done)
    (record,) = [record for record in records(place, "failed") if "weight=0" in record.selector]
    assert (record.status, "is zero on the first batch" in record.reason) == ("failed", True)


def test_a_failed_gate_can_be_overruled_and_is_noted(run, dense, place):
    done = run("--method", "mimic[variant=whole-map,weight=0]", *DENSE, "--force", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert any("was overruled: " in note for note in record["notes"])
    (plain,) = (r for r in records(place) if r.method == "none" and r.pair_name == "digits-gfl")
    assert record["metrics"]["last"] == plain.metrics.last


def test_a_diverging_run_is_recorded_as_failed_and_tried_again(run, place):
    command = ("--method", "none", *DENSE, "--set", "schedule.lr=1e30", "--json")
    for _ in range(2):
        done = run(*command)
        assert done.code == 1
        assert trained(done) == ["plain student"]
        record = json.loads(done.out)
        assert record["status"] == "failed"
        assert re.fullmatch(r"loss_\w+ became (nan|inf) at iteration [1-3]", record["reason"])
        assert f"failed: plain student, seed 0: {record['reason']}. Look at" in done.err
    (failed,) = records(place, "failed")
    assert failed.identity == record["identity"]


STUDENT = """
model = dict(
    type="RetinaNet",
    data_preprocessor=dict(type="DetDataPreprocessor", mean=[0, 0, 0], std=[255, 255, 255], bgr_to_rgb=True),
    backbone=dict(type="ResNet", depth=18, num_stages=4, out_indices=(1, 2, 3), base_channels=8, stem_channels=8),
    neck=dict(type="FPN", in_channels=[16, 32, 64], out_channels=16, num_outs=3),
    bbox_head=dict(
        type="RetinaHead", num_classes=80, in_channels=16, feat_channels=16, stacked_convs=1,
        anchor_generator=dict(type="AnchorGenerator", octave_base_scale=4, scales_per_octave=3,
                              ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32])),
    train_cfg=dict(assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0,
                                 ignore_iof_thr=-1),
                   sampler=dict(type="PseudoSampler"), allowed_border=-1, pos_weight=-1, debug=False),
    test_cfg=dict(nms_pre=100, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_threshold=0.5),
                  max_per_img=50))
"""
TEACHER = {
    "backbone.depth": "18",
    "backbone.base_channels": "16",
    "backbone.stem_channels": "16",
    "backbone.out_indices": "[1, 2, 3]",
    "backbone.frozen_stages": "-1",
    "backbone.norm_eval": "false",
    "neck.in_channels": "[32, 64, 128]",
    "neck.out_channels": "24",
    "neck.start_level": "0",
    "neck.num_outs": "3",
    "bbox_head.in_channels": "24",
    "bbox_head.feat_channels": "24",
    "bbox_head.anchor_generator.strides": "[8, 16, 32]",
}


def test_own_models(run, place):
    (place / "my_config.py").write_text(STUDENT)
    edits = [part for key, value in TEACHER.items() for part in ("--set", f"teacher.{key}={value}")]
    models = ("--teacher", "mmdet::retinanet/retinanet_r50_fpn_1x_coco.py", "--student", "my_config.py")
    done = run("--method", "fitnets", "--schedule", "smoke", *models, *edits, "--json")
    assert done.code == 0, done.err
    assert trained(done) == ["teacher", "plain student", "fitnets"]
    record = json.loads(done.out)
    assert record["spec"]["pair"]["student"]["config"] == "my_config.py"
    assert record["teacher"]["config"].startswith("mmdet::retinanet/")
    assert "regressors: 1x1 convolution 16 -> 24, same size (3 times)" in record["notes"]
    done = run("--method", "mimic", "--schedule", "smoke", *models, *edits)
    told = refused(done)
    assert "needs proposals, which dense models do not have; it works in: two-stage." in told
    assert told.endswith("Pairs of digits that work: digits-faster-rcnn, digits-faster-rcnn-tiny (--pair).")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--method", "mimc"), "unknown method 'mimc'. Did you mean 'mimic'?"),
        (("--method", "none", "--dataset", "digts"), "unknown dataset 'digts'. Did you mean 'digits'?"),
        (
            ("--method", "none", "--pair", "digits-gfll"),
            "unknown pair 'digits-gfll'. Did you mean 'digits-gfl'?",
        ),
        (("--method", "hinton[temperature=hot]"), "option 'temperature' got 'hot'"),
        (("--method", "none", "--seed", "-1"), "Invalid value for '--seed': -1 is not in the range x>=0"),
        (("--method", "none", "--seed", "one"), "Invalid value for '--seed'"),
        (("--method", "none", "--schedule", "long"), "Invalid value for '--schedule'"),
        (
            ("--method", "hinton", *DENSE, "--teacher-checkpoint", "no.pth"),
            "cannot read no.pth: No such file",
        ),
        (("--method", "none", "--set", "schedule.lr"), "--set schedule.lr: write SECTION.key=value"),
        (("--method", "none", "--device", "tpu"), "--device tpu: use cpu or the type of an accelerator"),
        (("--method", "none", "--gpus", "0"), "Invalid value for '--gpus'"),
        (
            ("--method", "none", "--gpus", "4", "--device", "cpu"),
            "--gpus and --device cpu exclude each other",
        ),
        (("--method", "none", "--gpus", "512"), "--gpus 512: this machine has "),
        (("--method", "none", "--root", "my_config.py"), "Directory 'my_config.py' is a file"),
        (("--method", "mimic", *DENSE), "needs proposals, which dense models do not have"),
    ],
)
def test_bad_input(run, place, arguments, told):
    (place / "my_config.py").write_text(STUDENT)
    done = run(*arguments)
    assert told in refused(done)
    assert trained(done) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--set", "student.backbone.dpeth=18"),
            "the student's model (mmdet::gfl/gfl_r50_fpn_1x_coco.py) does not work: ",
        ),
        (("--set", "student.backbone.dpeth=18"), "unexpected keyword argument 'dpeth'"),
        (("--set", "student.backbone.depth=19"), "invalid depth 19 for resnet"),
        (("--set", "student.neck.in_channels=[8, 16]"), "AssertionError in fpn.py, line "),
        (("--set", "student.neck.in_channels=[8, 16, 32, 65]"), "does not work: "),
        (("--set", "student.bakbone.depth=18"), "key 'bakbone.depth': there is no 'bakbone'"),
        (("--set", "teacher.backbone.depth=19"), "the teacher's model"),
        (("--student", "broken.py"), "config 'broken.py' does not parse: "),
        (("--student", "empty.py"), "config 'empty.py' has no `model`"),
        (("--teacher", "mmdet::gfl/gfl_r51.py"), "config 'mmdet::gfl/gfl_r51.py' is not in mmdet's configs"),
        (("--teacher", "mmpose::x.py"), "'mmpose' is not installed: write mmdet::FILE"),
        (
            ("--student", "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py"),
            "is a segmentation model, but dataset 'digits' is for detection",
        ),
    ],
)
def test_bad_models_are_refused_before_anything_is_trained(run, place, arguments, told):
    (place / "broken.py").write_text("model = dict(")
    (place / "empty.py").write_text("modle = dict(type='GFL')")
    done = run("--method", "hinton", *DENSE, *arguments)
    assert told in refused(done)
    assert trained(done) == []


def test_a_full_disk(run, dense, monkeypatch):
    import errno

    import torch

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "student.pth")

    monkeypatch.setattr(torch, "save", full)
    done = run("--method", "none", *DENSE, "--seed", "77")
    assert "no disk space left for student.pth: free some" in refused(done)


def test_a_cut_record_is_told_skipped_and_kept(run, dense, place):
    store = Store(place / "results")
    path = store.path_of(teacher_record(place, dense)).with_name("teacher-seed0-0123456789ab.json")
    path.write_bytes(b'{"cost": {')
    done = run("--method", "hinton", *DENSE, "--json")
    assert done.code == 0
    assert json.loads(done.out) == dense
    assert f"broken record results/{path.relative_to(store.root)}: " in done.err
    assert path.read_bytes() == b'{"cost": {'
    path.unlink()

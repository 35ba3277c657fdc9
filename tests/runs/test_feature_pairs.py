"""Pairs whose teacher gives feature maps alone: from a benchmark file to the records of a pack."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import lacking
import pytest
import torch
import yaml
from session_lab import Told
from small_bench import Silent

from kdbench.benchmarks import load
from kdbench.errors import GateError, UserError
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.pairs.small import gfl
from kdbench.plugins import registry
from kdbench.results.contributed import check
from kdbench.results.leaderboard import frame_of, rankings
from kdbench.results.record import MeasuredTeacher
from kdbench.runs.made import teachers_to_train
from kdbench.runs.plan import plan
from kdbench.runs.provenance import record_of
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings

timm = lacking.extra("timm", "timm is not installed")

NAME = "test_resnet.r160_in1k"
TEACHER = {"features": f"timm:{NAME}", "out_indices": [2, 3], "checkpoint": "weights.pth"}
RECIPE = {"iterations": 8, "batch_size": 2, "lr": 0.01, "scale": [64, 64]}


@pytest.fixture
def write(tmp_path, monkeypatch, small_digits):
    """Writes the benchmark file, ``write(out_indices=[3])``, beside the weights of a whole classifier."""
    prepare_libraries("mmdet")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KDBENCH_DATA", str(small_digits))
    torch.manual_seed(0)
    torch.save(timm.create_model(NAME, pretrained=False).state_dict(), "weights.pth")
    student = gfl(18, 8, 16, first=1, norm="neck").model_dump(include={"config", "edits"})

    def written(**changes):
        registry.cache_clear()
        teacher = {key: value for key, value in {**TEACHER, **changes}.items() if value is not None}
        pair = {"name": "digits-timm", "teacher": teacher, "student": student, "schedule": RECIPE}
        values = {"title": "timm", "dataset": "digits", "pairs": [pair], "schedule": "smoke", "seeds": [0]}
        values["methods"] = ["fitnets", "cwd"]
        Path("timm.yaml").write_text(yaml.safe_dump(values))
        return Path("timm.yaml")

    yield written
    registry.cache_clear()


def planned(file, method="cwd"):
    return plan(Request(method, "", benchmark=file, schedule="smoke"))


def test_the_teacher_is_known_by_its_name_its_maps_and_its_weights(write):
    teacher = planned(write()).teacher
    assert (teacher.model.config, teacher.model.edits) == (f"timm:{NAME}", {"out_indices": [2, 3]})
    assert teachers_to_train(planned(write()), lambda _: False) == {}, "nothing of it is trained"
    identities = {teacher.identity(), planned(write(out_indices=[3])).teacher.identity()}
    Path("weights.pth").write_bytes(b"others")
    identities |= {planned(write()).teacher.identity()}
    identities |= {planned(write(features="timm:test_resnet")).teacher.identity()}
    assert len(identities) == 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"out_indices": None}, "pairs.0.teacher: give either 'config', or 'features' and 'out_indices'"),
        ({"config": "mmdet::x.py"}, "pairs.0.teacher: give either 'config', or 'features' and 'out_indices'"),
        ({"features": "convnext_tiny"}, "'convnext_tiny' names no source: write SOURCE:NAME"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(write, changes, told):
    with pytest.raises(UserError, match=told):
        load(write(**changes))


def session(made, folder, **changes):
    from kdbench.runs.session import Session

    settings = RunSettings(work_dir=folder / "runs", results=folder / "results", **changes)
    return Session(made, settings, Told())


def test_what_cannot_work_is_refused_before_anything_is_trained(write, tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.runs.training.Training.run", lambda *_: pytest.fail("it trained"))
    with pytest.raises(
        UserError, match=r"needs logits, and this teacher gives feature maps alone"
    ) as refused:
        session(planned(write(), "hinton"), tmp_path).run()
    assert "Pairs of digits that work: digits-faster-rcnn" in str(refused.value)
    assert "digits-timm" not in str(refused.value)
    with pytest.raises(UserError, match="fine-tunes its teacher, which one of feature maps alone cannot be"):
        session(planned(write(), "quantization-mimic"), tmp_path).run()
    inherit = plan(Request("cwd", "", benchmark=write(), settings=("inherit=true",)))
    with pytest.raises(UserError, match="has no neck and heads to inherit"):
        session(inherit, tmp_path).run()
    with pytest.raises(GateError, match="has random weights: give the teacher a checkpoint"):
        session(planned(write(checkpoint=None)), tmp_path).run()
    with pytest.raises(UserError, match="two of the teacher's are nearest to the same"):
        session(planned(write(out_indices=[0, 1, 2, 3])), tmp_path).run()


class Console(Told):
    """Lets real trainings tell nobody how far they are."""

    @contextmanager
    def stage(self, title, iterations):
        yield Silent()


def test_a_lane_of_a_pack_gives_the_student_of_a_run_alone_and_its_record(write, tmp_path):
    from kdbench.runs.pack import run_pack

    file, students = write(), []
    plans = [planned(file, method) for method in ("fitnets", "cwd")]
    for name, some in (("together", plans), ("alone", plans[1:])):
        settings = RunSettings(work_dir=tmp_path / name / "runs", results=tmp_path / name / "results")
        records = {record.selector: record for record in run_pack(some, settings, Console()).records}
        assert [record.reason for record in records.values()] == [None] * len(some)
        students.append(torch.load(settings.folder(plans[1].cell) / "student.pth")["state_dict"])
        assert check(settings.store) == (len(some), [])
    assert students[0].keys() == students[1].keys()
    assert all(torch.equal(value, students[1][name]) for name, value in students[0].items())
    record = records["cwd"]
    assert (record.teacher.config, record.teacher.value) == (TEACHER["features"], None)
    assert record.teacher.identity == plans[1].teacher.identity()
    assert any(f"teacher timm:{NAME} of timm {timm.__version__}: maps 2, 3" in n for n in record.notes)
    assert "teacher not measured against chance: it gives feature maps alone" in record.notes


def test_its_students_are_ranked_and_it_has_no_score(write, tmp_path):
    file = write()
    records = []
    made = plan(Request("cwd", "", benchmark=file))
    taught = MeasuredTeacher(
        identity=made.teacher.identity(), config=TEACHER["features"], weights_sha256="a" * 64
    )
    for spec, score, teacher in ((made.plain, 0.5, None), (made.cell, 0.75, taught)):
        curve = [{"iteration": 8, "AP50": score}]
        records.append(record_of(spec, "AP50", tmp_path, curve=curve, teacher=teacher))
    rows = frame_of(rankings(records)).set_index("method")
    assert list(rows.index) == ["teacher", "none", "cwd"]
    assert rows.loc["cwd", "difference"] == 0.25
    assert rows.loc["teacher", "seeds"] == 0
    assert rows.loc["teacher", ["mean", "gap_closed"]].isna().all()
    assert rows.loc["cwd", ["mean", "gap_closed"]].isna().tolist() == [False, True]

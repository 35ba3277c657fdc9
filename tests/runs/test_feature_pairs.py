"""Pairs whose teacher gives feature maps alone: from a benchmark file to the records of a pack."""

from __future__ import annotations

from pathlib import Path

import lacking
import pytest
import torch
import yaml
from session_lab import Told

from kdbench.benchmarks import load
from kdbench.errors import GateError, UserError
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.pairs.small import gfl
from kdbench.plugins import registry
from kdbench.results.contributed import check
from kdbench.results.leaderboard import leaderboard
from kdbench.results.record import Teacher
from kdbench.runs.plan import plan
from kdbench.runs.provenance import record_of
from kdbench.runs.request import Request
from kdbench.runs.settings import RunSettings
from kdbench.runs.sweep_records import needs_of

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
        values["methods"] = ["fitnets", "at"]
        Path("timm.yaml").write_text(yaml.safe_dump(values))
        return Path("timm.yaml")

    yield written
    registry.cache_clear()


def planned(file, method="at"):
    return plan(Request(method, "", benchmark=file, schedule="smoke"))


def test_the_teacher_is_known_by_its_name_its_maps_and_its_weights(write):
    teacher = planned(write()).teacher
    assert (teacher.model.config, teacher.model.edits) == (f"timm:{NAME}", {"out_indices": [2, 3]})
    assert needs_of(planned(write()), lambda _: False) == {}, "nothing of it is trained"
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
    with pytest.raises(GateError, match="has random weights: give the teacher a checkpoint"):
        session(planned(write(checkpoint=None)), tmp_path).run()
    with pytest.raises(UserError, match="two of the teacher's are nearest to the same"):
        session(planned(write(out_indices=[0, 1, 2, 3])), tmp_path).run()


def test_a_pack_gives_the_students_of_single_runs_and_their_records(write, tmp_path):
    from kdbench.runs.pack import run_pack

    file = write()
    plans = [planned(file, method) for method in ("none", "fitnets", "at")]
    settings = RunSettings(work_dir=tmp_path / "runs", results=tmp_path / "results")
    records = {record.selector: record for record in run_pack(plans, settings, Told()).records}
    assert {name: record.status for name, record in records.items()} == dict.fromkeys(records, "done")
    alone = session(plans[-1], tmp_path / "alone")
    assert alone.run().curve == records["at"].curve
    for spec in (plans[-1].cell, plans[-1].plain):
        one, other = (settings.folder(spec) / "student.pth" for settings in (settings, alone.settings))
        states = [torch.load(path)["state_dict"] for path in (one, other)]
        assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    taught = records["at"].teacher
    assert (taught.config, taught.value) == (f"timm:{NAME}", None)
    assert taught.identity == plans[-1].teacher.identity()
    assert any(f"teacher timm:{NAME} of timm {timm.__version__}: maps 2, 3" in n for n in records["at"].notes)
    assert "teacher not measured against chance: it gives feature maps alone" in records["at"].notes
    assert check(settings.store) == (3, [])


def test_its_students_are_ranked_and_it_has_no_score(write, tmp_path):
    file = write()
    records = []
    made = plan(Request("at", "", benchmark=file))
    taught = Teacher(identity=made.teacher.identity(), config=TEACHER["features"], weights_sha256="a" * 64)
    for spec, score, teacher in ((made.plain, 0.5, None), (made.cell, 0.75, taught)):
        curve = [{"iteration": 8, "AP50": score}]
        records.append(record_of(spec, "AP50", tmp_path, curve=curve, teacher=teacher))
    rows = leaderboard(records, "digits").set_index("method")
    assert list(rows.index) == ["teacher", "none", "at"]
    assert rows.loc["at", "difference"] == 0.25
    assert rows.loc["teacher", "seeds"] == 0
    assert rows.loc["teacher", ["mean", "gap_closed"]].isna().all()
    assert rows.loc["at", ["mean", "gap_closed"]].isna().tolist() == [False, True]

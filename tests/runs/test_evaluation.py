"""Given weights, measured: on six scenes of digits, with weights of no training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import kdbench
from kdbench.cli.evaluate import command
from kdbench.cli.leaderboard import command as leaderboard
from kdbench.datasets import digits
from kdbench.errors import UserError
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.openmmlab.weights import zoo
from kdbench.results.rules import problems
from kdbench.results.store import Store
from kdbench.specs import Model, Schedule

prepare_libraries("mmseg")

from kdbench.openmmlab.models.building import build_model, full_config  # noqa: E402

CONFIG = "kdbench_models::configs/espnet_c.py"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of ESPNet-C for digits, as a bare state dict."""
    schedule = Schedule(iterations=1, batch_size=1, lr=1.0, scale=(480, 360))
    config = full_config(Model(config=CONFIG), digits.segmentation, schedule, pretrained=False)
    file = tmp_path_factory.mktemp("weights") / "first.pth"
    torch.save(build_model(config, digits.segmentation, seed=0).state_dict(), file)
    return file


@pytest.fixture
def measure(small_digits, tmp_path):
    where = {"data_root": small_digits, "results": tmp_path, "work_dir": tmp_path / "runs", "device": "cpu"}
    return lambda model, checkpoint, **more: kdbench.evaluate(
        model, "digits-seg", checkpoint, **where, **more
    )


def test_a_record_of_its_own_kind_that_ranks_nothing(measure, weights, small_digits, tmp_path):
    record = measure(CONFIG, weights)
    assert (record.kind, record.selector, record.pair_name) == ("evaluation", "espnet_c first", "evaluations")
    assert record.metrics is not None
    assert 0 <= record.metrics.last["mIoU"] <= 1
    assert problems(record) == []
    assert Store(tmp_path).records("digits-seg") == ([record], [])
    told = CliRunner().invoke(leaderboard, ["digits-seg", "--results", str(tmp_path)]).stdout
    assert "digits-seg: authors' weights, measured here" in told
    assert kdbench.leaderboard("digits-seg", results=tmp_path).empty
    options = ["--dataset", "digits-seg", "--model", CONFIG, "--checkpoint", str(weights), "--device", "cpu"]
    where = ["--root", str(small_digits), "--results", str(tmp_path), "--work-dir", str(tmp_path / "runs")]
    again = CliRunner().invoke(command, [*options, *where, "--json"])
    assert again.stdout == record.to_json()  # the clock and all: it was not measured again


def test_the_same_weights_under_another_name_are_the_same(measure, weights, tmp_path):
    copy = tmp_path / "copy.pth"
    shutil.copy(weights, copy)
    assert measure(CONFIG, copy).identity == measure(CONFIG, weights).identity


def test_weights_by_address_are_fetched_where_that_is_allowed(measure, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(zoo.downloads, "arrived", lambda _address, target: Path(shutil.copy(weights, target)))
    address = "https://example.org/first.pth"
    with pytest.raises(UserError, match=r"is not on this machine: `download=True` fetches it"):
        measure(CONFIG, address)
    record = measure(CONFIG, address, download=True)
    assert record.identity == measure(CONFIG, weights).identity
    assert f"--checkpoint {address}" in record.made.command


def test_a_file_that_is_not_there(measure, tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.pth: No such file or directory"):
        measure(CONFIG, tmp_path / "none.pth")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("kdbench_models::configs/espnet.py", "lacks weights of the model, which would stay random"),
        ("mmdet::gfl/gfl_r50_fpn_1x_coco.py", "is a detection model"),
        ("espnte", "is neither a model's name"),
        ("mmseg::_base_/models/fcn_r50-d8.py", "no Resize with a scale in its test_pipeline"),
    ],
)
def test_what_cannot_be_measured(measure, weights, model, told):
    with pytest.raises(UserError, match=told):
        measure(model, weights)

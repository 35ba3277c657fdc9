"""What a model's hash covers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kdbench.errors import UserError
from kdbench.openmmlab.models.resolved import model_hash
from kdbench.source import source_hash
from kdbench.specs import Model

GFL = "mmdet::gfl/gfl_r50_fpn_1x_coco.py"
BASE = """
_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['own_backbone'], allow_failed_imports=False)
model = dict(backbone=dict(_delete_=True, type='TinyNet', width=8))
"""


@pytest.fixture
def student(tmp_path, monkeypatch):
    """A config of a user's own that inherits another one and imports a module, which nothing may import here."""
    (tmp_path / "own_backbone.py").write_text("import own_layers\nraise SystemExit('imported')\n")
    (tmp_path / "own_layers.py").write_text("WIDTH = 1")
    (tmp_path / "common.py").write_text(BASE)
    (tmp_path / "student.py").write_text("_base_ = './common.py'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return Model(config=str(tmp_path / "student.py"))


def hash_of(model: Model, *, pretrained: bool = False) -> str:
    source_hash.cache_clear()
    return model_hash(model, pretrained=pretrained)


@pytest.mark.parametrize(
    ("file", "text"),
    [("common.py", BASE.replace("8", "16")), ("own_backbone.py", "x = 2"), ("own_layers.py", "WIDTH = 2")],
)
def test_what_a_config_inherits_and_imports_counts(student, tmp_path, file, text):
    before = hash_of(student)
    assert hash_of(student) == before
    (tmp_path / file).write_text(text)
    assert hash_of(student) != before


def test_a_config_that_says_the_same_otherwise_is_the_same(student, tmp_path):
    before = hash_of(student)
    (tmp_path / "student.py").write_text("# a remark\n_base_ = ['./common.py']\nmodel = dict()\n")
    assert hash_of(student) == before


def test_edits_count_and_must_fit():
    wide = Model(config=GFL, edits={"neck.out_channels": 32})
    assert hash_of(wide) != hash_of(Model(config=GFL))
    assert hash_of(wide) == hash_of(Model(config=GFL, edits={"neck.out_channels": 32}))
    with pytest.raises(UserError, match="there is no 'nek'"):
        hash_of(Model(config=GFL, edits={"nek.out_channels": 32}))


def test_initial_weights_that_are_a_file_count_where_training_starts_from_them(tmp_path):
    weights = tmp_path / "mine.pth"
    own = {"type": "Pretrained", "checkpoint": str(weights)}
    model = Model(config=GFL, edits={"backbone.init_cfg": own})
    weights.write_bytes(b"one")
    without, before = hash_of(model), hash_of(model, pretrained=True)
    weights.write_bytes(b"two")
    assert hash_of(model, pretrained=True) != before
    assert hash_of(model) == without


def test_no_torch_is_imported():
    code = f"""
import sys
from kdbench.openmmlab.models.resolved import model_hash
from kdbench.specs import Model
print(len(model_hash(Model(config={GFL!r}), pretrained=False)), 'torch' in sys.modules, 'mmdet' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["64", "False", "False"]

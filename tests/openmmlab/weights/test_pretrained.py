from __future__ import annotations

import pytest
import torch
from mmengine.config import ConfigDict

from kdbench.datasets import camvid, voc
from kdbench.errors import UserError
from kdbench.openmmlab.models.configs import drop_pretrained, initial_weights, model_config
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.openmmlab.weights.pretrained import location, require_pretrained
from kdbench.specs import Model

prepare_libraries("mmdet")
prepare_libraries("mmseg")

FASTER = Model(config="mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py")
PSPNET = Model(config="mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-512x1024.py")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Torch's cache, empty; mmengine's own home beside it."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("MMENGINE_HOME", str(tmp_path / "mmengine"))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def starts_from(reference):
    return ConfigDict(backbone={"init_cfg": {"type": "Pretrained", "checkpoint": reference}})


@pytest.mark.parametrize(
    ("model", "dataset", "reference", "file"),
    [
        (FASTER, voc.voc, "torchvision://resnet50", "resnet50-0676ba61.pth"),
        (PSPNET, camvid.card, "open-mmlab://resnet18_v1c", "resnet18_v1c-b5776b93.pth"),
    ],
)
def test_the_weights_that_shipped_configs_name(cache, model, dataset, reference, file):
    config = model_config(model, dataset, pretrained=True)
    assert initial_weights(config) == [reference]
    with pytest.raises(UserError) as told:
        require_pretrained(config, download=False)
    assert str(told.value) == (
        f"the config starts from {reference}, which is not in {cache}: `download=True` fetches it, "
        "`from_scratch=True` trains without it."
    )
    require_pretrained(config, download=True)
    assert list(cache.iterdir()) == []
    torch.save({"w": torch.ones(2)}, cache / file)
    require_pretrained(config, download=False)
    require_pretrained(model_config(model, dataset, pretrained=False), download=False)


@pytest.mark.parametrize(
    ("reference", "file"),
    [
        ("https://example.org/models/net-1.pth?download=1", "net-1.pth"),
        ("openmmlab://resnet18_v1c", "resnet18_v1c-b5776b93.pth"),
        ("modelzoo://resnet50", "resnet50-0676ba61.pth"),
    ],
)
def test_where_they_are_looked_for(cache, reference, file):
    assert location(reference) == (cache / file, True)


def test_mmengine_itself_looks_there(cache):
    """The file that is found here is the one that mmengine then loads, without a download."""
    from mmengine.runner.checkpoint import CheckpointLoader

    torch.save({"w": torch.ones(2)}, cache / "resnet50-0676ba61.pth")
    require_pretrained(starts_from("torchvision://resnet50"), download=False)
    loaded = CheckpointLoader.load_checkpoint("torchvision://resnet50", map_location="cpu")
    assert torch.equal(loaded["w"], torch.ones(2))


def test_weights_that_only_kdbench_has_a_name_for(cache):
    """They are never fetched; mmengine loads them from where `kdbench weights add` puts them."""
    from mmengine.model import BaseModule

    config = starts_from("kdbench://efficientnet_lite0")
    for download in (False, True):
        with pytest.raises(UserError, match=r"is not in .*: `kdbench weights list` names its package"):
            require_pretrained(config, download=download)
    file = cache / "kdbench_efficientnet_lite0.pth"
    assert location("kdbench://efficientnet_lite0") == (file, False)
    torch.save({"w": torch.full((2,), 3.0)}, file)
    require_pretrained(config, download=False)
    module = BaseModule(config.backbone.init_cfg)
    module.w = torch.nn.Parameter(torch.zeros(2))
    module.init_weights()
    assert module.w.tolist() == [3.0, 3.0]


@pytest.mark.parametrize(
    "reference", ["torchvision://resnet51", "open-mmlab://nothing", "mmcls://x", "s3://b/x.pth"]
)
def test_weights_that_nobody_knows(reference):
    for download in (False, True):
        with pytest.raises(UserError, match=r"is unknown to mmengine.*`from_scratch=True`"):
            require_pretrained(starts_from(reference), download=download)


def test_a_file_on_this_machine(tmp_path):
    file = tmp_path / "own.pth"
    for download in (False, True):
        with pytest.raises(UserError, match=r"own\.pth, which does not exist"):
            require_pretrained(starts_from(str(file)), download=download)
    torch.save({"w": torch.ones(2)}, file)
    require_pretrained(starts_from(str(file)), download=False)


def test_a_download_that_was_cut(cache):
    (cache / "resnet50-0676ba61.pth").write_bytes(b"PK\x03\x04")
    for download in (False, True):
        with pytest.raises(
            UserError, match=r"resnet50-0676ba61\.pth \(4 bytes\) is truncated or no checkpoint"
        ):
            require_pretrained(starts_from("torchvision://resnet50"), download=download)


def test_every_place_in_a_config_is_found_and_dropped():
    config = ConfigDict(
        pretrained="torchvision://resnet18",
        backbone={
            "init_cfg": [{"type": "Kaiming"}, {"type": "Pretrained", "checkpoint": "torchvision://resnet50"}]
        },
        auxiliary_head=[{"init_cfg": {"type": "Pretrained", "checkpoint": "https://example.org/a.pth"}}],
        neck={"init_cfg": {"type": "Normal"}, "pretrained": None},
    )
    assert initial_weights(config) == [
        "torchvision://resnet18",
        "torchvision://resnet50",
        "https://example.org/a.pth",
    ]
    drop_pretrained(config)
    assert config == ConfigDict(
        backbone={"init_cfg": [{"type": "Kaiming"}]},
        auxiliary_head=[{}],
        neck={"init_cfg": {"type": "Normal"}},
    )

"""ESPNet and ESPNet-C: size, shapes, names in the authors' checkpoints, and their scores on CamVid."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

import kdbench
from kdbench.datasets import camvid
from kdbench.distill.captures import FAMILIES
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.specs import Model, Schedule
from kdbench_models import plugin

prepare_libraries("mmseg")

from mmengine.config import Config  # noqa: E402
from mmseg.apis import init_model  # noqa: E402

from kdbench.openmmlab.captures.families import captures_of, recording  # noqa: E402
from kdbench.openmmlab.models.building import build_model, full_config, parameters_of  # noqa: E402
from kdbench.openmmlab.models.configs import own_modules, read_config, revised_keys  # noqa: E402
from kdbench.openmmlab.weights.checkpoints import load_weights  # noqa: E402
from kdbench.openmmlab.weights.export import export  # noqa: E402

CONFIGS = {card.name: card.config for card in plugin.kdbench_models()}
PARAMETERS = {"espnet-c": 347_145, "espnet": 353_437}
"""Numbers of parameters in the authors' checkpoints, for 11 classes."""
OWN_SIZE = Schedule(iterations=1, batch_size=1, lr=1.0, scale=(480, 360))
NAMES = {
    "level1.conv.weight": "backbone.level1.conv.weight",
    "b2.act.weight": "backbone.b2.act.weight",
    "level2_0.c1.conv.weight": "backbone.level2_0.reduce.weight",
    "level2_0.bn.running_mean": "backbone.level2_0.norm.bn.running_mean",
    "level3_0.act.weight": "backbone.level3_0.norm.act.weight",
    "module.level3.7.d16.conv.weight": "backbone.level3.7.branches.d16.weight",
    "level3.0.bn.bn.bias": "backbone.level3.0.norm.bn.bias",
    "classifier_1.conv.weight": "decode_head.conv_seg.weight",
    "level3_C.conv.weight": "decode_head.lateral.weight",
    "br.running_var": "decode_head.coarse_norm.running_var",
    "up_l3.0.weight": "decode_head.up3.weight",
    "combine_l2_l3.0.bn.weight": "decode_head.merge.0.bn.weight",
    "combine_l2_l3.1.d1.conv.weight": "decode_head.merge.1.branches.d1.weight",
    "combine_l2_l3.1.bn.act.weight": "decode_head.merge.1.norm.act.weight",
    "up_l2.1.bn.weight": "decode_head.up2.1.bn.weight",
    "conv.bn.weight": "decode_head.fuse.bn.weight",
    "classifier.weight": "decode_head.up1.weight",
}
"""Names in the authors' ESPNet -> our names; one of each kind."""


def config_of(name):
    return full_config(Model(config=CONFIGS[name]), camvid.card, OWN_SIZE, pretrained=False)


@pytest.fixture(scope="module", params=sorted(PARAMETERS))
def network(request):
    return request.param, build_model(config_of(request.param), camvid.card, seed=0)


def test_their_size(network):
    name, model = network
    assert parameters_of(model) == PARAMETERS[name]


def test_maps_and_logits_at_a_size_that_no_stride_divides(network):
    name, model = network
    with torch.no_grad():
        maps = model.backbone(torch.zeros(1, 3, 61, 45))
        logits = model.decode_head(maps)
    assert [tuple(one.shape) for one in maps] == [(1, 19, 31, 23), (1, 131, 16, 12), (1, 256, 8, 6)]
    assert tuple(logits.shape) == ((1, 11, 8, 6) if name == "espnet-c" else (1, 11, 62, 46))


def test_methods_see_the_map_that_structured_kd_compares(network):
    _, model = network
    with torch.no_grad(), recording(model) as raw:
        logits = model.decode_head(model.extract_feat(torch.zeros(2, 3, 64, 48)))
    seen = captures_of(model, raw, FAMILIES["segmentation"] - {"auxiliary_logits"})
    assert [tuple(one.shape) for one in seen["neck"]] == [(2, 256, 8, 6)]
    assert seen["pixel_logits"] is logits


def test_the_names_of_the_authors_become_ours(tmp_path):
    model = build_model(config_of("espnet"), camvid.card, seed=0)
    own, keys = model.state_dict(), revised_keys(read_config(CONFIGS["espnet"]))
    theirs = {name: torch.full_like(own[ours], 0.5) for name, ours in NAMES.items()}
    prefixed = {f"module.{name.removeprefix('module.')}": value for name, value in theirs.items()}
    others = {name: value for name, value in own.items() if name not in NAMES.values()}
    torch.save(
        {**{f"module.{name}": value for name, value in others.items()}, **prefixed}, tmp_path / "x.pth"
    )
    assert load_weights(model, tmp_path / "x.pth", keys) == {}
    assert all(bool((model.state_dict()[ours] == 0.5).all()) for ours in NAMES.values())


def test_own_names_stay(network, tmp_path):
    name, model = network
    torch.save(model.state_dict(), tmp_path / "own.pth")
    assert load_weights(model, tmp_path / "own.pth", revised_keys(read_config(CONFIGS[name]))) == {}


def test_an_export_imports_the_network_and_loads_in_plain_mmseg(tmp_path):
    config = config_of("espnet")
    modules = own_modules(read_config(CONFIGS["espnet"]))
    written = export(
        build_model(config, camvid.card, 0), config, camvid.card, OWN_SIZE, tmp_path / "student.pth", modules
    )
    weights, file = map(str, written)
    assert Config.fromfile(file).custom_imports.imports == ["kdbench_models.espnet"]
    model = init_model(file, weights, device="cpu")
    model.load_state_dict(torch.load(weights, weights_only=True)["state_dict"], strict=True)
    assert parameters_of(model) == PARAMETERS["espnet"]


def test_the_package_imports_no_torch():
    code = "import sys, kdbench_models.plugin; print({'torch', 'mmengine'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("espnet-c", "esp-c/BASE56.7.pth", 0.720185),
        ("espnet", "ESP/base_57.8.pth", 0.654481),
    ],
)
def test_the_authors_weights_on_a_few_images(name, file, expected, authors_weights, few_images, tmp_path):
    record = kdbench.evaluate(
        CONFIGS[name],
        "camvid",
        authors_weights / file,
        device="cpu",
        data_root=few_images,
        results=tmp_path / "results",
        work_dir=tmp_path / "runs",
    )
    assert record.score == pytest.approx(expected, abs=1e-4)
    assert record.cost.student_parameters == PARAMETERS[name]
    assert json.loads(record.to_json())["spec"]["scale"] == [480, 360]

"""The networks of the papers: numbers of parameters, maps for odd sizes, and exports that plain OpenMMLab loads."""

from __future__ import annotations

import ast
import importlib
import sys
import zlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torchvision.models import googlenet, vgg16_bn

from kdbench.dataset_cards import Dataset
from kdbench.datasets import camvid, digits
from kdbench.distill.captures import FAMILIES
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.specs import Model, Schedule
from kdbench_models import plugin

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from mmdet.apis import init_detector  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import init_default_scope  # noqa: E402
from mmseg.apis import init_model  # noqa: E402
from mmseg.registry import MODELS  # noqa: E402

from kdbench.openmmlab.models.building import build_model, full_config, parameters_of  # noqa: E402
from kdbench.openmmlab.models.configs import own_modules, read_config  # noqa: E402
from kdbench.openmmlab.weights.export import export  # noqa: E402
from kdbench_models.efficientnet_lite import EfficientNetLite  # noqa: E402
from kdbench_models.frrn import FRRN  # noqa: E402
from kdbench_models.googlenet import ScaledGoogLeNet  # noqa: E402
from kdbench_models.mobilenetv2plus import MobileNetV2Plus, halved  # noqa: E402
from kdbench_models.rfcn import PSRoIExtractor  # noqa: E402
from kdbench_models.vgg import ScaledVGG16  # noqa: E402

CARDS = {card.name: card for card in plugin.kdbench_models() if card.config}
MODULES = {
    module
    for card in CARDS.values()
    for module in own_modules(read_config(card.config, import_modules=False))
}
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "data.md"
PAIRS = {pair.name: pair for pair in plugin.kdbench_pairs()}
IMAGE = (45, 61)
"""Width and height, which no stride divides."""
SCHEDULE = Schedule(iterations=1, batch_size=1, lr=1.0, scale=IMAGE)


def of_classes(dataset: Dataset, count: int) -> Dataset:
    return replace(dataset, classes=tuple(f"class {number}" for number in range(count)))


def config_of(model: Model, dataset: Dataset):
    return full_config(model, dataset, SCHEDULE, pretrained=False)


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        # 8.301 M in LightNet and in structured KD's table
        ("mobilenetv2plus", 19, 8_301_113),
        # 118.1 M in the authors' PyTorch code, with VOC's classes
        ("refinenet-r101", 21, 118_052_437),
        # 3.3 M there; its first block has 1,088 more, for which there are no ImageNet weights
        ("lw-refinenet-mbv2", 21, 3_284_565 - 1_088),
        # 17.75 M and 24.76 M in the authors' code
        ("frrn-a", 19, 17_746_739),
        ("frrn-b", 19, 24_755_635),
    ],
)
def test_a_segmentor_has_the_published_size(name, classes, expected):
    config = config_of(Model(config=CARDS[name].config), of_classes(camvid.card, classes))
    init_default_scope("mmseg")
    with torch.device("meta"):
        assert parameters_of(MODELS.build(config)) == expected


LITE = {
    "lite0": (3_371_008, [0.24555, 0.30603, 0.29226, 0.33154, 0.19429, 0.11167]),
    "lite1": (4_135_680, [0.24555, 0.42713, 0.47406, 0.44729, 0.22043, 0.12894]),
    "lite2": (4_811_072, [0.24555, 0.42713, 0.5094, 0.46433, 0.24514, 0.13838]),
}
"""Size -> parameters without the classifier, and the mean absolute value of each map of the package
efficientnet-lite-pytorch 0.1.0, with ``made`` weights and without a fixed image size."""


def made(name: str, shape: torch.Size) -> torch.Tensor:
    """Return weights that depend only on their name and shape."""
    value = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if len(shape) == 4:
        return value * (2 / value[0].numel()) ** 0.5
    if name.endswith("running_var"):
        return 1 + value.abs()
    return 1 + 0.1 * value if name.endswith("bn.weight") else 0.1 * value


@pytest.mark.parametrize("size", LITE)
def test_efficientnet_lite_gives_the_maps_of_the_package(size):
    net = EfficientNetLite(size, (0, 1, 2, 4, 6, 7)).eval()
    parameters, expected = LITE[size]
    assert parameters_of(net) == parameters
    state = net.state_dict()
    net.load_state_dict(
        {
            name: made(name, value.shape) if value.is_floating_point() else value
            for name, value in state.items()
        }
    )
    with torch.no_grad():
        maps = net(torch.rand(1, 3, *reversed(IMAGE), generator=torch.Generator().manual_seed(0)))
    assert [tuple(one.shape[2:]) for one in maps] == [(31, 23), (16, 12), (8, 6), (4, 3), (2, 2), (2, 2)]
    assert [float(one.abs().mean()) for one in maps] == pytest.approx(expected, abs=2e-5)


def test_what_lies_behind_the_last_map_is_not_built():
    assert parameters_of(EfficientNetLite("lite0", (2,))) < parameters_of(EfficientNetLite("lite0", (4,)))
    assert list(ScaledVGG16(0.1, (1,)).features.state_dict())[-1].startswith("11.")
    assert not hasattr(ScaledGoogLeNet(0.1, (2,)), "inception5a")


def test_vgg_is_torchvisions_at_full_width():
    with torch.device("meta"):
        theirs = vgg16_bn().features.state_dict(prefix="features.")
        ours = ScaledVGG16().state_dict()
    assert {name: value.shape for name, value in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }


def test_a_32nd_of_vgg():
    convolutions = [part for part in ScaledVGG16(1 / 32).modules() if isinstance(part, torch.nn.Conv2d)]
    assert [part.out_channels for part in convolutions] == [2, 2, 4, 4, 8, 8, 8, *[16] * 6]


def test_googlenet_is_torchvisions_at_full_width():
    torch.manual_seed(0)
    theirs, seen = googlenet(weights=None, aux_logits=False, init_weights=False).eval(), []
    for part in (theirs.conv3, theirs.inception3b, theirs.inception4e, theirs.inception5b):
        part.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    ours = ScaledGoogLeNet(1.0, (0, 1, 2, 3)).eval()
    missed = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert (missed.missing_keys, missed.unexpected_keys) == ([], ["fc.weight", "fc.bias"])
    assert parameters_of(ours) == 5_599_904
    image = torch.rand(1, 3, *reversed(IMAGE))
    with torch.no_grad():
        theirs(image)
        assert all(torch.equal(*both) for both in zip(ours(image), seen, strict=True))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (partial(ScaledVGG16, 1 / 32, (0, 2, 4)), [(2, 61, 45), (8, 15, 11), (16, 3, 2)]),
        (partial(ScaledGoogLeNet, 1 / 4, (0, 1, 2)), [(48, 15, 11), (120, 7, 5), (208, 3, 2)]),
        (partial(FRRN, "a", 0.25), [(24, 31, 23), (48, 16, 12), (96, 8, 6), (96, 4, 3), (12, 61, 45)]),
        (
            MobileNetV2Plus,
            [(16, 31, 23), (24, 16, 12), *((channels, 8, 6) for channels in (32, 64, 96, 160, 320))],
        ),
    ],
    ids=["vgg", "googlenet", "frrn", "mobilenetv2plus"],
)
def test_maps_at_a_size_that_no_stride_divides(make, expected):
    net = make()
    net.eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, *reversed(IMAGE)))
    assert [tuple(one.shape[1:]) for one in maps] == expected


@pytest.mark.parametrize("size", [8, 9])
def test_pooling_rounds_up_and_begins_at_even_positions(size):
    row = torch.arange(size, dtype=torch.float32)
    pooled = halved(row.expand(1, 1, size, size))[0, 0, 0]
    assert pooled.tolist() == [min(start + 2, size - 1) for start in range(0, size, 2)]


@pytest.mark.parametrize("layer", ["PSRoIPool", "PSRoIAlign"])
def test_each_cell_of_a_roi_is_pooled_from_its_own_score_map(layer):
    """Each score map has its own index as its value: class, then row, then column of the cell."""
    settings = {"type": layer, "output_size": 3} | ({"sampling_ratio": 2} if layer == "PSRoIAlign" else {})
    extractor = PSRoIExtractor(settings, num_classes=2, featmap_strides=[16])
    count = (2 + 1 + 4) * 9
    maps = torch.arange(count, dtype=torch.float32)[None, :, None, None].expand(1, count, 8, 8)
    pooled = extractor((maps, None), torch.tensor([[0.0, 16.0, 16.0, 80.0, 96.0]]))
    assert torch.equal(pooled, torch.arange(count, dtype=torch.float32).reshape(1, 7, 3, 3))


@pytest.mark.parametrize(
    "pair",
    [
        "bccd-gfl-lite2-lite0",
        "bccd-rfcn-vgg",
        "bccd-rfcn-googlenet",
        "camvid-refinenet",
        "camvid-frrn",
        "camvid-mobilenetv2plus",
    ],
)
def test_an_export_loads_in_the_plain_library(pair, tmp_path):
    student = PAIRS[pair].student
    dataset = digits.detection if PAIRS[pair].task == "detection" else digits.segmentation
    config, modules = config_of(student, dataset), own_modules(read_config(student.config))
    model = build_model(config, dataset, 0).eval()
    written = export(model, config, dataset, SCHEDULE, tmp_path / "student.pth", modules)
    weights, file = map(str, written)
    assert Config.fromfile(file).custom_imports.imports == modules
    load = init_detector if dataset.task == "detection" else init_model
    loaded = load(file, weights, device="cpu")
    loaded.load_state_dict(torch.load(weights, weights_only=True)["state_dict"], strict=True)
    image = torch.rand(1, 3, *reversed(IMAGE))
    with torch.no_grad():
        ours, theirs = (maps_of(one, image) for one in (model, loaded))
    assert all(torch.equal(*both) for both in zip(ours, theirs, strict=True))


def maps_of(model, image):
    """Return the maps that a detector's heads read, or a segmentor's logits, which must have all classes."""
    features = model.extract_feat(image)
    return [model.decode_head(features)] if hasattr(model, "decode_head") else features


def test_the_guide_has_every_network_and_its_pairs():
    """The table of the guide agrees with the registry for each model."""
    lines = [line.strip("| \n").split(" | ") for line in GUIDE.read_text().splitlines() if line[:3] == "| `"]
    told = {(line[0], line[2], line[3]) for line in lines if line[2:] and line[2] in FAMILIES}
    known = {
        (f"`{card.name}`", pair.family, f"`{pair.name}`")
        for pair in PAIRS.values()
        for card in CARDS.values()
        if card.config in (pair.teacher.config, pair.student.config)
    }
    assert {entry[0] for entry in told} == {f"`{name}`" for name in CARDS}
    assert told <= known


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_network_needs_nothing_of_kdbench(module):
    """An export loads with kdbench_models installed, but without kdbench."""
    tree = ast.parse(Path(importlib.import_module(module).__file__).read_text())
    named = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    named |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert (
        len(ast.parse(Path(plugin.__file__).with_name("__init__.py").read_text()).body) == 1
    )  # the docstring
    packages = {str(name).partition(".")[0] for name in named}
    assert packages - sys.stdlib_module_names <= {
        "torch",
        "torchvision",
        "mmengine",
        "mmcv",
        "mmdet",
        "mmseg",
    }

"""timm's and torchvision's networks as feature teachers: maps, normalisation, weights, errors."""

from __future__ import annotations

import lacking
import pytest
import torch

from kdbench.errors import UserError
from kdbench.openmmlab.models.features import FeatureTeacher
from kdbench.openmmlab.weights.checkpoints import load_weights
from kdbench.plugins import registry

TIMM = "timm:test_resnet.r160_in1k"
TORCHVISION = "torchvision:squeezenet1_1"
IMAGENET = [123.675, 116.28, 103.53]


@pytest.fixture(scope="module")
def timm():
    return lacking.extra("timm", "timm is not installed")


def strides(teacher, size=64):
    with torch.no_grad():
        found = teacher.eval().extract_feat(torch.zeros(1, 3, size, size))
    return [size // level.shape[-1] for level in found]


def test_a_network_of_timm_gives_the_maps_asked_for(timm):
    teacher = FeatureTeacher(TIMM, [2, 3, 4])
    assert strides(teacher) == [8, 16, 32]
    assert strides(FeatureTeacher(TIMM, [1])) == [4]
    assert strides(FeatureTeacher(TIMM, [-3, -2])) == [8, 16]
    assert teacher.origin.startswith(
        f"{TIMM} of timm {timm.__version__}: maps 2, 3, 4; images of mean 127.5, 127.5, 127.5 and "
    )


def test_each_network_has_its_own_normalisation(timm):
    for name, mean in (("convnext_atto", IMAGENET), ("vit_tiny_patch16_224", [127.5] * 3)):
        preprocessor = FeatureTeacher(f"timm:{name}", [1]).data_preprocessor
        assert preprocessor.mean.flatten().tolist() == pytest.approx(mean)
        assert preprocessor._channel_conversion  # red first


def test_the_maps_are_those_of_timm_with_the_weights_of_a_whole_classifier(timm, tmp_path):
    whole = timm.create_model(TIMM.partition(":")[2], pretrained=False).eval()
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "whole.pth")
    teacher = FeatureTeacher(TIMM, [2, 3]).eval()
    assert load_weights(teacher.network, tmp_path / "whole.pth") == {}
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = whole.forward_intermediates(images, indices=[2, 3], intermediates_only=True)
        for ours, theirs in zip(teacher.extract_feat(images), expected, strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.release
@pytest.mark.parametrize(
    ("name", "indices", "arguments", "expected"),
    [
        ("convnext_tiny", [1, 2, 3], {}, [8, 16, 32]),
        ("swin_tiny_patch4_window7_224", [1, 2, 3], {"img_size": [64, 64]}, [8, 16, 32]),
        ("vit_small_patch14_dinov2", [11], {"img_size": [56, 56]}, [14]),
        ("vit_small_patch16_dinov3", [11], {}, [16]),
        ("efficientnet_lite0", [2, 3, 4], {}, [8, 16, 32]),
    ],
)
def test_the_networks_that_people_distil_from(timm, name, indices, arguments, expected):
    size = arguments.get("img_size", [64])[0]
    assert strides(FeatureTeacher(f"timm:{name}", indices, **arguments), size) == expected


def test_a_classifier_of_torchvision():
    names = ["features.5", "features.8"]
    teacher = FeatureTeacher(TORCHVISION, names)
    assert len(teacher.eval().extract_feat(torch.zeros(1, 3, 64, 64))) == 2
    assert teacher.data_preprocessor.mean.flatten().tolist() == pytest.approx(IMAGENET)
    assert teacher.origin.startswith(f"{TORCHVISION} of torchvision ")


@pytest.mark.parametrize(
    ("features", "indices", "arguments", "told"),
    [
        (
            "timm:convnext_tinny",
            [1],
            {},
            "timm has no network 'convnext_tinny'. Did you mean 'convnext_tiny'",
        ),
        (TIMM, [9], {}, r"does not take out_indices \[9\]"),
        (TIMM, [1], {"depht": 3}, "does not take out_indices .*'depht'"),
        (TIMM, None, {}, "needs a list of the maps"),
        ("timn:resnet18", [1], {}, "unknown model 'timn'. Did you mean 'timm'"),
        ("espnet:x", [1], {}, "model 'espnet' of kdbench .* is no source of feature teachers"),
        ("torchvision:resnet51", ["layer1"], {}, "torchvision has no classifier 'resnet51'"),
        (TORCHVISION, ["features.77"], {}, r"does not take \['features.77'\]"),
    ],
)
def test_a_mistake_is_one_line(timm, features, indices, arguments, told):
    with pytest.raises(UserError, match=told) as raised:
        FeatureTeacher(features, indices, **arguments)
    assert "\n" not in str(raised.value)


def test_a_source_of_a_plugin(add_plugin, monkeypatch):
    add_plugin(
        "my-zoo",
        """
        from kdbench.api import ModelCard

        def encoder(name, out_indices, width=4):
            from torch import nn
            from kdbench.api import FeatureNetwork

            network = nn.Conv2d(3, width, 8, stride=8)
            return FeatureNetwork(network, lambda images: [network(images)], (1, 2, 3), (4, 5, 6), "my-zoo 1.0")

        @hookimpl
        def kdbench_models():
            yield ModelCard(name="my-zoo", title="Mine", task=None, features="my_zoo:encoder")
            yield ModelCard(name="nothing", title="Returns nothing", task=None, features="builtins:print")
        """,
    )
    teacher = FeatureTeacher("my-zoo:any", [0], width=6)
    assert teacher.extract_feat(torch.zeros(1, 3, 32, 32))[0].shape == (1, 6, 4, 4)
    assert teacher.data_preprocessor.std.flatten().tolist() == [4, 5, 6]
    assert registry().model("my-zoo").value.task is None
    with pytest.raises(UserError, match=r"returned no kdbench\.api\.FeatureNetwork"):
        FeatureTeacher("nothing:any", [0])

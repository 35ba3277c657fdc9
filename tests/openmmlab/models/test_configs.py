from __future__ import annotations

from dataclasses import replace

import pytest
from mmengine.config import ConfigDict

from kdbench.datasets import camvid, digits, voc
from kdbench.errors import UserError
from kdbench.openmmlab.models.configs import (
    config_file,
    family_of,
    model_config,
    read_config,
    set_key,
    walk,
)
from kdbench.openmmlab.models.resolved import model_hash
from kdbench.openmmlab.setup import prepare_libraries
from kdbench.pairs.small import faster_rcnn, gfl, pspnet
from kdbench.plugins import registry
from kdbench.specs import Model, Schedule, narrow

prepare_libraries("mmdet")
prepare_libraries("mmseg")

from kdbench.openmmlab.models.building import build_model, full_config  # noqa: E402

FASTER = "mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
PSPNET = "mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py"


def refused(model, dataset=digits.detection):
    with pytest.raises(UserError) as caught:
        model_config(model, dataset, pretrained=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(tmp_path, text, name="mine.py"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def own(tmp_path, **model):
    return Model(config=written(tmp_path, f"model = {model!r}\n"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = dict(type='X'\n", "was never closed"),
        ("model = undefined\n", "undefined"),
        ("model = dict(a=1, a=2)\n", "keyword argument repeated"),
        ("_base_ = './absent.py'\n", "absent.py"),
        ("raise RuntimeError()\n", "RuntimeError"),
    ],
)
def test_a_config_that_does_not_parse(tmp_path, text, reason):
    told = refused(Model(config=written(tmp_path, text)))
    assert "mine.py' does not parse: " in told
    assert reason in told


@pytest.mark.parametrize(
    ("base", "kind"),
    [
        ("mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py", "EncoderDecoder"),
        ("mmseg::_base_/models/ocrnet_hr18.py", "CascadeEncoderDecoder"),
        ("mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", "RetinaNet"),
    ],
)
def test_a_config_inherits_from_either_library(tmp_path, base, kind):
    written(tmp_path, f"_base_ = ['{base}']\nmodel = dict(own=1)\n", "between.py")
    config = read_config(written(tmp_path, "_base_ = './between.py'\n"))
    assert (config.model.type, config.model.own) == (kind, 1)


@pytest.mark.parametrize("imports", ["['absent_backbone']", "'absent_backbone'", "['needs_absent']"])
def test_custom_imports_that_fail_name_the_module(tmp_path, monkeypatch, imports):
    monkeypatch.syspath_prepend(str(tmp_path))
    written(tmp_path, "import absent_backbone\n", "needs_absent.py")
    told = refused(
        Model(config=written(tmp_path, f"custom_imports = dict(imports={imports})\nmodel = dict()\n"))
    )
    assert (
        "its custom_imports fail (No module named 'absent_backbone'): put the folder of that module on"
        in told
    )


def test_proposals_that_are_queries_are_of_no_known_family():
    sparse = Model(config="mmdet::sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py")
    config = model_config(sparse, digits.detection, pretrained=False)
    with pytest.raises(
        UserError, match=r"^model '\w+' is of no known family \(two-stage: .* dense: a convolutional"
    ):
        family_of(config)


def test_a_detr_gives_no_more_detections_than_it_has_queries():
    """mmdet fails where it is asked for more."""
    few = Model(config="mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py", edits={"num_queries": 20})
    assert model_config(few, digits.detection, pretrained=False).test_cfg.max_per_img == 20
    whole = few.model_copy(update={"edits": {}})
    assert model_config(whole, digits.detection, pretrained=False).test_cfg.max_per_img == 300


def test_a_file_that_is_no_config(tmp_path):
    assert "does not parse" in refused(Model(config=written(tmp_path, "hello", "mine.txt")))
    path = tmp_path / "binary.py"
    path.write_bytes(b"\x00\xff\xfe")
    assert "does not parse" in refused(Model(config=str(path)))


@pytest.mark.parametrize("text", ["lr = 1\n", "model = 'resnet'\n", ""])
def test_a_config_without_a_model(tmp_path, text):
    assert "has no `model`" in refused(Model(config=written(tmp_path, text)))


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("mmpretrain::resnet/resnet18.py", "'mmpretrain' is not installed: write mmdet::FILE"),
        ("::x.py", "'' is not installed: write mmdet::FILE"),
        ("kdbench_models::configs/espnte.py", "is not in kdbench_models's configs: check the name"),
        ("mmdet::faster_rcnn/faster-rcnn_r5_fpn.py", "is not in mmdet's configs: check the name"),
        ("mmseg::", "is not in mmseg's configs: check the name"),
        ("absent.py", "is not in this folder: check the name"),
    ],
)
def test_a_reference_to_nothing(reference, told):
    assert told in refused(Model(config=reference))
    with pytest.raises(UserError):
        config_file(reference)


@pytest.mark.parametrize(
    ("config", "dataset", "told"),
    [
        (
            PSPNET,
            digits.detection,
            "is a segmentation model, but dataset 'digits' is for detection: give an mmdet",
        ),
        (
            FASTER,
            camvid.card,
            "is a detection model, but dataset 'camvid' is for segmentation: give an mmseg",
        ),
    ],
)
def test_a_model_of_the_other_library(config, dataset, told):
    assert told in refused(Model(config=config), dataset)


@pytest.mark.parametrize(
    "key", ["backbonne.depth", "neck.in_channels.9.x", "neck.in_channels.x.y", "neck.type.x.y"]
)
def test_an_edit_of_nothing(key):
    assert f"key '{key}': there is no '" in refused(Model(config=FASTER, edits={key: 1}))


@pytest.mark.parametrize("key", ["neck.in_channels.9", "neck.in_channels.x", "neck.type.x"])
def test_an_edit_whose_last_part_does_not_fit(key):
    assert f"key '{key}': " in refused(Model(config=FASTER, edits={key: 1}))


def test_edits_of_dicts_and_lists():
    config = ConfigDict(
        head=[{"a": 1}, {"a": 2}], neck={"norm": {"type": "GN", "groups": 32}, "sizes": [1, 2, 3]}
    )
    set_key(config, "head.1.a", 5)
    set_key(config, "neck.norm", {"type": "BN"})
    set_key(config, "neck.sizes.0", 9)
    set_key(config, "neck.new", "value")
    expected = {
        "head": [{"a": 1}, {"a": 5}],
        "neck": {"norm": {"type": "BN"}, "sizes": [9, 2, 3], "new": "value"},
    }
    assert config == expected
    assert config.neck.norm.type == "BN"


@pytest.mark.parametrize(
    ("config", "dataset", "count"),
    [
        (FASTER, voc.voc, 20),
        (PSPNET, camvid.card, 11),
        ("mmdet::gfl/gfl_r50_fpn_1x_coco.py", digits.detection, 10),
    ],
)
def test_the_number_of_classes_follows_the_dataset(config, dataset, count):
    adapted = model_config(Model(config=config), dataset, pretrained=False)
    numbers = [part["num_classes"] for part in walk(adapted) if "num_classes" in part]
    assert numbers
    assert set(numbers) == {count}


def test_the_heads_of_a_cascade_follow_too():
    cascade = Model(config="mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py")
    adapted = model_config(cascade, digits.detection, pretrained=False)
    assert [head.num_classes for head in adapted.roi_head.bbox_head] == [10, 10, 10]


def test_the_ignored_value_follows_the_dataset():
    adapted = model_config(Model(config=PSPNET), camvid.card, pretrained=False)
    assert (adapted.decode_head.ignore_index, adapted.auxiliary_head.ignore_index) == (11, 11)
    assert adapted.data_preprocessor.seg_pad_val == 11
    alone = pspnet(18, 8, 16, [1.0] * 11)
    adapted = model_config(alone, replace(digits.segmentation, ignore_index=77), pretrained=False)
    assert adapted.decode_head.ignore_index == 77


def test_synchronised_normalisation_becomes_plain():
    adapted = model_config(Model(config=PSPNET), camvid.card, pretrained=False)
    types = {part.get("type") for part in walk(adapted)}
    assert "BN" in types
    assert "SyncBN" not in types


@pytest.mark.parametrize(("config", "dataset"), [(FASTER, voc.voc), (PSPNET, camvid.card)])
def test_initial_weights_are_dropped_unless_asked_for(config, dataset):
    kept = model_config(Model(config=config), dataset, pretrained=True)
    dropped = model_config(Model(config=config), dataset, pretrained=False)
    assert "://" in str(kept)
    assert "://" not in str(dropped)
    assert dropped.backbone.depth == kept.backbone.depth == 50


def test_other_initialisations_stay(tmp_path):
    backbone = {"init_cfg": {"type": "Kaiming", "layer": "Conv2d"}}
    adapted = model_config(
        own(tmp_path, bbox_head={"num_classes": 3}, backbone=backbone), voc.voc, pretrained=False
    )
    assert adapted.backbone == backbone


def test_initial_weights_among_other_initialisations_are_dropped(tmp_path):
    parts = [{"type": "Kaiming"}, {"type": "Pretrained", "checkpoint": "torchvision://resnet18"}]
    model = own(tmp_path, bbox_head={"num_classes": 3}, backbone={"init_cfg": parts})
    assert model_config(model, voc.voc, pretrained=False).backbone.get("init_cfg") == [{"type": "Kaiming"}]


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ({"decode_head": {}, "backbone": {}}, "segmentation"),
        ({"rpn_head": {}, "roi_head": {}}, "two-stage"),
        ({"bbox_head": {}}, "dense"),
        ({"bbox_head": {}, "encoder": {}, "decoder": {}}, "query"),
    ],
)
def test_families(model, family):
    assert family_of(ConfigDict(model)) == family


@pytest.mark.parametrize(
    "model", [{"encoder": {}}, {"bbox_head": {}, "encoder": {}, "decoder": {}, "language_model": {}}]
)
def test_an_unknown_family(model):
    with pytest.raises(
        UserError, match=r"model 'DETR' is of no known family .*two-stage: rpn_head and roi_head"
    ):
        family_of(ConfigDict(type="DETR", **model))


SMALL = {
    "gfl": (gfl(18, 8, 16, first=0, norm="head"), digits.detection),
    "faster": (faster_rcnn(18, 8, 16, first=1, hidden=32), digits.detection),
    "faster-50": (faster_rcnn(50, 4, 8, first=0, hidden=16), voc.voc),
    "pspnet": (pspnet(18, 8, 16, [1.0] * 11), digits.segmentation),
    "pspnet-50": (pspnet(50, 4, 8, [1.0] * 11), camvid.card),
}


@pytest.mark.parametrize("name", SMALL)
def test_small_models_build_and_follow_their_seed(name):
    model, dataset = SMALL[name]
    schedule = Schedule(iterations=1, batch_size=1, lr=0.1, scale=(32, 32))
    config = full_config(model, dataset, schedule, pretrained=False)
    first, again, other = (build_model(config, dataset, seed).state_dict() for seed in (0, 0, 1))
    assert all(first[key].equal(again[key]) for key in first)
    assert any(not first[key].equal(other[key]) for key in first)


def test_a_segmentors_padded_size_is_its_crop_or_its_image():
    schedule = Schedule(iterations=1, batch_size=1, lr=0.1, scale=(64, 48))
    cropped = schedule.model_copy(update={"crop": (20, 30)})
    for recipe, size in ((schedule, (48, 64)), (cropped, (20, 30))):
        config = full_config(pspnet(18, 8, 16, [1.0] * 11), digits.segmentation, recipe, pretrained=False)
        assert tuple(config.data_preprocessor.size) == size


PAIRS = sorted(registry().pairs)


def test_there_are_pairs():
    assert PAIRS


@pytest.mark.parametrize("name", PAIRS)
def test_every_shipped_pair_builds_in_its_family(name):
    """Parameters and FLOPs are counted without values, so full-size models are quick too."""
    from kdbench.openmmlab.complexity import describe

    pair = registry().pair(name).value
    dataset = registry().dataset(pair.dataset).value
    assert pair.task == dataset.task
    for model, schedule in ((pair.teacher, pair.teacher_schedule), (pair.student, pair.schedule)):
        for pretrained in {False, pair.pretrained}:
            assert family_of(full_config(model, dataset, schedule, pretrained=pretrained)) == pair.family
    figures = describe(pair, dataset)
    assert 0 < figures["student"]["parameters"] < figures["teacher"]["parameters"]
    assert 0 < figures["student"]["flops"] < figures["teacher"]["flops"]


NARROW = {
    "retinanet": ("mmdet::retinanet/retinanet_r18_fpn_1x_coco.py", digits.detection),
    "faster": (FASTER, digits.detection),
    "gfl": ("mmdet::gfl/gfl_r50_fpn_1x_coco.py", digits.detection),
    "pspnet": (PSPNET, digits.segmentation),
}


@pytest.mark.parametrize("name", NARROW)
def test_a_narrow_model_builds_and_has_a_sixteenth_of_the_weights(name):
    config, dataset = NARROW[name]
    schedule = Schedule(iterations=1, batch_size=1, lr=0.1, scale=(32, 32))
    sizes = []
    for model in (narrow(config, 16), Model(config=config)):
        built = build_model(full_config(model, dataset, schedule, pretrained=False), dataset, 0)
        sizes.append(sum(parameter.numel() for parameter in built.parameters()))
        thawed = all(parameter.requires_grad for parameter in built.parameters())
        assert thawed or model.width is None
    assert sizes[0] < sizes[1] / 12


def test_edits_come_after_the_width_and_both_are_hashed():
    config = model_config(narrow(FASTER, 16, {"neck.out_channels": 24}), digits.detection, pretrained=False)
    assert config.neck.in_channels == [64, 128, 256, 512]
    assert (config.neck.out_channels, config.rpn_head.in_channels) == (24, 64)
    assert model_hash(narrow(FASTER, 16), pretrained=False) != model_hash(
        Model(config=FASTER), pretrained=False
    )
    assert "width" not in Model(config=FASTER).model_dump(mode="json")


def test_a_width_needs_a_resnet():
    told = refused(Model(config="mmdet::ssd/ssd300_coco.py", width=16))
    assert told == "backbone 'SSDVGG' is no ResNet: give its channels as edits, without a width."

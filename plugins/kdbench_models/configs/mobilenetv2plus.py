"""MobileNetV2Plus of LightNet, from ImageNet weights."""

_base_ = "mmseg::_base_/models/fcn_r50-d8.py"

custom_imports = {"imports": ["kdbench_models.mobilenetv2plus"], "allow_failed_imports": False}
default_scope = "mmseg"

model = {
    "pretrained": "mmcls://mobilenet_v2",
    "backbone": {"_delete_": True, "type": "MobileNetV2Plus"},
    "decode_head": {
        "_delete_": True,
        "type": "MobileNetV2PlusHead",
        "num_classes": 19,
        "align_corners": False,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
    },
    "auxiliary_head": None,
}

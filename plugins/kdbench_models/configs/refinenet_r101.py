"""RefineNet (Lin et al., CVPR 2017) on ResNet-101, from ImageNet weights."""

_base_ = "mmseg::_base_/models/fcn_r50-d8.py"

custom_imports = {"imports": ["kdbench_models.refinenet"], "allow_failed_imports": False}
default_scope = "mmseg"

model = {
    "pretrained": "torchvision://resnet101",
    "backbone": {
        "_delete_": True,
        "type": "ResNet",
        "depth": 101,
        "norm_cfg": {"type": "BN", "requires_grad": True},
    },
    "decode_head": {
        "_delete_": True,
        "type": "RefineNetHead",
        "in_channels": [256, 512, 1024, 2048],
        "in_index": [0, 1, 2, 3],
        "channels": 256,
        "dropout_ratio": 0.5,
        "num_classes": 19,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
    },
    "auxiliary_head": None,
}

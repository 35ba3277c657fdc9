"""R-FCN on VGG-16 with BatchNorm, from torchvision's ImageNet weights.

RPN and score maps both look at its last stage, at stride 16.
"""

_base_ = "rfcn_r50.py"

custom_imports = {
    "imports": ["kdbench_models.rfcn", "kdbench_models.vgg"],
    "allow_failed_imports": False,
}

model = {
    "data_preprocessor": {
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
        "bgr_to_rgb": True,
        "pad_size_divisor": 16,
    },
    "backbone": {
        "_delete_": True,
        "type": "ScaledVGG16",
        "width": 1.0,
        "out_indices": (4,),
        "init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://vgg16_bn"},
    },
    "neck": {"in_channels": [512]},
    "rpn_head": {"in_channels": 512},
}

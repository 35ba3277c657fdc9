"""R-FCN on GoogLeNet with BatchNorm up to block 4e, at stride 16.

It starts from torchvision's ImageNet weights, which expect images of -1 to 1.
"""

_base_ = "rfcn_vgg16.py"

custom_imports = {
    "imports": ["kdbench_models.rfcn", "kdbench_models.googlenet"],
    "allow_failed_imports": False,
}

model = {
    "data_preprocessor": {"mean": [127.5] * 3, "std": [127.5] * 3},
    "backbone": {
        "_delete_": True,
        "type": "ScaledGoogLeNet",
        "width": 1.0,
        "out_indices": (2,),
        "init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://googlenet"},
    },
    "neck": {"in_channels": [832]},
    "rpn_head": {"in_channels": 832},
}

"""GFL (Li et al., NeurIPS 2020) on EfficientNet-Lite0, from ImageNet weights, which expect images of -1 to 1."""

_base_ = "mmdet::gfl/gfl_r50_fpn_1x_coco.py"

custom_imports = {"imports": ["kdbench_models.efficientnet_lite"], "allow_failed_imports": False}

model = {
    "data_preprocessor": {"mean": [127.0] * 3, "std": [128.0] * 3},
    "backbone": {
        "_delete_": True,
        "type": "EfficientNetLite",
        "size": "lite0",
        "out_indices": (2, 4, 6),
        "init_cfg": {"type": "Pretrained", "checkpoint": "kdbench://efficientnet_lite0"},
    },
    "neck": {"in_channels": [40, 112, 320], "start_level": 0},
}

"""Light-Weight RefineNet (Nekrasov et al., BMVC 2018) on MobileNetV2, from ImageNet weights."""

_base_ = "refinenet_r101.py"

model = {
    "pretrained": "mmcls://mobilenet_v2",
    "backbone": {"_delete_": True, "type": "MobileNetV2", "out_indices": (1, 2, 3, 4, 5, 6)},
    "decode_head": {
        "in_channels": [24, 32, 64, 96, 160, 320],
        "in_index": [0, 1, 2, 3, 4, 5],
        "groups": [[0], [1], [2, 3], [4, 5]],
        "coarsest_channels": 256,
        "light": True,
        "dropout_ratio": 0.0,
    },
}

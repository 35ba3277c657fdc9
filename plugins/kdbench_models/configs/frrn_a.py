"""FRRN-A (Pohlen et al., CVPR 2017), from scratch, trained on the 512 x 64 hardest pixels of an image."""

_base_ = "mmseg::_base_/models/fcn_r50-d8.py"

custom_imports = {"imports": ["kdbench_models.frrn"], "allow_failed_imports": False}
default_scope = "mmseg"

model = {
    "pretrained": None,
    "backbone": {"_delete_": True, "type": "FRRN", "plan": "a"},
    "decode_head": {
        "_delete_": True,
        "type": "FCNHead",
        "in_channels": 48,
        "in_index": -1,
        "channels": 48,
        "num_convs": 0,
        "concat_input": False,
        "dropout_ratio": 0,
        "num_classes": 19,
        "align_corners": False,
        "sampler": {"type": "OHEMPixelSampler", "min_kept": 512 * 64},
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
    },
    "auxiliary_head": None,
}

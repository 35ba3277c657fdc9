"""ESPNet-C (Mehta et al., ECCV 2018) for CamVid at 480 x 360, with the preprocessing of structured KD's authors."""

custom_imports = {"imports": ["kdbench_models.espnet"], "allow_failed_imports": False}
default_scope = "mmseg"

model = {
    "type": "EncoderDecoder",
    "data_preprocessor": {
        "type": "SegDataPreProcessor",
        "mean": [73.18188461, 82.93553322, 72.41519599],
        "std": [45.3199, 46.1528, 44.9148],
        "bgr_to_rgb": False,
        "pad_val": 0,
        "seg_pad_val": 255,
        "size": (360, 480),
    },
    "backbone": {"type": "ESPNetEncoder"},
    "decode_head": {
        "type": "ESPNetCHead",
        "num_classes": 11,
        "align_corners": True,
        "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
    },
    "train_cfg": {},
    "test_cfg": {"mode": "whole"},
}

test_pipeline = [
    {"type": "LoadImageFromFile"},
    {"type": "Resize", "scale": (480, 360), "keep_ratio": False},
    {"type": "LoadAnnotations"},
    {"type": "PackSegInputs"},
]

# From the names in the checkpoints of structured KD's authors to the names here, in this order; both networks.
revise_keys = [
    (r"^module\.", ""),
    (r"\.c1\.conv\.", ".reduce."),
    (r"\.(d\d+)\.conv\.", r".branches.\1."),
    (r"\.bn\.(bn|act)\.", r".norm.\1."),
    (r"^(level[23]_0)\.(bn|act)\.", r"\1.norm.\2."),
    (r"^(level[123](_0)?|b[123])\.", r"backbone.\1."),
    (r"^classifier(_1)?\.conv\.", "decode_head.conv_seg."),
    (r"^br\.", "decode_head.coarse_norm."),
    (r"^up_l3\.0\.", "decode_head.up3."),
    (r"^level3_C\.conv\.", "decode_head.lateral."),
    (r"^combine_l2_l3\.", "decode_head.merge."),
    (r"^up_l2\.", "decode_head.up2."),
    (r"^conv\.", "decode_head.fuse."),
    (r"^classifier\.", "decode_head.up1."),
]

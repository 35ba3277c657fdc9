"""GFL on EfficientNet-Lite2."""

_base_ = "gfl_efficientnet_lite0.py"

model = {
    "backbone": {"size": "lite2", "init_cfg": {"checkpoint": "kdbench://efficientnet_lite2"}},
    "neck": {"in_channels": [48, 120, 352]},
}

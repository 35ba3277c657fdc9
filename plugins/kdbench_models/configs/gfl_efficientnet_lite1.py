"""GFL on EfficientNet-Lite1."""

_base_ = "gfl_efficientnet_lite0.py"

model = {
    "backbone": {"size": "lite1", "init_cfg": {"checkpoint": "kdbench://efficientnet_lite1"}},
    "neck": {"in_channels": [40, 112, 320]},
}

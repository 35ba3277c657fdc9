"""R-FCN on GoogLeNet with a quarter of the channels: our reading of Mimic's 1/4-Inception."""

_base_ = "rfcn_googlenet.py"

model = {
    "backbone": {"width": 1 / 4, "init_cfg": None},
    "neck": {"in_channels": [208], "out_channels": 256},
    "rpn_head": {"in_channels": 208, "feat_channels": 128},
    "roi_head": {"bbox_head": {"in_channels": 256}},
}

"""R-FCN on VGG-1-32: a 32nd of the channels throughout (Wei et al., ECCV 2018)."""

_base_ = "rfcn_vgg16.py"

model = {
    "backbone": {"width": 1 / 32, "init_cfg": None},
    "neck": {"in_channels": [16], "out_channels": 32},
    "rpn_head": {"in_channels": 16, "feat_channels": 16},
    "roi_head": {"bbox_head": {"in_channels": 32}},
}

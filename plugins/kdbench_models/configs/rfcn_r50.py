"""R-FCN (Dai et al., NeurIPS 2016) on ResNet-50, whose last stage is dilated."""

_base_ = "mmdet::_base_/models/faster-rcnn_r50-caffe-dc5.py"

custom_imports = {"imports": ["kdbench_models.rfcn"], "allow_failed_imports": False}
default_scope = "mmdet"

model = {
    "type": "RFCN",
    "backbone": {"out_indices": (2, 3)},
    "neck": {
        "type": "ChannelMapper",
        "in_channels": [2048],
        "kernel_size": 1,
        "out_channels": 1024,
        "act_cfg": {"type": "ReLU"},
    },
    "rpn_head": {"type": "LastMapRPNHead", "in_channels": 1024, "feat_channels": 512},
    "roi_head": {
        "bbox_roi_extractor": {
            "_delete_": True,
            "type": "PSRoIExtractor",
            "num_classes": 80,
            "featmap_strides": [16],
            "roi_layer": {"type": "PSRoIPool", "output_size": 7},
        },
        "bbox_head": {
            "_delete_": True,
            "type": "VotingBBoxHead",
            "in_channels": 1024,
            "roi_feat_size": 7,
            "num_classes": 80,
            "bbox_coder": {
                "type": "DeltaXYWHBBoxCoder",
                "target_means": [0.0, 0.0, 0.0, 0.0],
                "target_stds": [0.1, 0.1, 0.2, 0.2],
            },
            "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
            "loss_bbox": {"type": "SmoothL1Loss", "beta": 1.0, "loss_weight": 1.0},
        },
    },
}

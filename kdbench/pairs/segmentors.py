"""Published segmentors on Cityscapes, ADE20K and VOC 2012, with OpenMMLab's recipes: ResNet-101 to ResNet-18."""

from __future__ import annotations

from typing import Any

from kdbench.specs import Model, Pair, Schedule

CROP = (512, 512)
RECIPES: dict[str, dict[str, Any]] = {
    "cityscapes": {"iterations": 40_000, "batch_size": 8, "scale": (2048, 1024)},
    "ade20k": {"iterations": 160_000, "batch_size": 16, "scale": (2048, 512), "keep_ratio": True},
    "voc12seg-aug": {"iterations": 40_000, "batch_size": 16, "scale": (2048, 512), "keep_ratio": True},
    "voc12seg": {"iterations": 20_000, "batch_size": 16, "scale": (2048, 512), "keep_ratio": True},
}
"""Dataset -> changes to mmseg's recipe. Cityscapes is cropped as in structured KD (Liu et al., CVPR 2019)."""
TRAINED_ON = {
    "cityscapes": "4xb2-40k_cityscapes-512x1024",
    "ade20k": "4xb4-160k_ade20k-512x512",
    "voc12seg-aug": "4xb4-40k_voc12aug-512x512",
    "voc12seg": "4xb4-40k_voc12aug-512x512",
}
"""Dataset -> ending of the names of the teacher's config and of its weights in mmseg's model zoo."""
TITLES = {"pspnet": "PSPNet", "deeplabv3plus": "DeepLabV3+"}


def _pair(dataset: str, name: str) -> Pair:
    common: dict[str, Any] = {
        "lr": 0.01,
        "weight_decay": 5e-4,
        "decay": "poly",
        "flip": 0.5,
        "validations": 5,
    }
    schedule = Schedule(resize_range=(0.5, 2.0), crop=CROP, **common, **RECIPES[dataset])
    return Pair(
        name=f"{dataset}-{name}-r101-r18",
        title=f"{TITLES[name]}, ResNet-101 to ResNet-18",
        dataset=dataset,
        task="segmentation",
        family="segmentation",
        teacher=Model(config=f"mmseg::{name}/{name}_r101-d8_{TRAINED_ON[dataset]}.py"),
        student=Model(config=f"mmseg::{name}/{name}_r18-d8_4xb2-80k_cityscapes-512x1024.py"),
        schedule=schedule,
        teacher_schedule=schedule,
        pretrained=True,
    )


PAIRS = [_pair(dataset, name) for dataset in RECIPES for name in TITLES]

"""Cards of the libraries whose networks can be feature teachers."""

from __future__ import annotations

from kdbench.api import ModelCard

TIMM = ModelCard(
    name="timm",
    title="Networks of timm, as teachers that give feature maps (kdbench[timm])",
    task=None,
    link="https://github.com/huggingface/pytorch-image-models",
    features="kdbench_models.timm_features:network",
)
TORCHVISION = ModelCard(
    name="torchvision",
    title="Classifiers of torchvision, as teachers that give feature maps",
    task=None,
    link="https://github.com/pytorch/vision",
    features="kdbench_models.torchvision_features:network",
)

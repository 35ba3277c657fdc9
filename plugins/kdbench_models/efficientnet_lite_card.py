"""The cards of GFL on EfficientNet-Lite, and pairs of them."""

from __future__ import annotations

from kdbench.api import Model, ModelCard, Pair
from kdbench_models.mobilenet_pairs import recipe

MODELS = [
    ModelCard(
        name=f"gfl-efficientnet-lite{size}",
        title=f"GFL on EfficientNet-Lite{size}, from the ImageNet weights that a package ships",
        task="detection",
        config=f"kdbench_models::configs/gfl_efficientnet_lite{size}.py",
        link="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
    )
    for size in range(3)
]
RECIPE = recipe(600, (320, 240), 8)
PAIRS = [
    Pair(
        name=f"bccd-gfl-lite2-lite{size}",
        title=f"GFL, EfficientNet-Lite2 to EfficientNet-Lite{size}, from ImageNet weights",
        dataset="bccd",
        task="detection",
        family="dense",
        teacher=Model(config=MODELS[2].config),
        student=Model(config=MODELS[size].config),
        schedule=RECIPE,
        teacher_schedule=RECIPE,
        pretrained=True,
    )
    for size in range(2)
]

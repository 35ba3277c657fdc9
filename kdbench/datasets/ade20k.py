"""ADE20K as SceneParse150 (Zhou et al., CVPR 2017): scenes with 150 classes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from kdbench.dataset_cards import Dataset, MetricCard, Split
from kdbench.datasets.packages import Package, link_or_fetch

# fmt: off
CLASSES = (
    "wall", "building", "sky", "floor", "tree", "ceiling", "road", "bed", "windowpane", "grass", "cabinet",
    "sidewalk", "person", "earth", "door", "table", "mountain", "plant", "curtain", "chair", "car", "water",
    "painting", "sofa", "shelf", "house", "sea", "mirror", "rug", "field", "armchair", "seat", "fence", "desk",
    "rock", "wardrobe", "lamp", "bathtub", "railing", "cushion", "base", "box", "column", "signboard",
    "chest of drawers", "counter", "sand", "sink", "skyscraper", "fireplace", "refrigerator", "grandstand",
    "path", "stairs", "runway", "case", "pool table", "pillow", "screen door", "stairway", "river", "bridge",
    "bookcase", "blind", "coffee table", "toilet", "flower", "book", "hill", "bench", "countertop", "stove",
    "palm", "kitchen island", "computer", "swivel chair", "boat", "bar", "arcade machine", "hovel", "bus",
    "towel", "light", "truck", "tower", "chandelier", "awning", "streetlight", "booth", "television",
    "airplane", "dirt track", "apparel", "pole", "land", "bannister", "escalator", "ottoman", "bottle",
    "buffet", "poster", "stage", "van", "ship", "fountain", "conveyer belt", "canopy", "washer", "plaything",
    "swimming pool", "stool", "barrel", "basket", "waterfall", "tent", "bag", "minibike", "cradle", "oven",
    "ball", "food", "step", "tank", "trade name", "microwave", "pot", "animal", "bicycle", "lake", "dishwasher",
    "screen", "blanket", "sculpture", "hood", "sconce", "vase", "traffic light", "tray", "ashcan", "fan",
    "pier", "crt screen", "plate", "monitor", "bulletin board", "shower", "radiator", "glass", "clock", "flag",
)
# fmt: on
"""The first name of each line of the official objectInfo150.txt."""


def _split(name: str) -> tuple[Split, ...]:
    return (Split("", f"images/{name}", f"annotations/{name}"),)


card = Dataset(
    name="ade20k",
    title="ADE20K, SceneParse150: scenes with 150 classes, 20210 images for training, 2000 to judge by",
    task="segmentation",
    classes=CLASSES,
    metric="mIoU_ADE20K",
    splits={"train": _split("training"), "test": _split("validation")},
    image_suffix=".jpg",
    prepare="kdbench.datasets.ade20k:prepare",
    folder="ade20k",
    license="for non-commercial research and education",
    link="http://sceneparsing.csail.mit.edu",
    citation="B. Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017",
    mask_values={0: None, **dict(enumerate(CLASSES, 1))},
    images={"train": 20210, "test": 2000},
)
metric = MetricCard(
    name="mIoU_ADE20K",
    title="ADE20K's mean IoU over all 150 classes: one without a pixel counts 0",
    function="kdbench.datasets.ade20k:mean_over_all",
    tasks=("segmentation",),
)
INSIDE = "ADEChallengeData2016"
ARCHIVE = f"http://data.csail.mit.edu/places/ADEchallenge/{INSIDE}.zip"

prepare = partial(link_or_fetch, card, (Package(".", INSIDE, {ARCHIVE: ""}),), inside=(INSIDE,))
"""Link ADEChallengeData2016 (or its parent) on disk, or download it (0.9 GiB)."""


def mean_over_all(metrics: Mapping[str, float]) -> float | None:
    """Return the sum of the classes' IoUs over their number, as in the official evaluation.

    Args:
        metrics: ``IoU/CLASS`` -> fraction; nothing for a class that is neither in the truth nor predicted.

    Returns:
        A fraction, or None where there are other classes than ADE20K's.
    """
    found = {name.removeprefix("IoU/"): value for name, value in metrics.items() if name.startswith("IoU/")}
    return sum(found.values()) / len(CLASSES) if set(found) <= set(CLASSES) else None

"""ILSVRC's detection task (Russakovsky et al., IJCV 2015): its card, and the lists of its annotated images."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from kdbench.dataset_cards import Dataset, Split
from kdbench.datasets.layout import missing
from kdbench.datasets.link import link_or_tell, point
from kdbench.errors import UserError
from kdbench.files import write_atomically

log = logging.getLogger(__name__)

# fmt: off
CLASSES = (
    "accordion", "airplane", "ant", "antelope", "apple", "armadillo", "artichoke", "axe", "baby_bed",
    "backpack", "bagel", "balance_beam", "banana", "band_aid", "banjo", "baseball", "basketball", "bathing_cap",
    "beaker", "bear", "bee", "bell_pepper", "bench", "bicycle", "binder", "bird", "bookshelf", "bow_tie", "bow",
    "bowl", "brassiere", "burrito", "bus", "butterfly", "camel", "can_opener", "car", "cart", "cattle", "cello",
    "centipede", "chain_saw", "chair", "chime", "cocktail_shaker", "coffee_maker", "computer_keyboard",
    "computer_mouse", "corkscrew", "cream", "croquet_ball", "crutch", "cucumber", "cup_or_mug", "diaper",
    "digital_clock", "dishwasher", "dog", "domestic_cat", "dragonfly", "drum", "dumbbell", "electric_fan",
    "elephant", "face_powder", "fig", "filing_cabinet", "flower_pot", "flute", "fox", "french_horn", "frog",
    "frying_pan", "giant_panda", "goldfish", "golf_ball", "golfcart", "guacamole", "guitar", "hair_dryer",
    "hair_spray", "hamburger", "hammer", "hamster", "harmonica", "harp", "hat_with_a_wide_brim", "head_cabbage",
    "helmet", "hippopotamus", "horizontal_bar", "horse", "hotdog", "iPod", "isopod", "jellyfish", "koala_bear",
    "ladle", "ladybug", "lamp", "laptop", "lemon", "lion", "lipstick", "lizard", "lobster", "maillot", "maraca",
    "microphone", "microwave", "milk_can", "miniskirt", "monkey", "motorcycle", "mushroom", "nail",
    "neck_brace", "oboe", "orange", "otter", "pencil_box", "pencil_sharpener", "perfume", "person", "piano",
    "pineapple", "ping-pong_ball", "pitcher", "pizza", "plastic_bag", "plate_rack", "pomegranate", "popsicle",
    "porcupine", "power_drill", "pretzel", "printer", "puck", "punching_bag", "purse", "rabbit", "racket",
    "ray", "red_panda", "refrigerator", "remote_control", "rubber_eraser", "rugby_ball", "ruler",
    "salt_or_pepper_shaker", "saxophone", "scorpion", "screwdriver", "seal", "sheep", "ski", "skunk", "snail",
    "snake", "snowmobile", "snowplow", "soap_dispenser", "soccer_ball", "sofa", "spatula", "squirrel",
    "starfish", "stethoscope", "stove", "strainer", "strawberry", "stretcher", "sunglasses", "swimming_trunks",
    "swine", "syringe", "table", "tape_player", "tennis_ball", "tick", "tie", "tiger", "toaster",
    "traffic_light", "train", "trombone", "trumpet", "turtle", "tv_or_monitor", "unicycle", "vacuum", "violin",
    "volleyball", "waffle_iron", "washer", "water_bottle", "watercraft", "whale", "wine_bottle", "zebra",
)
# fmt: on
"""In the order of the development kit's map_det.txt, with underscores for blanks."""


def _split(name: str) -> tuple[Split, ...]:
    return (Split(f"{name}.txt", f"ILSVRC/Data/DET/{name}", f"ILSVRC/Annotations/DET/{name}"),)


card = Dataset(
    name="ilsvrc-det",
    title="ILSVRC detection: 200 classes; the annotated images for training, 20121 to judge by",
    task="detection",
    classes=CLASSES,
    metric="AP_ILSVRC",
    splits={"train": _split("train"), "test": _split("val")},
    image_suffix=".JPEG",
    prepare="kdbench.datasets.ilsvrc_det:prepare",
    folder="ilsvrc-det",
    license="ImageNet's terms of access, for non-commercial research",
    link="https://image-net.org/challenges/LSVRC/2017/2017-downloads.php",
    citation="O. Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 115(3), 2015",
    format="ilsvrc",
    images={"test": 20121},
)
FILES = ("ILSVRC2017_DET.tar.gz", "ILSVRC2017_devkit.tar.gz")


def prepare(folder: Path, source: Path | None) -> None:
    """Link the ILSVRC folder in ``source``, with its development kit, and list its annotated images.

    Raises:
        UserError: When it lacks something, or there is none.
    """
    if source is None or (folder.exists() and not missing(card, folder)):
        link_or_tell(card, folder, None, files=FILES)
        return
    found = next(
        (path for path in (source / "ILSVRC", source) if (path / "Annotations" / "DET").is_dir()), None
    )
    if found is None or not (found / "devkit" / "data" / "map_det.txt").is_file():
        raise UserError(
            f"`source` {source} must have ILSVRC/Annotations/DET and ILSVRC/devkit/data/map_det.txt."
        )
    folder.mkdir(parents=True, exist_ok=True)
    point(folder / "ILSVRC", found.resolve())
    for parts in card.splits.values():
        (part,) = parts
        write_atomically(folder / part.names, "".join(_lines(folder / part.annotations)))
    if problems := missing(card, folder):
        raise UserError(f"`source` {source} is not a complete {card.name}: {problems[0]}.")


def _lines(folder: Path) -> Iterable[str]:
    """Return a line for each annotation below a folder, in order."""
    names = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.xml"))
    return (f"{name}\n" for name in names)

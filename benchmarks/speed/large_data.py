"""Time of `verify` and of the start of a run on a COCO json of 120,000 images.

    python benchmarks/speed/large_data.py

The json is generated, with seven boxes per image as in COCO, and the images are hard links to one file. Each step
is a separate process. The start of a run is everything before its models: the plan, with the checks of the files,
and OpenMMLab's lists of training and test images, with their sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

SIZE = (640, 480)
BOXES = 7
CLASSES = 80
PER_FILE = 60_000
"""Number of hard links to one file, below the limit of ext4."""
LIMITS = {"verify": 60.0, "first start": None, "start": 10.0}
"""Limits of the steps in seconds of CPU time, which on a quiet machine equals wall-clock time."""
FILE = """\
title: large
dataset:
  name: large
  format: coco
  train: {images: train, annotations: train.json}
  test: {images: test, annotations: test.json}
pairs:
  - name: large-gfl
    teacher: {config: mmdet::gfl/gfl_r101_fpn_ms-2x_coco.py}
    student: {config: mmdet::gfl/gfl_r50_fpn_1x_coco.py}
    schedule: {iterations: 90000, batch_size: 16, lr: 0.01, scale: [1333, 800], keep_ratio: true}
methods: [pkd]
seeds: [0]
"""
START = """\
from pathlib import Path
from kdbench.runs.plan import plan
from kdbench.runs.request import Request

planned = plan(Request("pkd", "", benchmark=Path("large.yaml")))
from kdbench.runs.launch import start

start("cpu", planned.dataset)
from kdbench.openmmlab.data.loaders import evaluation_loader, training_loader

schedule = planned.cell.pair.schedule
training_loader(planned.dataset, planned.folder, schedule, 0, 0)
evaluation_loader(planned.dataset, planned.folder, schedule, "test", 0)
"""


def make(folder: Path, split: str, images: int) -> None:
    """Write the json and the images of a split."""
    rng = random.Random(split)
    names = [f"{number:012d}.jpg" for number in range(images)]
    for number, name in enumerate(names):
        file = folder / split / name
        if number % PER_FILE:
            os.link(folder / split / names[number - number % PER_FILE], file)
        else:
            file.parent.mkdir(exist_ok=True)
            Image.effect_noise(SIZE, 60).convert("RGB").save(file)
    boxes = [[rng.uniform(0, 500), rng.uniform(0, 350), 100.5, 90.25] for _ in range(BOXES * images)]
    content = {
        "images": [
            {"id": n, "file_name": name, "width": SIZE[0], "height": SIZE[1]} for n, name in enumerate(names)
        ],
        "categories": [{"id": n, "name": f"class {n}"} for n in range(CLASSES)],
        "annotations": [
            {
                "id": n,
                "image_id": n // BOXES,
                "category_id": n % CLASSES,
                "bbox": box,
                "area": 9070.1,
                "iscrowd": 0,
            }
            for n, box in enumerate(boxes)
        ],
    }
    (folder / f"{split}.json").write_text(json.dumps(content))


def children() -> float:
    """Return the CPU time of the child processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Print the times; return 1 if one exceeds its limit."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--images", type=int, default=120_000, help="images to train on; a 24th more to judge by"
    )
    asked = parser.parse_args()
    steps = {
        "verify": [sys.executable, "-m", "kdbench", "data", "verify", "large.yaml"],
        "first start": [sys.executable, "-c", START],
        "start": [sys.executable, "-c", START],
    }
    over = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for split, images in (("train", asked.images), ("test", asked.images // 24)):
            make(folder, split, images)
        (folder / "large.yaml").write_text(FILE)
        time.sleep(3)  # files that have just been written are not indexed
        environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
        for step, command in steps.items():
            wall, cpu = time.perf_counter(), children()
            subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
            wall, taken, limit = time.perf_counter() - wall, children() - cpu, LIMITS[step]
            wanted = f" (limit {limit:.0f} s)" if limit else ""
            print(f"{step}: {taken:.1f} s of CPU{wanted}, {wall:.1f} s on the wall", flush=True)
            over |= limit is not None and taken > limit
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
